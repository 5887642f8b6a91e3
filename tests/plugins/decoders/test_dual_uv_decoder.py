"""The Dual-UV decoder's switches, one at a time on a ball, with heads that say what we want."""

import math

import pytest
import torch
from torch import nn

from presence.errors import ConfigError
from presence.models import AvatarModel
from presence.models.attribute_heads import AttributeHeads
from presence.projection import gaps
from presence.structures import Camera, Portrait
from presence.testing.toy_models import ball_config

SIZE = 96
RADIUS = 0.5  # metres, of the ball
EYE = 4.0  # metres from its middle
FOCAL = SIZE / 2 / math.tan(math.radians(10))
OUTLINE = FOCAL * math.tan(math.asin(RADIUS / EYE))  # px, radius of the ball's picture


class Said(nn.Module):
    """Heads that give the same raw attributes to every texel; those not named are zero."""

    def __init__(self, **values) -> None:
        super().__init__()
        self.values = values

    def forward(self, texels):
        shape = texels.shape[:2]
        return {
            name: texels.new_tensor(self.values.get(name, [0.0] * size)).expand(*shape, size)
            for name, size in AttributeHeads.OUTPUTS.items()
        }


def build(heads=None, **decoder) -> AvatarModel:
    """An untrained model of a ball, the same weights every time, without attention."""
    torch.manual_seed(0)
    size = dict(core_size=16, shell_size=0, width=16, heads=2, blocks=0, hidden=8)
    given = dict(type="DualUVDecoder", **size, **(dict(texel_rgb=True) | decoder))
    config = ball_config(given, rings=24)
    model = AvatarModel.from_config(config).eval()
    if heads is not None:
        model.decoder.heads = heads
    return model


def portrait(radius: float = OUTLINE) -> Portrait:
    """Red rises to the right and green downwards, inside a disc of `radius` px."""
    at = torch.arange(SIZE) + 0.5
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    alpha = (torch.hypot(rows - SIZE / 2, columns - SIZE / 2) < radius).float()
    rgb = torch.stack([columns / SIZE, rows / SIZE, torch.full_like(rows, 0.3)])
    return Portrait(rgb[None], alpha[None, None])


def front() -> Camera:
    return camera_at(0.0, 0.0, EYE)


def camera_at(*eye: float) -> Camera:
    looks = Camera.look_at(torch.tensor(eye), torch.zeros(3), math.radians(20), SIZE, SIZE)
    return looks.unsqueeze()


@torch.no_grad()
def decoded(model: AvatarModel, shown: Portrait, camera: Camera):
    """Returns the avatar, its posed Gaussians and the points that they stand on, [N ...]."""
    params = model.body.default_params((1,))
    avatar = model.reconstruct(shown, params, camera)
    mesh = model.body(params)
    return avatar.canonical[0], avatar.pose(mesh)[0], avatar.binding.interpolate(mesh.vertices)[0]


def from_middle(camera: Camera, points: torch.Tensor) -> torch.Tensor:
    """Returns how many px from the middle of the picture points [N 3] project."""
    px, _ = camera[0].project(points)
    return (px - SIZE / 2).norm(dim=-1)


def differing(one, other) -> set[str]:
    names = ("means", "quaternions", "scales", "opacities", "colors")
    return {n for n in names if not torch.equal(getattr(one, n), getattr(other, n))}


OUTWARDS = [0.0, 0.0, 2.0]  # 10 cm, along the normal


def test_carve_takes_away_what_stands_beside_the_person():
    camera, shown = front(), portrait()
    heads = Said(offset=OUTWARDS)
    plain, posed, points = decoded(build(heads), shown, camera)
    carved, _, _ = decoded(build(heads, carve=True), shown, camera)
    assert differing(plain, carved) == {"opacities"}
    ends, stands = from_middle(camera, posed.means), from_middle(camera, points)
    own = stands < OUTLINE - 1
    left = carved.opacities / plain.opacities
    beside, within = own & (ends > OUTLINE + 1), own & (ends < OUTLINE - 1)
    assert beside.sum() > 100 and within.sum() > 500
    assert left[beside].max() < 1e-3 and left[within].min() > 0.999


