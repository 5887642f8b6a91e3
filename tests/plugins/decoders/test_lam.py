"""LAM against the official network's numbers and names, and the traits that make it LAM."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from official_baselines import Baseline
from safetensors.torch import save_file
from torch import nn

from presence.bodies import load_body
from presence.errors import AssetError, ConfigError
from presence.models.official import load_official
from presence.models.query_layers import tokens_of
from presence.models.vit import VisionTransformer
from presence.projection.queries import part_vertices, subdivided_vertices
from presence.structures import ImageFeatures, MeshTopology
from presence.testing.contracts.common import facing_camera, sample_people
from presence.testing.toy_bodies import SphereBody
from presence_plugins.decoders.lam import LAMDecoder, official_name
from presence_plugins.encoders.dinov2 import FUSED_LAYERS, LayerFusion, build_dinov2


class Tower(nn.Module):
    """The encoder's weights under `DINOv2Encoder`'s names."""

    def __init__(self, trunk, width, out_channels):
        super().__init__()
        self.trunk, self.fusion = trunk, LayerFusion(width, 4, out_channels)


class Whole(nn.Module):
    """What the loader sees of an `AvatarModel`."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


@pytest.fixture(scope="module")
def golden():
    return Baseline("lam")


def small(body):
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
    decoder = LAMDecoder(body, in_channels=56, width=64, layers=4, heads=4, hidden=40)
    return Whole(Tower(trunk, 48, 56), decoder)


@pytest.fixture(scope="module")
def loaded(golden, body, tmp_path_factory):
    path = tmp_path_factory.mktemp("lam") / "model.safetensors"
    save_file(golden.file(), path)
    model = small(body)
    load_official(model, path)
    return model.eval()


@torch.no_grad()
def test_every_step_equals_the_official_network(golden, loaded):
    given, encoder, decoder = golden.inputs(), loaded.encoder, loaded.decoder
    maps = encoder.fusion(encoder.trunk.maps(given["image"], FUSED_LAYERS[24]))
    golden.check("feature_map", maps)
    tokens = tokens_of(ImageFeatures(maps))
    golden.check("context", tokens)
    points = decoder.points(given["query_points"])
    golden.check("point_embed", points)
    context = decoder.transformer.context_in(tokens)
    golden.check("context_projected", context)
    for number, layer in enumerate(decoder.transformer.layers):
        if number == 0:
            mixed = layer.attention(layer.norm(points), layer.context_norm(context))
            golden.check("layer0.attention.points", mixed[0])
            golden.check("layer0.attention.context", mixed[1])
        points, context = layer(points, context)
        golden.check(f"layer{number}.points", points)
        if number < 3:
            golden.check(f"layer{number}.context", context)
    golden.check("tokens", decoder.transformer.norm(points))
    golden.check("head_mlp", decoder.heads.mlp(decoder.transformer.norm(points)))

    raw = decoder.attributes(tokens, given["query_points"])
    golden.check("scaling_raw", raw["scale"])
    gaussians = decoder.activate(raw)
    golden.check("scaling", gaussians.scales)
    golden.check("offset", gaussians.means)
    golden.check("xyz", given["query_points"] + gaussians.means)
    golden.check("rotation", gaussians.quaternions)
    golden.check("opacity", gaussians.opacities[..., None])
    golden.check("rgb", gaussians.colors[:, :, None])


def test_every_number_that_is_kept_is_compared(golden, request):
    golden.check_all_were_checked(request)


def test_full_size_has_exactly_the_official_names_and_shapes(golden, body):
    released = golden.variants["LAM-20K"]
    with torch.device("meta"):
        tower = Tower(build_dinov2("l", registers=True), 1024, 1024)
    decoder = LAMDecoder(SphereBody(4, 6), parts=("head",))
    state = Whole(tower, decoder).state_dict()
    own = {official_name(k): list(v.shape) for k, v in state.items()}
    assert own == {k: s for k, s in released["keys"].items() if k != "pcl_embed.basis"}
    to_drop = golden.manifest["to_drop"]
    assert all(any(re.fullmatch(p, k) for p in LAMDecoder.official.ignored) for k in to_drop)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("transformer.norm.bias"), "missing: transformer.norm.bias"),
        (lambda t: t.update({"renderer.extra": torch.ones(1)}), "left over: renderer.extra"),
        (
            lambda t: t.update({"pcl_embed.norm.bias": torch.ones(3)}),
            r"pcl_embed.norm.bias is \[3\], not \[64\]",
        ),
        (
            lambda t: [t.pop(k) for k in list(t) if "norm_added" in k],
            "older attention that left queries and keys of the picture unnormalised",
        ),
    ],
)
def test_what_does_not_fit_is_named(golden, body, tmp_path, change, said):
    tensors = golden.file()
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(AssetError, match=said):
        load_official(small(body), tmp_path / "model.safetensors")


def tiny(body, **options):
    torch.manual_seed(0)
    return LAMDecoder(
        body, **{**dict(in_channels=8, width=32, layers=2, heads=2, hidden=16), **options}
    )


