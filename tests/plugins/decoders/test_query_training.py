"""Query decoders as whole models: they train, their configs build, and released files convert."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from presence.config import load_config
from presence.engine.checkpoint import load_model, load_weights, read_weights
from presence.engine.hooks import StepHook
from presence.engine.settings import TrainSettings
from presence.errors import ConfigError
from presence.models import AvatarModel
from presence.models.official import OfficialLayout, import_weights, load_official
from presence.registry import DATASETS, DECODERS
from presence.structures import stack
from presence_plugins.decoders import lam, lhm

ROOT = Path(__file__).resolve().parents[3]
COMPACT = dict(
    type="CompactEncoder",
    widths=(8, 16, 16),
    conv_blocks=(1, 1),
    attention_blocks=1,
    heads=2,
    out_channels=16,
)
DECODER = {
    "LHMDecoder": dict(head_encoder=COMPACT, points=1200, head_size=32, scale_steps=(0, 1)),
    "LAMDecoder": dict(parts=("neck", "left_eye", "right_eye")),
}


def config(name):
    sizes = dict(width=32, layers=2, heads=2, hidden=32)
    return dict(
        body=dict(type="SMPLXBody", source="annyx"),
        map_size=16,
        rasterizer=dict(type="CPURasterizer"),
        encoder=COMPACT,
        projector=None,
        decoder=dict(type=name, **sizes, **DECODER[name]),
        renderer=dict(type="CPURenderer"),
        reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
        regularizers=[dict(type="OffsetHingeLoss"), dict(type="IsotropyLoss", weight=0.001)],
    )


@pytest.fixture(scope="module")
def people():
    data = DATASETS.build(
        dict(type="ProceduralPeopleDataset", size=48, supersample=1, framings=dict(head=1.0))
    )
    return stack([data[0], data[1]])


@pytest.mark.parametrize("name", DECODER)
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(name, people):
    torch.manual_seed(0)
    model = AvatarModel.from_config(config(name))
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), lr=1e-2)
    losses, moved = [], set()
    for _ in range(12):
        torch.manual_seed(1)  # the same background and masks every time
        loss = sum(v for k, v in model.loss(people).items() if k.startswith("loss_"))
        optimizer.zero_grad()
        loss.backward()
        moved |= {n for n, p in trained.items() if p.grad.abs().max() > 0}
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.98 * losses[0], losses
    # What starts at zero delays the rest; in the end all of it learns.
    assert set(trained) == moved


@pytest.mark.parametrize("name", DECODER)
def test_autocast_keeps_geometry_in_float32(name, people):
    """Under bf16 the network rounds; points, scales and colours stay float32 and close."""
    torch.manual_seed(0)
    model = AvatarModel.from_config(config(name)).eval()
    view = people.reference
    with torch.no_grad():
        exact = model.reconstruct(view.portrait, view.body, view.camera).canonical
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model.reconstruct(view.portrait, view.body, view.camera).canonical
    for field in ("means", "quaternions", "scales", "opacities", "colors"):
        value = getattr(rounded, field)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, getattr(exact, field), atol=0.02, rtol=0.02)


def test_what_is_only_stored_for_released_files_is_not_trained():
    """The last layer drops its context, so the context's queries have no effect."""
    model = AvatarModel.from_config(config("LAMDecoder"))
    still = {n for n, p in model.named_parameters() if not p.requires_grad}
    last = "decoder.transformer.layers.1.attention.context_"
    assert still == {f"{last}q.weight", f"{last}q.bias", f"{last}norm_q.weight"}


def test_training_steps_are_heard_by_the_scale_schedule():
    model = AvatarModel.from_config(config("LHMDecoder"))
    model.decoder.scale_steps = (100, 3000)

    class Runner:
        pass

    runner = Runner()
    runner.model = model
    assert model.train().decoder.scale_limit() == 0.05
    StepHook().before_train_iter(runner, 1550)
    assert model.decoder.scale_limit() == pytest.approx(0.03)
    assert model.eval().decoder.scale_limit() == 0.05


@pytest.mark.parametrize(
    ("path", "decoder", "millions"),
    [
        ("lhm_halfbody", "LHMDecoder", (20, 25)),
        ("lhm_hf_halfbody", "LHMDecoder", (20, 25)),
        ("lam_head", "LAMDecoder", (20, 25)),
        ("official/lhm_mini", "LHMDecoder", None),
        ("official/lhm_500m", "LHMDecoder", None),
        ("official/lhm_500m_hf", "LHMDecoder", None),
        ("official/lhm_1b", "LHMDecoder", None),
        ("official/lam_20k", "LAMDecoder", None),
    ],
)
def test_configs_build(path, decoder, millions):
    cfg = load_config(ROOT / "configs" / f"{path}.py")
    TrainSettings.from_config(cfg)
    assert cfg.model.decoder.type == decoder
    if millions is None:  # the user's files are not here; options must still be known ones
        cls = DECODERS.lookup(decoder)
        assert set(cfg.model.decoder) - {"type"} <= set(inspect.signature(cls).parameters)
        return
    model = AvatarModel.from_config(cfg.model)
    low, high = millions
    assert low < sum(p.numel() for p in model.parameters()) / 1e6 < high
    source = DATASETS.build(cfg.data.train)
    assert type(source).__name__ == (
        "BodyCropsDataset" if "_hf_" in path else "ProceduralPeopleDataset"
    )


def test_a_released_file_becomes_weights_of_ours(tmp_path):
    torch.manual_seed(0)
    cfg = dict(model=config("LAMDecoder"))
    model = AvatarModel.from_config(cfg["model"])
    file = {lam.official_name(k): v.clone() for k, v in model.state_dict().items()}
    file["renderer.flame_model.v_template"] = torch.zeros(3)
    save_file(file, tmp_path / "model.safetensors")
    out = import_weights(
        cfg, tmp_path / "model.safetensors", tmp_path / "weights.safetensors", torch.float32
    )
    again = load_model(out)  # the config travels in the file
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert read_weights(out)[1]["imported_from"] == "model.safetensors"
    load_weights(model, read_weights(out)[0])


def test_decoders_without_official_weights_say_so(tmp_path):
    class Plain(torch.nn.Module):
        decoder = torch.nn.Identity()

    with pytest.raises(ConfigError, match="Identity has no official weights"):
        load_official(Plain(), tmp_path / "x.safetensors")
    assert isinstance(lhm.LHMDecoder.official, OfficialLayout)
