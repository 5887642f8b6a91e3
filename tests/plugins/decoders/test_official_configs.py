"""Every config of a released size as a whole model, with stand-ins for the files of others.

The body is AnnyX in a file that looks as SMPL-X's does; encoders have random weights. At full
size weights have shapes and no values; at a small size a portrait becomes a picture. And the
configs on open components are of one size.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from official_baselines import Baseline
from torch import nn

from presence.bodies.loading import embedded_path
from presence.config import load_config
from presence.engine.settings import TrainSettings
from presence.models import AvatarModel
from presence.structures import Portrait, Rendering
from presence.testing.contracts.common import facing_camera, sample_people, sample_portrait

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "official"
OURS = ("name", "num_", "posedirs_are_", "expression_", "part_", "chart_", "face_", "mirror_")
# Config to (golden folder, released variant).
RELEASED = {
    "lhm_mini": ("lhm", "LHM-MINI"),
    "lhm_500m": ("lhm", "LHM-500M (also -HF)"),
    "lhm_500m_hf": ("lhm", "LHM-500M (also -HF)"),
    "lhm_1b": ("lhm", "LHM-1B (also -HF)"),
    "lam_20k": ("lam", "LAM-20K"),
    "idol": ("idol", "IDOL"),
    "guava": ("guava", "GUAVA"),
}
# Stored in released files, and of no use or constant: see docs/baselines.md.
UNUSED = (
    "pcl_embed.basis",
    "neck.decoder_pred.",
    "decoder.density_net.",
    "refinenet.0.resConfUnit1.",
)
HEAD = ["model.decoder.head_encoder.weights=random"]
TOKENS = ["model.decoder.width=32", "model.decoder.heads=2"]
LHM = [
    *HEAD,
    *TOKENS,
    "model.encoder.size=0.3b",
    "model.encoder.depth=1",
    "model.encoder.image_size=32",
    "model.encoder.dtype=float32",
    "model.decoder.head_encoder.size=s",
    "model.decoder.head_encoder.fused=[0]",
    "model.decoder.head_encoder.depth=1",
    "model.decoder.head_encoder.image_size=28",
    "model.decoder.head_size=28",
    "model.decoder.points=400",
    "model.decoder.layers=1",
    "model.decoder.hidden=16",
]
SMALL = {
    "lhm_mini": LHM,
    "lhm_500m": LHM,
    "lhm_500m_hf": LHM,
    "lhm_1b": LHM,
    "lam_20k": [
        *TOKENS,
        "model.encoder.size=s",
        "model.encoder.depth=1",
        "model.encoder.fused=[0]",
        "model.encoder.image_size=28",
        "model.decoder.layers=1",
        "model.decoder.hidden=16",
    ],
    "idol": [
        *TOKENS,
        "model.map_size=32",
        "model.encoder.size=0.3b",
        "model.encoder.depth=2",
        "model.encoder.states=[1,0]",
        "model.encoder.image_size=[32,48]",
        "model.encoder.dtype=float32",
        "model.decoder.layers=2",
        "model.decoder.blocks=2",
        "model.decoder.grid=4",
        "model.decoder.deconvolutions=[16]",
        "model.decoder.convolutions=[16]",
        "model.decoder.geometry=8",
        "model.decoder.texture=8",
    ],
    "guava": [
        "model.map_size=32",
        "model.encoder.size=s",
        "model.encoder.depth=5",
        "model.encoder.joined=[0,1,2,3,4]",
        "model.encoder.image_size=28",
        "model.encoder.dtype=float32",
        "model.decoder.image_size=32",
        "model.decoder.levels=[8,8,8,8]",
        "model.decoder.uv_channels=4",
        "model.decoder.uv_inpainted=8",
        "model.decoder.colors=5",
        "model.decoder.style=16",
        "model.decoder.scale=0.04",
        "model.decoder.width=16",
    ],
}


@pytest.fixture(scope="module")
def smplx_file(tmp_path_factory):
    """A file with what the user's SMPL-X has, and nothing that ours adds."""
    path = tmp_path_factory.mktemp("bodies") / "SMPLX_NEUTRAL.npz"
    with np.load(embedded_path()) as file:
        np.savez(path, **{k: v for k, v in file.items() if not k.startswith(OURS)})
    return path


@pytest.fixture(autouse=True)
def no_files_of_a_user(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))


