"""LHM against the official network's numbers and names, and the traits that make it LHM."""

from __future__ import annotations

import re

import pytest
import torch
from official_baselines import OCTAVES, Baseline
from safetensors.torch import save_file
from torch import nn

from presence.bodies import load_body
from presence.errors import AssetError, ConfigError
from presence.geometry import quaternion_rotate, quaternion_to_matrix
from presence.interfaces import Encoder
from presence.models.official import load_official
from presence.models.query_layers import tokens_of
from presence.models.vit import VisionTransformer
from presence.projection.crops import crop_windows, part_window
from presence.projection.queries import part_vertices, points_inside
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    ImageFeatures,
    Portrait,
    ProxyMesh,
    SurfaceBinding,
)
from presence.testing.contracts.common import facing_camera, sample_people, sample_portrait
from presence_plugins.decoders.lhm import LHMDecoder, official_name
from presence_plugins.encoders.dinov2 import FUSED_LAYERS, LayerFusion, build_dinov2


class HeadTower(Encoder):
    """DINOv2 of any size with four layers fused, fed as LHM does: [0, 1], not normalised."""

    def __init__(self, trunk, width, out_channels):
        super().__init__()
        self.trunk, self.out_channels = trunk, out_channels
        self.fusion = LayerFusion(width, 4, out_channels)

    def forward(self, portrait):
        return ImageFeatures(self.fusion(self.trunk.maps(portrait.rgb, FUSED_LAYERS[24])))


