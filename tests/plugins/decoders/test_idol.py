"""IDOL against the official network's numbers and names, and the traits that make it IDOL."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from official_baselines import Baseline
from torch import nn

from presence.errors import AssetError, ConfigError
from presence.geometry import quaternion_multiply, quaternion_rotate, quaternion_to_matrix
from presence.models.official import load_official
from presence.projection import build_surface
from presence.structures import ImageFeatures
from presence.testing.contracts.common import facing_camera, sample_people
from presence.testing.toy_bodies import SphereBody
from presence_plugins.decoders.idol import IDOLDecoder
from presence_plugins.decoders.idol_network import (
    IGNORED,
    CodeHeads,
    ConvUpsampler,
    IDOLNetwork,
    UVNeck,
    activate,
    hidden_states,
    nearest_neighbours,
    official_name,
    sample_uv,
    sincos_positions,
    spacing_of,
)

SMALL = dict(
    in_channels=5 * 48,
    layers=5,
    grid=2,
    width=64,
    blocks=5,
    heads=4,
    deconvolutions=(28, 28, 24, 20),
    convolutions=(18, 18),
    geometry=20,
    texture=28,
)


class Whole(nn.Module):
    """What the loader sees of an `AvatarModel`."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


@pytest.fixture(scope="module")
def golden():
    return Baseline("idol")


@pytest.fixture(scope="module")
def sphere():
    return SphereBody()


@pytest.fixture(scope="module")
def surface(sphere):
    return build_surface(sphere, 16)


def released(golden, path, **changes):
    tensors = {k: v for k, v in golden.file().items() if k != "pcl_embed.basis"} | changes
    tensors = {k: v for k, v in tensors.items() if v is not None}
    torch.save({"state_dict": tensors, "epoch": 3, "global_step": 7}, path)
    return path


@pytest.fixture(scope="module")
def loaded(golden, sphere, surface, tmp_path_factory):
    path = released(golden, tmp_path_factory.mktemp("idol") / "model.ckpt")
    model = Whole(IDOLDecoder(sphere, surface, opacity="learned", **SMALL))
    load_official(model, path)
    return model.eval().decoder


@torch.no_grad()
def test_every_step_equals_the_official_network(golden, loaded, sphere, surface):
    given, net = golden.inputs(), loaded.network
    states = given["hidden_states"]
    layers = [states[:, tap] for tap in hidden_states(5, 12)]
    tokens = net.neck.states(layers)
    for block in range(5):
        golden.check(f"block{block}", tokens[block])
    uv = net.neck(layers)
    golden.check("neck", uv)
    uv_map = uv.transpose(1, 2).unflatten(-1, (2, 2))
    golden.check("deconv", net.upsampler.deconvolutions(uv_map)[:, :, ::4, ::4])
    code = net.upsampler(uv_map)
    golden.check("code_before_tanh", code[:, :, ::4, ::4])
    golden.check("code", code.tanh())
    maps = net(layers)
    golden.check("attribute_maps", maps)
    raw = activate(sample_uv(maps, given["query_uv"]))
    for ours, theirs in (
        ("opacity", "opacity_ignored"),
        ("rgb", "rgb"),
        ("radius", "radius"),
        ("rotation", "rotation_vector"),
        ("offset", "offset"),
    ):
        golden.check(theirs, raw[ours])
    drawn = IDOLDecoder(sphere, surface, **SMALL).eval().network  # as released: all opaque
    golden.check("opacity", activate(sample_uv(drawn(layers), given["query_uv"]))["opacity"])
    grid = torch.cat([layer.transpose(1, 2).unflatten(-1, (2, 3)) for layer in layers], 1)
    torch.testing.assert_close(loaded.network(loaded._tokens(grid)), maps)


