"""Rims beside other body parts, against loops over pixels and a sphere in closed form."""

import math

import pytest
import torch

from presence.projection import DualUVProjector, build_surface
from presence.projection.rims import beside_jumps, forget_rims
from presence.rasterize import AutoRasterizer
from presence.structures import Camera, Fragments, ImageFeatures, Portrait
from presence.testing.toy_bodies import SphereBody

SIZE = 64


def fragments(depth):
    """[1 h w] of a body wherever the depth is finite."""
    face_ids = torch.where(depth.isfinite(), 0, -1)
    return Fragments(face_ids, torch.zeros(*depth.shape, 3), depth)


def jumps_by_loops(depth, focal, reach):
    """The definition, pixel by pixel."""
    height, width = depth.shape
    edges = set()
    for y in range(height):
        for x in range(width):
            for other in ((y, x + 1), (y + 1, x)):
                if other[0] < height and other[1] < width:
                    step = abs(depth[y, x] - depth[other])
                    if math.isfinite(step) and step > max(0.04, 10 * depth[y, x] / focal):
                        edges |= {(y, x), other}
    near = torch.zeros(height, width)
    for y, x in edges:
        near[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = 1
    return near


@pytest.mark.parametrize(("reach", "focal"), [(0, 900.0), (1, 900.0), (3, 900.0), (1, 100.0)])
def test_jumps_are_where_neighbours_of_the_body_are_far_apart(reach, focal):
    torch.manual_seed(0)
    depth = 2 + 0.02 * torch.rand(24, 20)  # a rough surface
    depth[5:9, 3:8] += 0.25  # something else behind it
    depth[15:, 10:] = torch.inf  # and background, whose outline is no jump
    K = torch.tensor([[[focal, 0.0, 10.0], [0.0, focal, 12.0], [0.0, 0.0, 1.0]]])
    camera = Camera(K, torch.eye(4)[None], 20, 24)
    found = beside_jumps(fragments(depth[None]), camera, reach)[0]
    assert found.any()
    assert torch.equal(found, jumps_by_loops(depth, focal, reach))


@pytest.fixture(scope="module")
def scene():
    body = SphereBody(rings=48, segments=96)
    surface = build_surface(body, 64)
    mesh = body(body.default_params((1,)))
    eye = torch.tensor([[0.0, 0.0, 4.0]])
    camera = Camera.look_at(eye, torch.zeros(1, 3), math.radians(24), SIZE, SIZE)
    portrait = Portrait(torch.rand(1, 3, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE))
    return surface, mesh, camera, portrait


def project(scene, **options):
    surface, mesh, camera, portrait = scene
    projector = DualUVProjector(surface, AutoRasterizer(), core_size=16, shell_size=8, **options)
    return projector.eval()(ImageFeatures(portrait.rgb), portrait, mesh, camera)


def test_grazing_texels_beside_a_jump_are_forgotten_and_no_others(scene):
    surface, mesh, camera, _ = scene
    seen = project(scene)
    depth = torch.full((1, SIZE, SIZE), 3.5)
    depth[:, :, SIZE // 2 :] = 4.1
    left = forget_rims(seen, surface, fragments(depth), mesh, camera, reach=3)
    px, _ = camera.project(surface.binding.interpolate(mesh.vertices))
    before, after = (surface.from_map(f.texels_seen)[0, :, 0] for f in (seen, left))
    points = surface.binding.interpolate(mesh.vertices)[0]
    to_eye = torch.tensor([0.0, 0.0, 4.0]) - points
    cosine = torch.cosine_similarity(points, to_eye, dim=-1)
    distance = (px[0, :, 0] - SIZE / 2).abs()
    clear = ((distance - 4).abs() > 0.6) & ((cosine - 0.6).abs() > 0.03)  # not on either limit
    forgotten = (before > 0) & (distance < 4) & (cosine < 0.6)
    assert (forgotten & clear).sum() > 20
    assert (after == 0)[forgotten & clear].all()
    assert torch.equal(after[~forgotten & clear], before[~forgotten & clear])
    texels = surface.from_map(left.texels)[0]
    assert texels[forgotten & clear].abs().max() == 0
    assert torch.equal(left.core, seen.core)


def test_a_body_without_inner_edges_keeps_its_rim(scene):
    plain, with_rims = project(scene), project(scene, rims=4)
    assert torch.equal(plain.texels, with_rims.texels)
    assert torch.equal(plain.texels_seen, with_rims.texels_seen)


def test_of_two_balls_the_front_ones_rim_is_forgotten_at_test_time_only(scene):
    surface, mesh, camera, portrait = scene
    # The right half of the sphere stands 60 cm behind the left one: a body with an inner edge.
    behind = (mesh.vertices[..., :1] > 0) * torch.tensor([0.0, 0.0, -0.6])
    split = mesh.replace(vertices=mesh.vertices + behind)
    projector = DualUVProjector(surface, AutoRasterizer(), core_size=16, shell_size=8, rims=3)
    given = ImageFeatures(portrait.rgb), portrait, split, camera
    tested, trained = projector.eval()(*given), projector.train()(*given)
    seen = [surface.from_map(f.texels_seen)[0, :, 0] > 0 for f in (tested, trained)]
    lost = seen[1] & ~seen[0]
    px, _ = camera.project(surface.binding.interpolate(split.vertices))
    assert lost.any() and not (seen[0] & ~seen[1]).any()
    assert (px[0, lost, 0] - SIZE / 2).abs().max() < 6
