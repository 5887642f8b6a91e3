"""GUAVA against the official network's numbers and names, and the traits that make it GUAVA."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace

import pytest
import torch
from official_baselines import Baseline
from torch import nn

from presence.errors import AssetError, ConfigError
from presence.geometry import quaternion_multiply, quaternion_to_matrix
from presence.models.official import load_official
from presence.projection import build_surface
from presence.rasterize import build_rasterizer
from presence.rendering import build_renderer
from presence.rendering.features import splat_features
from presence.structures import (
    Camera,
    FeatureGaussians,
    Fragments,
    Gaussians,
    ImageFeatures,
    MeshTopology,
    Portrait,
    ProxyMesh,
    Rendering,
    SurfaceBinding,
)
from presence.testing.contracts.common import facing_camera, sample_portrait
from presence.testing.toy_bodies import SphereBody
from presence_plugins.decoders.guava import GUAVADecoder
from presence_plugins.decoders.guava_heads import VertexHeads, place_texels
from presence_plugins.decoders.guava_names import IGNORED, official_name

FACES = torch.tensor([[k % 60, (k + 1) % 60, (k + 5) % 60] for k in range(90)])
SMALL = dict(
    image_size=64,
    uv_channels=6,
    vertex_channels=24,
    vertex_learned=16,
    vertex_global=20,
    uv_inpainted=10,
    colors=8,
)


class Whole(nn.Module):
    """What the loader sees of an `AvatarModel`."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


@pytest.fixture(scope="module")
def golden():
    return Baseline("guava")


class Texels(nn.Module):
    """The golden case's UV map in the place of a surface map: any face at any texel."""

    def __init__(self, given):
        super().__init__()
        self.size, self.faces = 32, FACES
        self.texels = given["uv_mask"].flatten().nonzero()[:, 0]
        ids = (given["face_index"] * 90).floor().long().clamp(0, 89)
        self.face_ids = ids.flatten()[self.texels]
        self.vertex_ids = FACES[self.face_ids]
        weights = given["face_bary"].softmax(-1).reshape(-1, 3)[self.texels]
        self.binding = SurfaceBinding(self.vertex_ids, weights, torch.zeros(len(weights), 2))

    def to_map(self, values):
        maps = values.new_zeros(len(values), 32 * 32, values.shape[-1])
        maps[:, self.texels] = values
        return maps.transpose(1, 2).unflatten(-1, (32, 32))

    def from_map(self, maps):
        return maps.flatten(2)[:, :, self.texels].transpose(1, 2)


def golden_decoder(given, **options):
    body = SimpleNamespace(topology=MeshTopology(FACES, FACES, torch.zeros(60, 2), 60))
    shown = torch.where(given["face_visible"], torch.arange(90), -1)[:, None]  # [B 1 F]

    def rasterizer(screen, faces, height, width):
        return Fragments(shown, torch.zeros(2, 1, 90, 3), torch.zeros(2, 1, 90))

    return GUAVADecoder(body, Texels(given), rasterizer, **SMALL, **options)


def golden_case(given):
    """What `forward` takes: the posed mesh, and the target mesh in the place of the rest pose."""
    camera = torch.eye(4).repeat(2, 1, 1)
    camera[:, :3, :3] = quaternion_to_matrix(given["camera_quaternion"])
    camera[:, :2, 3], camera[:, 2, 3] = 0.1 * given["camera_shift"], 24
    focal = torch.tensor([[24 * 32.0, 0, 32], [0, 24 * 32.0, 32], [0, 0, 1]]).expand(2, -1, -1)
    maps = [m.transpose(1, 2).unflatten(-1, (4, 5)) for m in given["dino_tokens"]]
    still = torch.eye(3).expand(2, 60, 3, 3)

    def mesh(vertices, rotations=still):
        return ProxyMesh(vertices, vertices, rotations, torch.zeros(2, 55, 3))

    return SimpleNamespace(
        features=ImageFeatures(torch.cat(maps, 1)),
        camera=Camera(focal, camera, 64, 64),
        portrait=Portrait(given["image"], torch.ones(2, 1, 56, 70)),
        posed=mesh(given["posed_vertices"]),
        target=mesh(given["target_vertices"]),
        maps=maps,
    )