def test_posing_moves_centres_and_leaves_quaternions(body):
    decoder, people = tiny(body, parts=("head",)).eval(), sample_people(body, 2)
    nn.init.normal_(decoder.heads.out["rotation"].weight)
    rest = body(people.map(torch.zeros_like).replace(betas=people.betas))
    camera = facing_camera(body, 2, 32, "cpu")
    with torch.no_grad():
        avatar = decoder(ImageFeatures(torch.randn(2, 8, 3, 3)), rest, people, camera)
    pose = people.pose.clone()
    pose[:, 15] = torch.tensor([0.2, 0.9, 0.0])  # the head turns
    before, after = avatar.pose(rest), avatar.pose(body(people.replace(pose=pose)))
    assert torch.equal(after.quaternions, avatar.canonical.quaternions)
    assert (after.means - before.means).norm(dim=-1).mean() > 0.02  # metres
    offsets = after.means - avatar.binding.interpolate(body(people.replace(pose=pose)).vertices)
    torch.testing.assert_close(
        offsets.norm(dim=-1), avatar.canonical.means.norm(dim=-1), atol=1e-5, rtol=0
    )


def test_activations_respect_their_clamps_at_infinite_logits(body):
    decoder = tiny(body)
    ends = torch.tensor([-1e4, 1e4]).repeat(32)[None, :, None]
    widths = dict(offset=3, scale=3, opacity=1, rotation=4, color=3)
    gaussians = decoder.activate({k: ends.expand(-1, -1, n) for k, n in widths.items()})
    assert gaussians.means.amin() == pytest.approx(-0.1)
    assert gaussians.means.amax() == pytest.approx(0.1)
    assert 0 < gaussians.scales.amin() and gaussians.scales.amax() == pytest.approx(0.01)


def test_queries_are_one_subdivision_of_the_head(body):
    """By Euler's formula on an independent count of the part's edges."""
    inside = part_vertices(body.vertex_parts, ("head", "neck"), body.num_vertices)
    faces = body.topology.faces[inside[body.topology.faces].all(-1)]
    edges = {tuple(sorted((a, b))) for f in faces.tolist() for a, b in zip(f, f[1:] + f[:1])}
    vertices = sorted({v for f in faces.tolist() for v in f})
    binding = subdivided_vertices(body.topology, inside)
    assert len(binding.uv) == len(vertices) + len(edges) == len(tiny(body).queries)
    rest = body.v_template
    points = binding.interpolate(rest)
    torch.testing.assert_close(points[: len(vertices)], rest[vertices])
    middles = {tuple(p) for p in (points[len(vertices) :] * 1e5).round().int().tolist()}
    expected = {tuple(((rest[a] + rest[b]) / 2 * 1e5).round().int().tolist()) for a, b in edges}
    assert len(middles ^ expected) < 0.02 * len(expected)  # rounding at half a unit


class MadeUpBody(SphereBody):
    """A tube of 161 rings and two closed balls, as many vertices and edges as FLAME, and a rest.

    Vertices are numbered at random, and the tube goes on beyond the part that is the head.
    """

    SIDES, RINGS, MORE, BALL = 31, 161, 5, 16

    def __init__(self):
        super().__init__()
        around = [
            (r * self.SIDES + s, r * self.SIDES + (s + 1) % self.SIDES)
            for r in range(self.RINGS + self.MORE - 1)
            for s in range(self.SIDES)
        ]
        faces = [(a, b, a + self.SIDES) for a, b in around]
        faces += [(b, b + self.SIDES, a + self.SIDES) for a, b in around]
        first = (self.RINGS + self.MORE) * self.SIDES
        for ball in (first, first + self.BALL):  # two poles over a ring of 14
            ring = [(ball + 2 + n, ball + 2 + (n + 1) % 14) for n in range(14)]
            faces += [(pole, a, b) for pole in (ball, ball + 1) for a, b in ring]
        count = first + 2 * self.BALL
        generator = torch.Generator().manual_seed(0)
        number = torch.randperm(count, generator=generator)
        faces = number[torch.tensor(faces)]
        self.topology = MeshTopology(faces, faces, torch.rand(count, 2, generator=generator), count)
        self.template = torch.randn(count, 3, generator=generator)
        self.vertex_parts = {"head": number[:100], "neck": number[100:200]}
        self.flame = torch.cat([number[: self.RINGS * self.SIDES], number[first:]])


def test_queries_of_smplx_are_flames_vertices_and_edges(tmp_path, monkeypatch):
    body = MadeUpBody()
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    by_part = tiny(body)  # without the file, and where it is not asked for
    assert len(tiny(body, flame_points=20_018).queries) == len(by_part.queries) < 1000
    folder = tmp_path / "body_models" / "smplx"
    folder.mkdir(parents=True)
    assert len(body.flame) == 5_023
    np.save(folder / "SMPL-X__FLAME_vertex_ids.npy", body.flame.numpy().astype(np.uint32))
    assert len(tiny(body).queries) == len(by_part.queries)
    binding = tiny(body, flame_points=20_018).queries.binding
    assert len(binding.uv) == 20_018
    used = binding.vertex_ids[binding.barycentrics > 0]
    assert set(used.tolist()) == set(body.flame.tolist())
    ends = binding.vertex_ids.gather(1, binding.barycentrics.argmax(1, keepdim=True))[:5_023, 0]
    assert torch.equal(ends, body.flame.sort().values)

    with pytest.raises(ConfigError, match="are 20018 points, not flame_points=20017"):
        tiny(body, flame_points=20_017)
    np.save(folder / "SMPL-X__FLAME_vertex_ids.npy", body.flame.numpy() + 400)
    with pytest.raises(AssetError, match="are not on a body of 5178"):
        tiny(body, flame_points=20_018)
