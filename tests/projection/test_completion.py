"""Colours of unseen texels, against brute force over all pairs and the mirror's geometry."""

import numpy as np
import pytest
import torch

from presence.bodies import load_body
from presence.projection import NearbyColours, build_surface, complete_colours, mirrored_points
from presence.projection.queries import part_vertices, points_inside
from presence.testing.toy_bodies import SphereBody


@pytest.fixture(scope="module")
def sphere():
    body = SphereBody()
    surface = build_surface(body, 32)
    return body, surface, surface.binding.interpolate(body.template)


def test_mirrored_points_are_nearest_to_the_mirror_image(sphere):
    body, surface, points = sphere
    mirror = mirrored_points(body, surface)
    image = points * torch.tensor([-1.0, 1.0, 1.0])
    nearest = torch.cdist(image.double(), points.double()).amin(1)
    torch.testing.assert_close((image - points[mirror]).norm(dim=-1).double(), nearest)


@pytest.mark.parametrize("how", ["mean", "near"])
def test_seen_colours_stay_and_unseen_ones_come_from_the_mirror(sphere, how):
    body, surface, points = sphere
    mirror = mirrored_points(body, surface)
    seen = (points[None, :, :1] > 0).float()
    colours = torch.rand(1, len(points), 3)
    if how == "mean":
        filled = complete_colours(colours, seen, mirror)
    else:
        filled = NearbyColours(body, surface, cells=8)(colours, seen)
    right = seen[0, :, 0] > 0
    assert torch.equal(filled[:, right], colours[:, right])
    left = (points[:, 0] < 0) & right[mirror]
    assert left.any() and torch.equal(filled[:, left], colours[:, mirror[left]])


def test_a_back_takes_the_colour_of_what_is_seen_at_its_height(sphere):
    body, surface, points = sphere
    seen = (points[None, :, 2:] > 0.1).float()  # the front; its mirror image is itself
    colours = (points[None, :, 1:2] > 0).float().expand(-1, -1, 3)  # white above, black below
    found = NearbyColours(body, surface, cells=16, reach=0.15)(colours, seen)[0, :, 0]
    back = points[:, 2] < -0.1
    assert found[back & (points[:, 1] > 0.3)].mean() > 0.9
    assert found[back & (points[:, 1] < -0.3)].mean() < 0.1
    mean = complete_colours(colours, seen, mirrored_points(body, surface))[0, back, 0]
    assert 0.3 < mean.mean() < 0.7  # the mean of all knows nothing of height


def test_what_is_near_counts_by_distance_and_likeness(sphere):
    body, surface, _ = sphere
    steps = (0.4, 0.25)
    module = NearbyColours(body, surface, cells=8, sources=4, reach=0.3, likeness=steps)
    torch.manual_seed(0)
    colours = torch.rand(1, len(surface), 3)
    seen = (torch.rand(1, len(surface), 1) < 0.1).float()
    found = module(colours, seen)
    known = torch.maximum(seen, seen[:, module.mirror])[0, :, 0] > 0
    full = torch.where(seen > 0, colours, colours[:, module.mirror])[0].double().numpy()
    of = module.source.numpy()
    for texel in (~known).nonzero()[:3, 0].tolist():
        weights = module.weights[module.cell[texel]].double().numpy()
        there = [np.flatnonzero(known.numpy() & (of == k)) for k in range(len(weights))]
        there = [(w, len(t), full[t].mean(0)) for w, t in zip(weights, there) if len(t)]
        mean = average([w * n for w, n, _ in there], there)
        for step in steps:
            alike = [np.exp(-((c - mean) ** 2).sum() / (2 * step**2)) for _, _, c in there]
            mean = average([w * n * a for (w, n, _), a in zip(there, alike)], there)
        np.testing.assert_allclose(found[0, texel].numpy(), mean, atol=1e-4)


def average(weights, there):
    """The weighted mean of colours, as written on paper."""
    return sum(w * colour for w, (_, _, colour) in zip(weights, there)) / sum(weights)