def released(golden, path, **changes):
    flat = {k: v for k, v in golden.file().items() if k != "pcl_embed.basis"} | changes
    entries: dict = {"meta_cfg": {}, "global_iter": 0}
    for key, value in flat.items():
        entry, _, name = key.partition(".")
        if value is not None:
            entries.setdefault(entry, {})[name] = value
    torch.save(entries, path)
    return path


@pytest.fixture(scope="module")
def loaded(golden, tmp_path_factory):
    path = released(golden, tmp_path_factory.mktemp("guava") / "best.pt")
    model = Whole(golden_decoder(golden.inputs()))
    load_official(model, path)
    return model.eval().decoder


@torch.no_grad()
def test_the_image_pyramid_equals_the_official_one(golden, loaded):
    given, net = golden.inputs(), loaded.pyramid
    maps = golden_case(given).maps
    levels = net.levels(maps, (given["image"] - net.mean) / net.std)
    for number, level in enumerate(levels):
        golden.check(f"encoder.level{number}", level)
    for number, fused in enumerate(net.fused(levels)):
        golden.check(f"encoder.refine{number}", fused[:, :, ::2, ::2])
    uv, vertex = net(maps, given["image"])
    golden.check("f_map1.stride2", uv[:, :, ::2, ::2])
    golden.check("f_map2.stride4", vertex[:, :, ::4, ::4])


@torch.no_grad()
def test_both_branches_equal_the_official_ones_from_picture_to_posed_gaussians(golden, loaded):
    given = golden.inputs()
    case, seen = golden_case(given), {}
    hooks = [
        module.register_forward_hook(lambda m, args, out, n=name: seen.update({n: (args, out)}))
        for name, module in loaded.named_children()
    ]
    avatar = loaded(
        case.features, case.target, people(), case.camera,
        portrait=case.portrait, posed=case.posed,
    )  # fmt: skip
    for hook in hooks:
        hook.remove()
    golden.check("global_vertex", seen["to_global"][1])
    golden.check("global_style", seen["to_style"][1])
    golden.check("vertex_input", seen["vertices"][0][0])
    golden.check("camera_direction_code", seen["vertices"][0][1])
    golden.check("uv_sampled", seen["inpaint"][0][0])
    golden.check("uv_inpainted", seen["inpaint"][1])
    golden.check("uv.binding_face", loaded.surface.face_ids[None, :, None])
    golden.check("uv.face_bary", loaded.surface.binding.barycentrics[None])
    vertex, texel = seen["vertices"][1], seen["texels"][1]
    for theirs, ours in dict(colors="color", opacities="opacity", scales="scale").items():
        golden.check(f"vertex.{theirs}", vertex[ours])
        golden.check(f"uv.{theirs}", loaded.surface.from_map(texel[ours]))
    golden.check("vertex.rotations", vertex["rotation"])
    golden.check("uv.rotations", loaded.surface.from_map(texel["rotation"]))
    golden.check("uv.local_pos", loaded.surface.from_map(texel["position"]))

    found = avatar.canonical
    points = avatar.binding.interpolate(given["target_vertices"])
    golden.check("posed.xyz", points + found.means)
    golden.check("posed.opacity", found.opacities[..., None])
    golden.check("posed.features", found.features[..., :4])
    assert torch.equal(found.colors, found.features[..., :3])
    golden.check("posed.scaling", loaded_scales(vertex, texel, loaded, given))
    # Vertices turn with their skinning rotation; texels came in their triangle's frame already.
    turned = quaternion_multiply(given["vertex_quaternion"], found.quaternions[:, :60])
    turned = torch.cat([turned, found.quaternions[:, 60:]], 1)
    side = (turned * golden.expected["posed.rotation"]).sum(-1, keepdim=True).sign()
    golden.check("posed.rotation", turned * side)


def people():
    return SphereBody().default_params((2,))


def loaded_scales(vertex, texel, decoder, given):
    """Before the clamp to sizes that are ours."""
    raw = {name: decoder.surface.from_map(value) for name, value in texel.items()}
    size = place_texels(raw, given["target_vertices"][:, decoder.surface.vertex_ids])[2]
    return torch.cat([vertex["scale"], size], 1)


