"""IDOL and GUAVA as configs name them, shrunk: a model is built, trained a little and drawn."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import pytest
import torch

from presence.config import load_config
from presence.models import AvatarModel
from presence.models.official import load_official
from presence.registry import BODIES
from presence.structures import Camera, Portrait, TrainSample, View
from presence.testing.toy_bodies import SphereBody

if "SphereBody" not in BODIES.module_dict:
    BODIES.register()(SphereBody)

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SMALL = {
    "idol": [
        "model.decoder.grid=8",
        "model.decoder.width=32",
        "model.decoder.blocks=2",
        "model.decoder.heads=2",
        "model.decoder.deconvolutions=[16,16]",
        "model.decoder.convolutions=[16]",
        "model.decoder.geometry=16",
        "model.decoder.texture=16",
    ],
    "guava": [
        "model.decoder.image_size=32",
        "model.decoder.levels=[8,8,8,8]",
        "model.decoder.uv_channels=4",
        "model.decoder.vertex_channels=8",
        "model.decoder.vertex_learned=8",
        "model.decoder.vertex_global=8",
        "model.decoder.uv_inpainted=8",
        "model.decoder.uv_learned=4",
        "model.decoder.colors=5",
        "model.decoder.style=16",
        "model.decoder.scale=0.04",
        "model.decoder.width=16",
    ],
}


def build(name):
    encoder = ("widths=[8,16,32]", "conv_blocks=[1,1]", "attention_blocks=1", "heads=2")
    config = load_config(
        CONFIGS / f"{name}_halfbody.py",
        [
            "model.map_size=32",
            "model.reconstruction.lpips=0.0",
            "model.encoder.out_channels=12",
            *(f"model.encoder.{option}" for option in encoder),
            *SMALL[name],
        ],
    )
    torch.manual_seed(0)
    return AvatarModel.from_config({**config.model, "body": dict(type="SphereBody")})


def view(body, yaw=0.0, size=40):
    eye = 4.0 * torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    camera = Camera.look_at(eye, torch.zeros(3), math.radians(20), size, size)
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    inside = ((xs - size / 2) ** 2 + (ys - size / 2) ** 2).sqrt() < size * 0.355
    rgb = torch.stack([xs / size, ys / size, 0.5 * torch.ones_like(xs)])
    portrait = Portrait(rgb, inside[None].float())
    return View(portrait, body.default_params(), camera).unsqueeze()


def sample(body):
    from presence.structures import cat

    one = TrainSample(view(body), view(body, 0.6), torch.zeros(1, dtype=torch.long))
    two = TrainSample(view(body, 0.2), view(body, -0.4), torch.ones(1, dtype=torch.long))
    return cat([one, two])


@pytest.mark.parametrize("name", ["idol", "guava"])
def test_a_few_steps_reach_every_weight_and_lower_the_loss(name):
    model = build(name)
    data = sample(model.body)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        torch.manual_seed(0)  # the same background
        terms = model(data)
        total = sum(terms.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert losses[-1] < 0.7 * losses[0], losses
    raw = {term for term in terms if "_raw_" in term}
    assert bool(raw) == (name == "guava")  # the refiner does not leave the raw picture alone


@pytest.mark.parametrize("name", ["idol", "guava"])
def test_bfloat16_training_is_finite_and_one_portrait_equals_a_batch(name):
    model = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        terms = model(sample(model.body))
    total = sum(terms.values())
    total.backward()
    assert total.isfinite() and total.dtype == torch.float32
    model.eval()
    v = view(model.body)
    with torch.no_grad():
        many = model.reconstruct(v.portrait, v.body, v.camera)
        one = model.reconstruct(v.portrait[0], v.body[0], v.camera[0])
        drawn = model.animate(one, v.body[0], v.camera[0], torch.ones(3))
        batch = model.animate(many, v.body, v.camera, torch.ones(3))
    torch.testing.assert_close(one.canonical.means, many.canonical.means[0])
    assert drawn.rgb.shape == (3, 40, 40)
    torch.testing.assert_close(drawn.rgb, batch.rgb[0], atol=1e-5, rtol=1e-5)


def official(name):
    return load_config(CONFIGS / "official" / f"{name}.py", [])


def test_configs_of_the_released_size_fit_together():
    from presence.engine.settings import TrainSettings
    from presence_plugins.decoders.guava import GUAVADecoder
    from presence_plugins.decoders.idol import IDOLDecoder
    from presence_plugins.decoders.idol_network import hidden_states
    from presence_plugins.encoders import dinov2, sapiens

    def channels(decoder):
        return inspect.signature(decoder).parameters["in_channels"].default

    idol, guava = official("idol"), official("guava")
    for config in (idol, guava):
        TrainSettings.from_config(config)
    states = list(idol.model.encoder["states"])
    width, depth, _ = sapiens.SIZES[idol.model.encoder["size"]]
    assert states == hidden_states(16, depth)
    assert channels(IDOLDecoder) == width * len(states)
    width, depth, _ = dinov2.SIZES[guava.model.encoder["size"]]
    assert list(guava.model.encoder["joined"]) == list(range(depth - 5, depth))
    assert channels(GUAVADecoder) == width * 5


def test_a_released_file_fills_a_whole_model_with_a_frozen_encoder(tmp_path):
    def model(seed):
        encoder = dict(
            type="SapiensEncoder",
            size="0.3b",
            depth=1,
            states=(1, 0),
            image_size=32,
            weights="random",
            dtype="float32",
        )
        torch.manual_seed(seed)
        overrides = [*SMALL["idol"], "model.decoder.layers=2", "model.map_size=32"]
        config = load_config(CONFIGS / "idol_halfbody.py", overrides).model
        config = {**config, "body": dict(type="SphereBody"), "encoder": encoder}
        config["reconstruction"] = dict(type="ReconstructionLoss", lpips=0.0)
        return AvatarModel.from_config(config)

    source, target = model(0), model(1)
    layout = target.decoder.official
    file = {layout.name(k): v for k, v in source.state_dict().items()}
    assert all(k.startswith(("neck.", "decoder.")) for k in file)
    torch.save({"state_dict": file | {"lpips.net.w": torch.ones(1)}}, tmp_path / "model.ckpt")
    load_official(target, tmp_path / "model.ckpt")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