class Whole(nn.Module):
    """What the loader sees of an `AvatarModel` whose body encoder is frozen."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


def small_tower():
    trunk = VisionTransformer(
        48,
        24,
        3,
        patch=14,
        grid=(37, 37),
        registers=4,
        layer_scale=True,
        position_rule="bicubic_antialias",
    )
    return HeadTower(trunk, 48, 64)


def small(body, head_encoder, **options):
    sizes = dict(in_channels=96, points=32, width=64, layers=3, heads=4, hidden=40)
    return LHMDecoder(body, head_encoder=head_encoder, **{**sizes, **options})


@pytest.fixture(scope="module")
def golden():
    return Baseline("lhm")


@pytest.fixture(scope="module")
def loaded(golden, body, tmp_path_factory):
    path = tmp_path_factory.mktemp("lhm") / "model.safetensors"
    save_file(golden.file(), path)
    decoder = small(body, small_tower())
    load_official(Whole(decoder), path)
    return decoder.eval(), path


@torch.no_grad()
def test_every_step_equals_the_official_network(golden, loaded):
    decoder, _ = loaded
    given = golden.inputs()
    picture, body_tokens = given["head_image"], given["body_tokens"]

    tower = decoder.head_encoder
    layers = tower.trunk.maps(picture, FUSED_LAYERS[24])
    golden.check("dino_layers", torch.stack([m.flatten(2).transpose(1, 2) for m in layers]))
    feature_map = tower.fusion(layers)
    golden.check("head_feature_map", feature_map)
    head = feature_map.flatten(2).transpose(1, 2)
    vector = decoder.condition(body_tokens.mean(1, keepdim=True))
    golden.check("temb", vector)
    points = decoder.points(given["query_points"])
    golden.check("point_embed", points)

    transformer, count = decoder.transformer, decoder.num_head
    padded = torch.nn.functional.pad(head, (0, 96 - 64))
    golden.check("context", torch.cat([body_tokens, padded], 1))
    body_stream, head_stream = transformer.context_in(body_tokens), transformer.context_in(padded)
    golden.check("context_projected", torch.cat([body_stream, head_stream], 1))
    mixed = {}
    for layer, block in ((0, "head"), (2, "body")):  # what enters their attention
        module = transformer.layers[layer][block]
        module.attention.register_forward_pre_hook(
            lambda m, given, key=(layer, block): mixed.update({key: given})
        )
        module.register_forward_hook(
            lambda m, given, out, key=(layer, block, "out"): mixed.update({key: out})
        )
    for number, layer in enumerate(transformer.layers):
        points, body_stream, head_stream = transformer.layer(
            layer, points, body_stream, head_stream, vector, count
        )
        golden.check(f"layer{number}.points", points)
        if number < 2:
            golden.check(f"layer{number}.context", torch.cat([body_stream, head_stream], 1))
    golden.check("layer0.head_dit.norm1", mixed[0, "head"][0])
    golden.check("layer0.head_dit.points", mixed[0, "head", "out"][0])
    golden.check("layer2.body_dit.norm1_context", mixed[2, "body"][1])
    golden.check("tokens", transformer.norm(points))
    golden.check("head_mlp", decoder.heads.mlp(transformer.norm(points)))


@pytest.fixture(scope="module")
def raw(golden, loaded):
    decoder, given = loaded[0], golden.inputs()
    tower = decoder.head_encoder
    with torch.no_grad():
        head = tower.fusion(tower.trunk.maps(given["head_image"], FUSED_LAYERS[24]))
        tokens = head.flatten(2).transpose(1, 2)
        return decoder.attributes(given["body_tokens"], tokens, given["query_points"])


def test_activations_and_scale_schedule_equal_the_official_ones(golden, loaded, raw):
    decoder = loaded[0]
    decoder.upper = golden.inputs()["is_upper_body"]
    golden.check("scaling_raw", raw["scale"])
    for step in (0, 1500, 10_000_000):
        decoder.train().at_step(step)
        golden.check(f"scaling.step{step}", decoder.activate(raw).scales)
    gaussians = decoder.eval().activate(raw)
    golden.check("scaling.step10000000", gaussians.scales)  # whatever step it heard last
    golden.check("offset_xyz", gaussians.means)
    golden.check("rotation", gaussians.quaternions)
    golden.check("opacity", gaussians.opacities[..., None])
    golden.check("rgb", gaussians.colors[:, :, None])


def test_posing_equals_the_official_one(golden, loaded, raw):
    """One person in two poses; offsets turn, the orientations of kept points do not."""
    given = golden.inputs()
    turn, count = given["posed_quaternion"], 32
    gaussians = loaded[0].activate(raw)[:1].map(lambda value: value.expand(2, *value.shape[1:]))
    ids = torch.arange(count)[:, None].expand(-1, 3)  # every point is a vertex of a loose mesh
    binding = SurfaceBinding(ids, torch.eye(3)[:1].expand(count, -1), torch.zeros(count, 2))
    rest = given["query_points"][:1].expand(2, -1, -1)
    vertices = quaternion_rotate(turn, rest) + given["posed_translation"]
    mesh = ProxyMesh(vertices, rest, quaternion_to_matrix(turn), torch.zeros(2, 55, 3))
    people = BodyParams(*(torch.zeros(2, *s) for s in ((1,), (1,), (55, 3), (3,))))
    avatar = Avatar(
        gaussians,
        people,
        Camera(torch.zeros(2, 3, 3), torch.zeros(2, 4, 4), width=8, height=8),
        binding,
        keep_orientation=given["is_constrain_body"],
    )
    posed = avatar.pose(mesh)
    golden.check("posed_xyz", posed.means)
    golden.check("posed_rotation", posed.quaternions * posed.quaternions[..., :1].sign())


def test_every_number_that_is_kept_is_compared(golden, request):
    golden.check_all_were_checked(request)


class NoQueries(LHMDecoder):
    """The network alone, for the meta device: points are placed with real arithmetic."""

    def _place_queries(self, *arguments):
        pass


@pytest.mark.parametrize("variant", ["LHM-MINI", "LHM-500M (also -HF)", "LHM-1B (also -HF)"])
def test_full_size_has_exactly_the_official_names_and_shapes(golden, body, variant):
    released = golden.variants[variant]
    with torch.device("meta"):
        tower = HeadTower(build_dinov2("l", registers=True), 1024, 1024)
        decoder = NoQueries(body, head_encoder=tower, layers=released["config"]["layers"])
    assert decoder.num_head == 10_000
    own = {official_name(f"decoder.{k}"): list(v.shape) for k, v in decoder.state_dict().items()}
    assert own == {k: s for k, s in released["keys"].items() if k != "pcl_embed.basis"}
    patterns = LHMDecoder.official.ignored
    assert all(any(re.fullmatch(p, name) for p in patterns) for name in released["to_drop"])


def test_every_name_that_does_not_fit_is_named(golden, body, tmp_path):
    tensors = golden.file()
    del tensors["transformer.layers.2.head_dit.attn.to_out.0.bias"]
    tensors["transformer.layers.3.norm.weight"] = torch.ones(64)
    tensors["motion_embed_mlp.2.bias"] = torch.ones(5)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(AssetError) as error:
        load_official(Whole(small(body, small_tower())), tmp_path / "model.safetensors")
    assert "missing: transformer.layers.2.head_dit.attn.to_out.0.bias" in str(error.value)
    assert "left over: transformer.layers.3.norm.weight" in str(error.value)
    assert "motion_embed_mlp.2.bias is [5], not [128]" in str(error.value)
    tensors = golden.file() | {"pcl_embed.basis": 2 * OCTAVES}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(AssetError, match="other frequencies"):
        load_official(Whole(small(body, small_tower())), tmp_path / "model.safetensors")


class Flat(Encoder):
    """Average colours of a grid: an encoder that trains fast."""

    out_channels = 8

    def __init__(self, cells=4):
        super().__init__()
        self.cells, self.net = cells, nn.Conv2d(4, 8, 1)

    def forward(self, portrait):
        both = torch.cat([portrait.rgb * portrait.alpha, portrait.alpha], 1)
        return ImageFeatures(self.net(nn.functional.adaptive_avg_pool2d(both, self.cells)))


def tiny(body, **options):
    torch.manual_seed(0)
    sizes = dict(in_channels=8, points=64, width=64, layers=2, heads=2, hidden=16, head_size=16)
    return LHMDecoder(body, head_encoder=Flat(), **{**sizes, **options})


def test_head_tokens_reach_body_points_only_through_head_points(body):
    """In a layer's first stage head points read head tokens; in its second all points meet."""
    decoder = tiny(body)
    for block in decoder.transformer.modules():
        if hasattr(block, "modulation"):  # gates start at zero, where nothing mixes
            nn.init.normal_(block.modulation.weight, std=0.3)
    points, vector = torch.randn(1, 64, 64), torch.randn(1, 1, 128)
    body_tokens, head_tokens = torch.randn(1, 9, 64), torch.randn(1, 5, 64, requires_grad=True)
    layer = decoder.transformer.layers[0]
    head_points, _ = layer["head"](points[:, 48:], head_tokens, vector[..., 64:])
    assert head_points.shape[1] == decoder.num_head == 16
    with torch.no_grad():  # the body block sees head points, never head tokens
        cut = torch.cat([points[:, :48], head_points], 1)
        expected, _ = layer["body"](cut, body_tokens, vector[..., :64])
    got, _, _ = decoder.transformer.layer(layer, points, body_tokens, head_tokens, vector, 16)
    torch.testing.assert_close(got.detach(), expected)
    (gradient,) = torch.autograd.grad(got[:, :48].square().sum(), head_tokens)
    assert gradient.abs().max() > 0
    blocked, _ = layer["body"](cut.detach(), body_tokens, vector[..., :64])
    assert not torch.autograd.grad(blocked.sum(), head_tokens, allow_unused=True)[0]