def test_carve_leaves_what_the_mask_misses_of_the_body():
    """A mask of half the ball: what stands on the body beside it is no hair to be cut."""
    camera, shown = front(), portrait(0.5 * OUTLINE)
    heads = Said(offset=OUTWARDS)
    plain, _, points = decoded(build(heads), shown, camera)
    carved, _, _ = decoded(build(heads, carve=True), shown, camera)
    beside = from_middle(camera, points) > 0.5 * OUTLINE + 1
    assert beside.sum() > 500 and torch.equal(plain.opacities[beside], carved.opacities[beside])


def test_cover_closes_the_surface():
    camera, shown, share = front(), portrait(), 0.4
    heads = Said(scale=[-3.0] * 3)
    without, covers = build(heads), build(heads, cover=share)
    plain, posed, points = decoded(without, shown, camera)
    wide, _, _ = decoded(covers, shown, camera)
    assert differing(plain, wide) == {"scales"}
    gap = gaps(without.decoder.surface, posed.means[None], points[None])[0]
    assert (wide.scales[:, :2] >= share * gap[:, None] - 1e-7).all()
    assert torch.equal(wide.scales[:, 2], plain.scales[:, 2])
    assert (plain.scales[:, :2] < share * gap[:, None]).float().mean() > 0.9

    middle = from_middle(camera, posed.means) < 0.5 * OUTLINE
    through = []
    for model in (without, covers):
        params = model.body.default_params((1,))
        with torch.no_grad():
            avatar = model.reconstruct(shown, params, camera)
            alpha = model.animate(avatar, params, camera).alpha[0, 0]
        through.append(1 - alpha[SIZE // 2 - 10 : SIZE // 2 + 10, SIZE // 2 - 10 : SIZE // 2 + 10])
    assert middle.any() and through[0].mean() > 0.3 and through[1].max() < 0.1


def test_narrow_keeps_gaussians_within_the_outline():
    camera, shown, deviations = front(), portrait(), 2.0
    heads = Said(scale=[3.0] * 3)
    plain, posed, points = decoded(build(heads), shown, camera)
    thin, _, _ = decoded(build(heads, narrow=deviations), shown, camera)
    assert differing(plain, thin) == {"scales"}
    assert (thin.scales <= plain.scales).all()
    _, depth = camera[0].project(posed.means)
    inside = OUTLINE - from_middle(camera, posed.means)  # px to the outline
    rim = (inside > 1) & (inside < 6)
    reach = {
        name: deviations * (found.scales.amax(-1) * FOCAL / depth)[rim]
        for name, found in (("plain", plain), ("thin", thin))
    }
    assert rim.sum() > 100
    assert (reach["plain"] > inside[rim] + 1.5).float().mean() > 0.3
    assert (reach["thin"] <= inside[rim] + 1.5).all()  # the mask's outline is one of pixels
    core = inside > 15  # ten px along diagonals
    assert torch.equal(plain.scales[core], thin.scales[core])


def test_resample_takes_the_colour_where_a_gaussian_ends():
    camera, shown = front(), portrait()
    heads = Said(offset=[3.0, 0.0, 0.0])  # 14 cm to the person's left
    plain, posed, points = decoded(build(heads), shown, camera)
    anew, _, _ = decoded(build(heads, resample=True), shown, camera)
    assert differing(plain, anew) == {"colors"}
    stands, ends = (camera[0].project(p)[0] / SIZE for p in (points, posed.means))
    central = (from_middle(camera, points) < 0.4 * OUTLINE) & (points[:, 2] > 0)
    assert central.sum() > 50 and (ends - stands)[central, 0].abs().min() > 0.05
    assert (plain.colors[:, :2] - stands)[central].abs().max() < 0.01
    assert (anew.colors[:, :2] - ends)[central].abs().max() < 0.01


def test_complete_gives_unseen_texels_a_colour():
    """Seen from the person's left, the right side takes the left one's colours."""
    camera, shown = camera_at(EYE, 0.0, 0.0), portrait()
    plain, _, points = decoded(build(Said()), shown, camera)
    filled, _, _ = decoded(build(Said(), complete=True), shown, camera)
    assert differing(plain, filled) == {"colors"}
    seen, unseen = points[:, 0] > 0.15, points[:, 0] < -0.15
    assert (plain.colors[unseen] - 0.5).abs().max() < 1e-6
    torch.testing.assert_close(filled.colors[seen], plain.colors[seen])
    mirrored, _ = camera[0].project(points * torch.tensor([-1.0, 1.0, 1.0]))
    assert (filled.colors[unseen, 1] - mirrored[unseen, 1] / SIZE).abs().max() < 0.04


def probed(model: AvatarModel, shown: Portrait, camera: Camera):
    """Returns what reaches the probes' layer [cells K+1], and the avatar's Gaussians."""
    caught = []
    hook = model.decoder.probe_in.register_forward_pre_hook(lambda _, given: caught.append(given))
    gaussians, _, _ = decoded(model, shown, camera)
    hook.remove()
    return caught[0][0][0], gaussians


def test_probes_tell_how_far_the_person_reaches():
    camera, stops = front(), (0.0, 0.06, 0.18)
    bare, hairy = portrait(OUTLINE + 1), portrait(1.25 * OUTLINE)  # 1.25: hair of 12 cm
    told, silent = build(probes=stops), build()
    told.decoder.load_state_dict(silent.decoder.state_dict(), strict=False)
    values, with_probes = probed(told, hairy, camera)
    surface = told.decoder.surface
    cells = surface.cells(16)
    points = surface.binding.interpolate(told.body(told.body.default_params()).vertices)
    middle = torch.stack([points[cells == cell].mean(0) for cell in range(256)])
    normal = nn.functional.normalize(middle, dim=-1)
    inner = middle.norm(dim=-1) > 0.48  # a mean over a cell at a pole is no point of the ball
    side = inner & (normal[:, 2].abs() < 0.1)
    facing = inner & (normal[:, 2] > 0.9)
    assert side.sum() > 10 and facing.sum() > 5
    values = values.clamp(-1, 1)  # of rounding
    assert values[side, 1].min() > 0.999 and values[side, 2].max() < -0.999
    assert values[facing, :3].min() > 0.999
    eye = nn.functional.normalize(torch.tensor([0.0, 0.0, EYE]) - RADIUS * normal, dim=-1)
    expected = (eye * normal).sum(-1)
    assert (values[inner, 3] - expected[inner]).abs().max() < 0.15  # the cell's middle texel

    at_bare, _ = probed(told, bare, camera)
    assert at_bare[side, 1].max() < -0.999
    without, _, _ = decoded(silent, hairy, camera)
    assert differing(with_probes, without) >= {"means", "scales", "opacities"}
    nn.init.zeros_(told.decoder.probe_in.weight)
    assert not differing(probed(told, hairy, camera)[1], without)


@pytest.mark.parametrize(
    "switch",
    [
        dict(probes=(0.0, 0.1)),
        dict(outline=True),
        dict(carve=True),
        dict(resample=True),
        dict(cover=0.4),
        dict(narrow=2.0),
    ],
    ids=lambda switch: next(iter(switch)),
)
def test_what_looks_at_the_portrait_asks_for_it(switch):
    model = build(**switch)
    shown, camera = portrait(), front()
    params = model.body.default_params((1,))
    canonical, posed = model.bodies(params)
    uv = model.projector(model.encoder(shown), shown, posed, camera)
    with pytest.raises(TypeError, match=next(iter(switch))):
        model.decoder(uv, canonical, params, camera)


@pytest.mark.parametrize("switch", ["complete", "resample"])
def test_better_colours_need_colours(switch):
    with pytest.raises(ConfigError, match="texel_rgb"):
        build(texel_rgb=False, **{switch: True})


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_activations_respect_their_clamps_at_infinite_logits(sign):
    model = build(texel_rgb=False)
    decoder, canonical = model.decoder, model.body(model.body.default_params((1,)))
    count = len(decoder.surface)
    raw = {
        name: torch.full((1, count, size), sign * 1e9).requires_grad_()
        for name, size in AttributeHeads.OUTPUTS.items()
    }
    found = decoder._place(raw, canonical)
    colors = torch.sigmoid(found.colors)
    sum(v.sum() for v in vars(found.replace(colors=colors)).values()).backward()
    assert all(value.grad.isfinite().all() for value in raw.values())
    # 30 cm along each axis of the texel's frame, so sqrt(3) times that in all.
    reach = torch.full((1, count), 0.3 * math.sqrt(3))
    torch.testing.assert_close(found.means.detach().norm(dim=-1), reach)
    torch.testing.assert_close(found.quaternions.norm(dim=-1), torch.ones(1, count))
    ends = (2e-4 * 0.6 * math.exp(-4), 2e-2 * 0.6 * math.exp(3))  # metres
    assert found.scales.min() >= ends[0] * 0.999 and found.scales.max() <= ends[1] * 1.001
    for value in (found.opacities, colors):
        assert (value == (1.0 if sign > 0 else 0.0)).all()