@torch.no_grad()
def test_the_style_unets_equal_the_official_ones(golden, loaded):
    given = golden.inputs()
    code, _ = loaded.inpaint.encode(golden.expected["uv_sampled"], golden.expected["global_style"])
    golden.check("uv_style", loaded.inpaint.generator.style_mlp(code))
    noise = [given[f"refiner_noise{4 << level}"] for level in range(5)]
    code, _ = loaded.refiner.encode(given["raster"])
    golden.check("refiner_style", loaded.refiner.generator.style_mlp(code))
    golden.check("refined.noise", loaded.refiner(given["raster"], noise=noise).sigmoid())


@torch.no_grad()
def test_without_noise_both_equal_the_official_ones(golden, loaded):
    sampled, style = golden.expected["uv_sampled"], golden.expected["global_style"]
    filled = loaded.inpaint(sampled, style, "none")
    golden.check("uv_inpainted.no_noise.stride2", filled[..., ::2, ::2])

    # The refiner by the way that pictures take: splatted channels to the drawn picture.
    raster, size = golden.inputs()["raster"], (2, 1, 64, 64)
    some = torch.zeros(2, 1, 3)
    posed = FeatureGaussians(
        some, torch.zeros(2, 1, 4), some, some[..., 0], some, torch.zeros(2, 1, 8)
    )
    raw = Rendering(torch.zeros(2, 3, 64, 64), torch.ones(size), torch.ones(size))
    camera, passes = golden_case(golden.inputs()).camera, iter(raster.split(3, 1))

    def splatter(gaussians, camera):  # gives the golden raster, three channels a pass
        found = next(passes)
        return raw.replace(rgb=nn.functional.pad(found, (0, 0, 0, 0, 0, 3 - found.shape[1])))

    drawn = loaded.finish(raw, posed, camera, None, splatter)
    golden.check("refined.no_noise.stride2", drawn.rgb[..., ::2, ::2])


def test_every_number_that_is_kept_is_compared(golden, request):
    golden.check_all_were_checked(request)


def test_the_default_size_has_exactly_the_released_names_and_shapes(golden):
    options = {k: v.default for k, v in inspect.signature(GUAVADecoder).parameters.items()}
    known = ("body", "surface", "rasterizer", "teeth")
    options = {k: v for k, v in options.items() if k not in known}
    body = SimpleNamespace(topology=MeshTopology(FACES, FACES, torch.zeros(60, 2), 60))
    surface = Texels(golden.inputs())
    surface.size = 512
    with torch.device("meta"):
        decoder = GUAVADecoder(body, surface, None, **options, teeth=10_475 + 120 - 60)
    ours = {official_name(k): list(v.shape) for k, v in decoder.state_dict().items()}
    theirs = golden.variants["GUAVA"]["keys"]
    unused = [k for k in theirs if k not in ours]
    assert all(any(re.fullmatch(p, k) for p in IGNORED) for k in unused) and len(unused) == 4
    assert ours == {k: v for k, v in theirs.items() if k not in unused}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.uv_base_feature": None}, "missing: model.uv_base_feature"),
        ({"model.surplus": torch.ones(1)}, "left over: model.surplus"),
        (
            {"render_model.nerual_refiner.final_linear.bias": torch.ones(3)},
            r"nerual_refiner.final_linear.bias is \[3\], not \[512\]",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(golden, tmp_path, change, said):
    path = released(golden, tmp_path / "best.pt", **change)
    with pytest.raises(AssetError, match=said):
        load_official(Whole(golden_decoder(golden.inputs())), path)


def test_a_file_of_one_network_is_no_checkpoint_of_guava(golden, tmp_path):
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "one.pt")
    with pytest.raises(AssetError, match="lacks the entry render_model"):
        load_official(Whole(golden_decoder(golden.inputs())), tmp_path / "one.pt")