@torch.no_grad()
def test_posing_arithmetic_equals_the_official_one(golden):
    from presence.geometry import axis_angle_to_quaternion

    given, known = golden.inputs(), golden.expected
    turn = given["posed_quaternion"]
    xyz = quaternion_rotate(turn, given["init_points"] + known["offset"])
    xyz = xyz + given["posed_translation"]
    golden.check("posed_xyz", xyz)
    spacing = torch.stack([spacing_of(one, nearest_neighbours(one)) for one in xyz])
    golden.check("spacing", spacing)
    scale = (known["radius"] + 1) * spacing[..., None]
    golden.check("posed_scale", scale)
    own = axis_angle_to_quaternion(known["rotation_vector"])
    whole = quaternion_multiply(turn, quaternion_multiply(given["init_quaternion"], own))
    factor = quaternion_to_matrix(whole) * scale[..., None, :]
    covariance = factor @ factor.transpose(-1, -2)
    upper = covariance[..., [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    golden.check("posed_covariance", upper)


def test_uv_positions_start_like_the_official_ones(golden):
    golden.check("init.decoder_pos_embed", sincos_positions(2, 64))


def test_every_number_that_is_kept_is_compared(golden, request):
    golden.check_all_were_checked(request)


@pytest.mark.parametrize("opacity", ["fixed", "learned"])
def test_the_default_size_has_exactly_the_released_names_and_shapes(golden, opacity):
    options = {k: v.default for k, v in inspect.signature(IDOLDecoder).parameters.items()}
    image_width = options["in_channels"] // options["layers"]
    with torch.device("meta"):
        net = IDOLNetwork(
            UVNeck(image_width, **{k: options[k] for k in ("grid", "width", "blocks", "heads")}),
            ConvUpsampler(options["width"], options["deconvolutions"], options["convolutions"]),
            CodeHeads(options["geometry"], options["texture"], opacity=opacity == "learned"),
        )
    ours = {official_name(k): list(v.shape) for k, v in net.state_dict().items()}
    theirs = dict(golden.variants["IDOL"]["keys"])
    unused = {k for k in theirs if k not in ours}
    assert all(any(re.fullmatch(p, k) for p in IGNORED) for k in unused)
    assert {k.split(".")[1] for k in unused} == {"decoder_pred"} | (
        {"density_net"} if opacity == "fixed" else set()
    )
    assert ours == {k: v for k, v in theirs.items() if k not in unused}
    assert golden.variants["IDOL"]["config"]["taps"] == hidden_states(16, 40)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"neck.mask_token": None}, "missing: neck.mask_token"),
        ({"neck.surplus": torch.ones(1)}, "left over: neck.surplus"),
        ({"decoder.base_bn.bias": torch.ones(3)}, r"decoder.base_bn.bias is \[3\], not \[20\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(
    golden, sphere, surface, tmp_path, change, said
):
    path = released(golden, tmp_path / "model.ckpt", **change)
    with pytest.raises(AssetError, match=said):
        load_official(Whole(IDOLDecoder(sphere, surface, **SMALL)), path)


def tiny(sphere, surface, **options):
    torch.manual_seed(0)
    small = dict(grid=4, width=32, blocks=3, heads=2, deconvolutions=(16, 16), convolutions=(16,))
    return IDOLDecoder(sphere, surface, **{**small, "geometry": 8, "texture": 8, **options})


def test_each_block_receives_its_own_layer_and_uv_tokens_learn_from_the_image(sphere, surface):
    decoder = tiny(sphere, surface, in_channels=3 * 6, layers=3)
    grid = torch.randn(1, 18, 2, 2, requires_grad=True)
    tokens = decoder._tokens(grid)
    states = decoder.network.neck.states(tokens)
    for block in range(3):  # after block b, layers 0..b have come in and no others
        (change,) = torch.autograd.grad(states[block].square().sum(), grid, retain_graph=True)
        reached = change.view(3, 6, 4).abs().sum((1, 2)) > 0
        assert reached.tolist() == [layer <= block for layer in range(3)]


def test_every_gaussian_is_opaque_and_sized_by_its_neighbours(sphere, surface):
    decoder = tiny(sphere, surface, in_channels=6, layers=1).eval()
    people, camera = sample_people(sphere, 2), facing_camera(sphere, 2, 32)
    canonical = sphere(people.map(torch.zeros_like).replace(betas=people.betas))
    features = ImageFeatures(torch.randn(2, 6, 3, 2))
    found = decoder(features, canonical, people, camera).canonical
    assert (found.opacities == 1).all()
    points = surface.binding.interpolate(canonical.rest_vertices) + found.means
    spacing = (points[:, decoder.neighbours] - points[:, :, None]).square().sum(-1).mean(-1).sqrt()
    ratio = found.scales.amax(-1) / spacing
    assert ratio.min() > 0 and ratio.max() <= 2 + 1e-4
    bigger = people.betas + torch.tensor([0.5, 0, 0, 0])
    grown = sphere(people.map(torch.zeros_like).replace(betas=bigger))
    wide = decoder(features, grown, people, camera).canonical
    assert (wide.scales > found.scales).all()  # the same code on a larger person


def test_activations_keep_their_bounds_at_infinite_logits():
    extremes = torch.stack([torch.zeros(13), torch.ones(13)])[None]
    raw = activate(extremes)
    for name, low, high in (("rgb", -0.001, 1.001), ("radius", -1, 1)):
        assert raw[name].min() == pytest.approx(low) and raw[name].max() == pytest.approx(high)
    assert raw["rotation"].abs().max() == pytest.approx(torch.pi / 2)


def test_sizes_have_no_gradient_through_the_spacing(sphere, surface):
    decoder = tiny(sphere, surface, in_channels=6, layers=1)
    canonical = sphere(sphere.default_params((1,)))
    maps = torch.rand(1, 13, 16, 16, requires_grad=True)
    decoder._gaussians(maps, canonical).scales.sum().backward()
    assert maps.grad[:, 1:4].abs().max() == 0  # offsets move points, not sizes
    assert maps.grad[:, 7:10].abs().max() > 0


def test_wrong_numbers_of_layers_are_refused(sphere, surface):
    with pytest.raises(ConfigError, match="layers=2 should be 1 or blocks=3"):
        tiny(sphere, surface, in_channels=6, layers=2)
    with pytest.raises(ConfigError, match="7 channels are not 3 equal maps"):
        tiny(sphere, surface, in_channels=7, layers=3)