def configured(name, smplx_file, overrides=()):
    given = [f"model.body.source={smplx_file}", "model.encoder.weights=random"]
    return load_config(CONFIGS / f"{name}.py", [*given, *overrides])


@pytest.fixture
def parameters_without_values(monkeypatch):
    """Parameters go to the meta device as they are made; buffers, and so geometry, are real."""
    register = nn.Module.register_parameter

    def to_meta(module, name, parameter):
        if parameter is not None:
            parameter = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", to_meta)


def test_every_config_is_tested():
    assert {p.stem for p in CONFIGS.glob("*.py")} == RELEASED.keys() == SMALL.keys()


@pytest.mark.parametrize("name", RELEASED)
def test_the_whole_model_takes_exactly_what_the_release_holds(
    name, smplx_file, parameters_without_values
):
    folder, variant = RELEASED[name]
    head = HEAD if folder == "lhm" else []
    config = configured(name, smplx_file, head)
    TrainSettings.from_config(config)
    model = AvatarModel.from_config(config.model)
    layout = model.decoder.official
    ours = {layout.name(k): list(v.shape) for k, v in model.state_dict().items()}
    theirs = Baseline(folder).variants[variant]["keys"]
    theirs = {k: v for k, v in theirs.items() if not any(part in k for part in UNUSED)}
    assert ours.keys() == theirs.keys()
    other = {k for k in ours if ours[k] != theirs[k]}
    if folder == "guava":  # learned features of 10,475 vertices and 120 of the teeth
        assert other == {"model.vertex_base_feature"}
        assert ours["model.vertex_base_feature"][0] == model.body.num_vertices + 120
        assert theirs["model.vertex_base_feature"][0] == 10_475 + 120
    else:
        assert not other


@pytest.mark.parametrize("name", SMALL)
def test_a_portrait_becomes_a_picture_at_a_small_size(name, smplx_file):
    torch.manual_seed(0)
    config = configured(name, smplx_file, [*SMALL[name], "model.reconstruction.lpips=0.0"])
    model = AvatarModel.from_config(config.model).eval()
    people, camera = sample_people(model.body, 2), facing_camera(model.body, 2, 40)
    portrait, white = sample_portrait(2, 40), torch.ones(2, 3)
    with torch.no_grad():
        avatar = model.reconstruct(portrait, people, camera)
        drawn = model.animate(avatar, people, camera, white)
    assert drawn.rgb.shape == (2, 3, 40, 40) and drawn.rgb.isfinite().all()
    assert drawn.alpha.amax() > 0.05 and (drawn.rgb - 1).abs().amax() > 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Of colours in -1..1 and of (rgb, alpha) that are off by (0.1, 0.2) everywhere.
        ("idol", {"l2": 20 * 0.2**2}),
        ("lam_20k", {"l2": 0.1**2, "mask": 0.2}),
        ("guava", {"l1": 0.1}),
        ("lhm_500m", {"l1": 0.1, "mask": 0.2}),
    ],
)
def test_colours_and_masks_are_weighed_as_released(name, expected, smplx_file):
    from presence.registry import LOSSES

    config = configured(name, smplx_file).model.reconstruction
    loss = LOSSES.build({**config, "lpips": 0.0})
    ones = torch.ones(1, 1, 4, 4)
    true = Portrait(ones.expand(-1, 3, -1, -1) * 0.5, ones)
    drawn = Rendering(true.rgb + 0.1, ones - 0.2, ones)
    terms = loss(drawn, true, torch.ones(1, 3))
    assert {k: float(v) for k, v in terms.items()} == pytest.approx(expected, rel=1e-4)


# Millions of parameters, encoder included: as docs/baselines.md and docs/benchmarks.md print them.
SIZES = {
    "dualuv_halfbody": 19.6,
    "lhm_halfbody": 23.0,
    "lhm_hf_halfbody": 23.0,
    "lam_head": 21.3,
    "idol_halfbody": 21.9,
    "guava_halfbody": 23.8,
}


@pytest.mark.parametrize("name", SIZES)
def test_open_configs_are_of_comparable_size(name):
    config = load_config(CONFIGS.parent / f"{name}.py")
    TrainSettings.from_config(config)
    model = AvatarModel.from_config(config.model)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(millions, 1) == SIZES[name]
    assert 19.5 < millions < 25