def test_activations_respect_their_clamps_at_infinite_logits(body):
    decoder, ends = tiny(body).eval(), torch.tensor([-1e4, 1e4]).repeat(32)[None, :, None]
    widths = dict(offset=3, scale=3, opacity=1, rotation=4, color=3)
    raw = {k: ends.repeat(1, 1, n).requires_grad_() for k, n in widths.items()}
    gaussians = decoder.activate(raw)
    sum(v.sum() for v in vars(gaussians).values()).backward()
    gaussians = gaussians.detach()
    assert all(value.grad.isfinite().all() for value in raw.values())
    assert gaussians.means.amin() == -0.5 and gaussians.means.amax() == 0.5
    assert 0 < gaussians.scales.amin() and gaussians.scales.amax() == pytest.approx(0.05)
    upper = gaussians.scales[:, decoder.upper].amax()
    assert upper == pytest.approx(0.02) and 0 < decoder.upper.sum() < 64
    assert gaussians.opacities.amax() == 1 and gaussians.colors.amin() == 0


@torch.no_grad()
def test_offsets_are_those_of_the_opened_pose(body):
    """Posed with its legs opened, the avatar has the very Gaussians that were decoded."""
    decoder, people = tiny(body).eval(), sample_people(body, 2, "cpu")
    for name in ("offset", "rotation"):
        nn.init.normal_(decoder.heads.out[name].weight)
    features = ImageFeatures(torch.randn(2, 8, 3, 3))
    portrait, camera = sample_portrait(2, 64, "cpu"), facing_camera(body, 2, 64, "cpu")
    posed, rest = body(people), body(people.map(torch.zeros_like).replace(betas=people.betas))
    avatar = decoder(features, rest, people, camera, portrait=portrait, posed=posed)

    opened = decoder.opened_mesh(rest, people)
    legs = opened.joints[:, [7, 8], :2] - opened.joints[:, [1, 2], :2]  # ankle from hip
    straight = rest.joints[:, [7, 8], :2] - rest.joints[:, [1, 2], :2]
    turned = torch.atan2(legs[..., 0], -legs[..., 1]) - torch.atan2(
        straight[..., 0], -straight[..., 1]
    )
    torch.testing.assert_close(turned.rad2deg(), torch.tensor([[20.0, -20.0]] * 2))

    points = avatar.binding.interpolate(opened.vertices)
    head = decoder.head_features(portrait, posed, camera)
    decoded = decoder.activate(decoder.attributes(tokens_of(features), head, points))
    back = avatar.pose(opened)
    torch.testing.assert_close(back.means - points, decoded.means, atol=1e-5, rtol=0)
    same = (back.quaternions * decoded.quaternions).sum(-1).abs()
    torch.testing.assert_close(same, torch.ones_like(same))
    assert not torch.allclose(avatar.canonical.means, decoded.means, atol=1e-3)


