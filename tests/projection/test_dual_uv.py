import math

import pytest
import torch

from presence.projection import DualUVProjector, build_surface
from presence.rasterize import AutoRasterizer
from presence.structures import Camera, ImageFeatures, Portrait
from presence.testing.toy_bodies import SphereBody

SIZE = 256
EYE = 4.0


@pytest.fixture(scope="module")
def scene():
    body = SphereBody(rings=48, segments=96)
    surface = build_surface(body, 64)
    mesh = body(body.default_params((1,)))
    camera = Camera.look_at(
        torch.tensor([[0.0, 0.0, EYE]]), torch.zeros(1, 3), math.radians(24), SIZE, SIZE
    )
    ys, xs = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    ramp = torch.stack([xs / SIZE, ys / SIZE, torch.full_like(xs, 0.25)])[None]
    return body, surface, mesh, camera, Portrait(ramp, torch.ones(1, 1, SIZE, SIZE))


def project(scene, **options):
    _, surface, mesh, camera, portrait = scene
    options = dict(core_size=16, shell_size=8, feature_stride=1) | options
    projector = DualUVProjector(surface, AutoRasterizer(), **options).eval()
    return projector(ImageFeatures(portrait.rgb), portrait, mesh, camera)


def test_visibility_matches_the_sphere_in_closed_form(scene):
    _, surface, mesh, _, _ = scene
    points = surface.binding.interpolate(mesh.vertices)[0]
    # A point of a sphere is seen from `eye` iff its normal looks at the eye.
    facing = (points * (torch.tensor([0.0, 0.0, EYE]) - points)).sum(-1)
    seen = surface.from_map(project(scene).texels_seen)[0, :, 0] > 0
    clear = facing.abs() > 0.02  # the mesh is a polyhedron: its horizon is jagged
    assert clear.float().mean() > 0.9
    assert (seen == (facing > 0))[clear].all()


def test_texels_copy_the_portrait_where_each_point_projects(scene):
    _, surface, mesh, camera, _ = scene
    px, _ = camera.project(surface.binding.interpolate(mesh.vertices))
    out = project(scene)
    texels = surface.from_map(out.texels)[0]
    seen = surface.from_map(out.texels_seen)[0, :, 0] > 0
    assert (texels[seen, :2] * SIZE - px[0, seen]).abs().max() < 0.01
    assert texels[~seen].abs().max() == 0


def test_core_cells_average_their_seen_points(scene):
    _, surface, mesh, camera, _ = scene
    px, _ = camera.project(surface.binding.interpolate(mesh.vertices))
    out = project(scene)
    seen = surface.from_map(out.texels_seen)[0, :, 0] > 0
    cells = surface.cells(16)
    for cell in cells.unique().tolist():
        members = (cells == cell) & seen
        row, column = divmod(cell, 16)
        got = out.core[0, :2, row, column]
        if members.any():
            torch.testing.assert_close(got * SIZE, px[0, members].mean(0), atol=0.02, rtol=0)
        else:
            assert got.abs().max() == 0
        share = members.sum() / (cells == cell).sum()
        assert abs(out.core_seen[0, 0, row, column] - share) < 1e-6


def test_shell_sees_only_outside_the_body(scene):
    out = project(scene, shell_offset=0.08, shell_size=16)
    seen = out.shell_seen[0, 0] > 0
    assert seen.any()
    # Features are pixel positions: every shell cell averages points in the ring between the
    # silhouettes of the body and of the shell, whose radii are known.
    got = out.shell[0, :2].permute(1, 2, 0)[seen] * SIZE - SIZE / 2
    radii = got.norm(dim=-1)
    focal = (SIZE / 2) / math.tan(math.radians(12))
    body, shell = (focal * math.tan(math.asin(r / EYE)) for r in (0.5, 0.58))
    assert radii.max() < shell + 1
    assert (radii > body - 8).float().mean() > 0.95  # averages of an arc fall a little inside it


def test_unseen_by_mask(scene):
    body, surface, mesh, camera, portrait = scene
    half = portrait.replace(alpha=portrait.alpha * (torch.arange(SIZE) < SIZE // 2))
    projector = DualUVProjector(surface, AutoRasterizer(), core_size=16, shell_size=8).eval()
    features = ImageFeatures(portrait.rgb)
    filtered = projector(features, half, mesh, camera)
    assert filtered.texels[0, 0].max() <= 0.51
    projector.train()
    assert projector(features, half, mesh, camera).texels[0, 0].max() > 0.6


def test_hidden_by_another_part(scene):
    """A second sphere in front hides what lies behind it."""
    body, surface, mesh, camera, portrait = scene
    out = project(scene)
    turned = mesh.replace(vertices=mesh.vertices.clone())
    left = turned.vertices[..., 0] < 0
    turned.vertices[left] += torch.tensor([0.45, 0.0, 0.9])  # the left half moves in front
    projector = DualUVProjector(surface, AutoRasterizer(), core_size=16, shell_size=8).eval()
    hidden = projector(ImageFeatures(portrait.rgb), portrait, turned, camera)
    x, y, z = surface.binding.interpolate(mesh.vertices)[0].unbind(-1)
    inner = (x > 0.08) & (x < 0.2) & (y.abs() < 0.15) & (z > 0)
    before = surface.from_map(out.texels_seen)[0, inner, 0] > 0
    after = surface.from_map(hidden.texels_seen)[0, inner, 0] > 0
    assert before.all() and before.sum() > 20
    assert not after.any()


def test_gradients_reach_the_features(scene):
    _, surface, mesh, camera, portrait = scene
    projector = DualUVProjector(surface, AutoRasterizer(), core_size=16, shell_size=8)
    grid = torch.randn(1, 4, 16, 16, requires_grad=True)
    projector(ImageFeatures(grid), portrait, mesh, camera).core.sum().backward()
    assert grid.grad is not None and grid.grad.abs().sum() > 0