TINY = dict(
    layers=1,
    image_size=32,
    levels=(8, 8, 8, 8),
    uv_channels=4,
    vertex_channels=8,
    vertex_learned=8,
    vertex_global=8,
    uv_inpainted=8,
    uv_learned=4,
    colors=5,
    style=16,
    scale=0.03,
    width=16,
    in_channels=6,
)


@pytest.fixture(scope="module")
def sphere():
    return SphereBody()


@pytest.fixture(scope="module")
def tiny(sphere):
    torch.manual_seed(0)
    surface = build_surface(sphere, 32)
    return GUAVADecoder(sphere, surface, build_rasterizer("cpu"), **TINY).eval()


def decoded(decoder, sphere):
    torch.manual_seed(1)
    params, camera = sphere.default_params((1,)), facing_camera(sphere, 1, 32)
    mesh = sphere(params)
    features = ImageFeatures(torch.randn(1, 6, 4, 4))
    portrait = sample_portrait(1, 32)
    return decoder(features, mesh, params, camera, portrait=portrait, posed=mesh), mesh, camera


@torch.no_grad()
def test_colours_have_many_channels_and_the_refiner_draws_from_them(tiny, sphere):
    avatar, mesh, camera = decoded(tiny, sphere)
    assert isinstance(avatar.canonical, FeatureGaussians)
    assert avatar.canonical.features.shape[-1] == 5
    assert len(avatar.binding.uv) == sphere.topology.num_vertices + len(tiny.surface)
    renderer, posed, white = build_renderer("cpu"), avatar.pose(mesh), torch.ones(3)
    raw = renderer(posed, camera, white)
    final = tiny.finish(raw, posed, camera, white, renderer)
    assert torch.equal(final.alpha, raw.alpha)
    black = tiny.finish(renderer(posed, camera), posed, camera, None, renderer)
    torch.testing.assert_close(final.rgb - black.rgb, (1 - raw.alpha).expand(-1, 3, -1, -1))
    assert (black.rgb <= raw.alpha).all()
    changed = posed.replace(features=posed.features + torch.tensor([0, 0, 0, 2.0, 0]))
    other = tiny.finish(raw, changed, camera, white, renderer)
    assert (other.rgb - final.rgb).abs().max() > 1e-4  # the fourth channel matters
    from_file = Gaussians(
        posed.means, posed.quaternions, posed.scales, posed.opacities, posed.colors
    )
    assert tiny.finish(raw, from_file, camera, white, renderer) is raw


@torch.no_grad()
def test_without_the_refiner_the_picture_is_the_raw_rendering(tiny, sphere):
    torch.manual_seed(0)
    plain = GUAVADecoder(
        sphere, build_surface(sphere, 32), build_rasterizer("cpu"), **TINY, refine_output=False
    ).eval()
    lost = tiny.state_dict().keys() - plain.state_dict().keys()
    assert lost and all(name.startswith("refiner.") for name in lost)
    plain.load_state_dict({k: v for k, v in tiny.state_dict().items() if k not in lost})
    avatar, mesh, camera = decoded(plain, sphere)
    renderer, posed = build_renderer("cpu"), avatar.pose(mesh)
    raw = renderer(posed, camera, torch.ones(3))
    assert plain.finish(raw, posed, camera, torch.ones(3), renderer) is raw
    with_refiner = decoded(tiny, sphere)[0].pose(mesh)
    assert torch.equal(posed.features, with_refiner.features)  # the same Gaussians
    drawn = tiny.finish(raw, with_refiner, camera, torch.ones(3), renderer)
    assert (drawn.rgb - raw.rgb).abs().max() > 0.01


def test_a_released_file_is_refused_without_a_refiner_to_take_its_weights(golden, tmp_path):
    decoder = golden_decoder(golden.inputs(), refine_output=False)
    with pytest.raises(AssetError, match="left over: render_model.nerual_refiner"):
        load_official(Whole(decoder), released(golden, tmp_path / "best.pt"))