@torch.no_grad()
def test_head_tokens_are_masked_only_while_training(body):
    decoder = tiny(body, head_mask_ratio=1.0)
    tokens = torch.ones(4, 200, 8)
    share = (decoder.train()._mask(tokens) == 0).float().mean((1, 2))
    assert share.std() > 0.02 and 0 < share.mean() < 1
    assert torch.equal(decoder.eval()._mask(tokens), tokens)


def test_the_crop_is_the_head(body):
    """The window is centred on the head's projection, whatever the framing."""
    people, camera = sample_people(body, 2, "cpu"), facing_camera(body, 2, 64, "cpu")
    head = body.vertex_parts["head"]
    mesh = body(people)
    pixels, _ = camera.project(mesh.vertices[:, head])
    window = part_window(mesh, camera, head, 1.0)
    ramp = torch.arange(64.0)[None, None, None].expand(2, 3, 64, 64) / 64
    crop = crop_windows(Portrait(ramp, torch.ones(2, 1, 64, 64)), window, 8)
    middle = (pixels.amin(1) + pixels.amax(1)) / 2
    inside = crop.alpha.amin((1, 2, 3)) == 1
    assert inside.any()
    columns = crop.rgb[inside].mean((1, 2, 3)) * 64 + 0.5
    torch.testing.assert_close(columns, middle[inside, 0], atol=0.05, rtol=0)


def test_queries_lie_where_they_should(body):
    decoder = tiny(body, points=400)
    binding = decoder.queries.binding
    head = part_vertices(body.vertex_parts, ("head",), body.num_vertices)
    on_head = points_inside(binding, head)
    assert decoder.num_head == 100
    assert on_head[300:].float().mean() > 0.95 and on_head[:300].float().mean() < 0.05
    assert torch.equal(tiny(body, points=400).queries.barycentrics, binding.barycentrics)


def test_wrong_options_are_explained(body):
    with pytest.raises(ConfigError, match="8 channels, more than the 4"):
        tiny(body, in_channels=4)
    with pytest.raises(ConfigError, match="leave 0 for the head"):
        tiny(body, head_share=0.0)
    with pytest.raises(ConfigError, match="heads=3 must divide width=64"):
        tiny(body, heads=3)
    with pytest.raises(ConfigError, match="no part `left_hnad`. Did you mean `left_hand`"):
        tiny(body, unturned_parts=("left_hnad",))
    assert tiny(body, points=400, unturned_parts=("left_arm",)).keep.any()