def test_a_hem_is_narrower_than_the_mean_of_what_is_near(sphere):
    body, surface, points = sphere
    seen = (points[None, :, 2:] > 0.1).float()
    colours = (points[None, :, 1:2] > 0.1).float().expand(-1, -1, 3)
    back = points[:, 2] < -0.2

    def share_of_greys(**options):
        module = NearbyColours(body, surface, cells=32, sources=32, reach=0.15, **options)
        found = module(colours, seen)[0, back, 0]
        return ((found > 0.1) & (found < 0.9)).float().mean()

    assert share_of_greys() < 0.5 * share_of_greys(likeness=())


def test_colours_keep_their_gradients(sphere):
    body, surface, points = sphere
    module = NearbyColours(body, surface, cells=8)
    colours = torch.rand(1, len(surface), 3, requires_grad=True)
    seen = (points[None, :, 2:] > 0.1).float()
    module(colours, seen)[0, points[:, 2] < -0.2].sum().backward()
    assert (colours.grad[0, points[:, 2] > 0.2].sum(-1) > 0).float().mean() > 0.9


def test_nothing_seen_gives_zeros_and_no_nan(sphere):
    body, surface, _ = sphere
    nothing = torch.zeros(2, len(surface), 1)
    found = NearbyColours(body, surface, cells=8)(torch.rand(2, len(surface), 3), nothing)
    assert torch.equal(found, torch.zeros_like(found))


def on(body, surface, *parts):
    """[N] bool, the texels on some parts of the body."""
    vertices = part_vertices(body.vertex_parts, parts, body.topology.num_vertices)
    return points_inside(surface.binding, vertices)


def test_hidden_hands_take_the_faces_colour_not_the_sleeves():
    body = load_body("annyx")
    surface = build_surface(body, 64)
    hands, face = on(body, surface, "left_hand", "right_hand"), on(body, surface, "face")
    seen = (~hands).float()[None, :, None]
    colours = torch.where(face[:, None], 1.0, 0.0).expand(-1, 3)[None]  # a white face, black else
    found = NearbyColours(body, surface)(colours, seen)[0, hands, 0]
    assert found.median() > 0.8

    points = surface.binding.interpolate(body(body.default_params()).rest_vertices)
    tip = points[face][points[face][:, 2].argmax()]
    bearded = (points - tip).norm(dim=-1) > 0.06
    colours = torch.where((face & ~bearded)[:, None], 1.0, 0.0).expand(-1, 3)[None]
    found = NearbyColours(body, surface)(colours, seen)[0, hands, 0]
    assert found.median() > 0.8


def test_backs_of_heads_and_torsos_take_the_front_at_their_height():
    body = load_body("annyx")
    surface = build_surface(body, 128)
    head, torso = on(body, surface, "head", "face"), on(body, surface, "torso")
    points = surface.binding.interpolate(body(body.default_params()).rest_vertices)
    middle = points[torso].mean(0)
    front = points[:, 2] > middle[2] + 0.03
    red, green, blue = torch.eye(3)
    shirt = torch.where(points[:, 1:2] > middle[1], green, blue)  # ends at the torso's middle
    colours = torch.where(head[:, None], red, shirt)[None]
    found = NearbyColours(body, surface)(colours, front[None, :, None].float())[0]
    back = points[:, 2] < middle[2] - 0.03
    above, below = (points[:, 1] > middle[1] + 0.08), (points[:, 1] < middle[1] - 0.08)
    assert found[head & back, 0].mean() > 0.95
    assert found[torso & back & above, 1].mean() > 0.9
    assert found[torso & back & below, 2].mean() > 0.9

    # Something white and as wide as a fruit, held before the chest, leaves little of itself.
    chest = points - torch.tensor([0.0, float(middle[1]) + 0.15, 0.0])
    held = front & (chest[:, :2].norm(dim=-1) < 0.05)
    assert held.sum() > 20
    with_it = torch.where(held[:, None], torch.ones(3), colours[0])[None]
    again = NearbyColours(body, surface)(with_it, front[None, :, None].float())[0]
    assert (again - found)[torso & back].abs().max() < 0.2