@torch.no_grad()
def test_splatted_channels_equal_colours_splatted_alone(tiny, sphere):
    avatar, mesh, camera = decoded(tiny, sphere)
    renderer, posed = build_renderer("cpu"), avatar.pose(mesh)
    maps = splat_features(renderer, posed, posed.features, camera)
    torch.testing.assert_close(maps[:, :3], renderer(posed, camera).rgb)
    negative = splat_features(renderer, posed, -2 * posed.features, camera)
    torch.testing.assert_close(negative, -2 * maps, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_vertices_sit_on_the_template_and_hidden_texels_sample_nothing(tiny, sphere):
    avatar, mesh, camera = decoded(tiny, sphere)
    count = sphere.topology.num_vertices
    assert torch.equal(avatar.pose(mesh).means[:, :count], mesh.vertices)
    sampled = tiny._inverse_texture(torch.ones(1, 2, 8, 8), mesh, camera)
    points = tiny.surface.binding.interpolate(mesh.vertices)[0]
    values = tiny.surface.from_map(sampled)[0, :, 0]
    assert (values[points[:, 2] < -0.05] == 0).all()
    assert values[points[:, 2] > 0.2].mean() > 0.85  # faces below a pixel's size are missed


def test_activations_keep_their_bounds_at_infinite_logits(tiny, sphere):
    head = VertexHeads(8, 4, hidden=4)
    for sign in (-1.0, 1.0):
        for name in ("opacity", "scale"):
            nn.init.constant_(head.heads[name][2].bias, sign * 1e9)
        found = head(torch.zeros(1, 3, 8), torch.zeros(1, 27))
        assert found["scale"].min() >= 0 and found["scale"].max() <= 0.05
        assert found["opacity"].min() >= 0 and found["opacity"].max() <= 1
        huge = {n: torch.full((1, len(tiny.surface), c), sign * 1e9) for n, c in
                dict(color=5, opacity=1, scale=3, rotation=4, position=3).items()}  # fmt: skip
        texel = {**huge, "scale": huge["scale"].exp(), "position": 0 * huge["position"]}
        count = sphere.topology.num_vertices
        vertex = {n: torch.full((1, count, v.shape[-1]), 0.5) for n, v in huge.items()}
        mesh = sphere(sphere.default_params((1,)))
        scales = tiny._gaussians(vertex, texel, mesh).scales
        assert scales.isfinite().all() and scales.min() > 0 and scales.max() <= 0.5


def test_vertex_quaternions_are_normalised_over_the_vertices_as_released():
    head = VertexHeads(8, 4, hidden=4)
    found = head(torch.randn(2, 7, 8), torch.randn(2, 27))["rotation"]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 4))


def test_noise_is_fresh_in_training_only(tiny, sphere):
    with torch.no_grad():
        for part in (tiny.inpaint.generator.first, tiny.refiner.generator.first):
            part.strength.fill_(1.0)
        first, again = (decoded(tiny, sphere)[0].canonical.colors for _ in range(2))
        assert torch.equal(first, again)
        tiny.train()
        torch.manual_seed(5)
        avatar, mesh, camera = decoded(tiny, sphere)
        maps = torch.zeros(1, 5, 32, 32)
        assert not torch.equal(tiny.refiner(maps, noise="fresh"), tiny.refiner(maps, noise="fresh"))
        tiny.eval()
    assert avatar.canonical.colors.isfinite().all()


def test_what_cannot_work_is_refused(sphere):
    surface = build_surface(sphere, 32)
    with pytest.raises(ConfigError, match="takes 1 or 5 equal maps"):
        GUAVADecoder(sphere, surface, None, **{**TINY, "layers": 2})
    with pytest.raises(ConfigError, match="at least one channel more"):
        GUAVADecoder(sphere, surface, None, **{**TINY, "colors": 3})


@torch.no_grad()
def test_an_avatar_file_keeps_the_raw_picture(tiny, sphere, tmp_path):
    from presence.io.avatar import load_avatar, save_avatar

    avatar, mesh, camera = decoded(tiny, sphere)
    save_avatar(avatar[0], tmp_path / "avatar.safetensors", {"body": "sphere"})
    read, _ = load_avatar(tmp_path / "avatar.safetensors")
    renderer = build_renderer("cpu")
    raw = renderer(avatar.pose(mesh), camera).rgb[0]
    torch.testing.assert_close(renderer(read.pose(mesh[0]), camera[0]).rgb, raw)
