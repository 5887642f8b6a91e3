"""The sum that is minimised (paper Eq. 5-15), against numpy written out from the paper."""

import math

import numpy as np
import pytest
import torch

import presence.evaluation.lpips_net as lpips_net
from presence.models import AvatarModel
from presence.registry import BODIES
from presence.structures import Camera, Portrait, TrainSample, View
from presence.testing.toy_bodies import SphereBody

if "SphereBody" not in BODIES.module_dict:
    BODIES.register()(SphereBody)

SIZE, PATCHES = 32, 8
WEIGHTS = dict(l1=1.5, lpips=0.7, offset=2.0, scale=3.0, isotropy=0.1, hand=0.3, opacity=0.4)
LIMIT, RATIO, TARGET = 0.05, 2.0, 0.8


def config():
    w = WEIGHTS
    return dict(
        body=dict(type="SphereBody"),
        map_size=32,
        rasterizer=dict(type="AutoRasterizer"),
        encoder=dict(
            type="CompactEncoder", widths=(8, 8, 16), conv_blocks=(1, 1), attention_blocks=1,
            heads=2, out_channels=8,
        ),
        projector=dict(type="DualUVProjector", core_size=8, shell_size=4),
        decoder=dict(
            type="DualUVDecoder", core_size=8, shell_size=4, width=32, heads=2, blocks=1, hidden=16
        ),
        renderer=dict(type="CPURenderer"),
        reconstruction=dict(type="ReconstructionLoss", l1=w["l1"], lpips=w["lpips"], mask=0.0),
        regularizers=[
            dict(type="OffsetLoss", weight=w["offset"]),
            dict(type="ScaleLoss", weight=w["scale"], limit=LIMIT),
            dict(type="IsotropyLoss", weight=w["isotropy"], ratio=RATIO),
            dict(type="HandConsistencyLoss", weight=w["hand"], patches=PATCHES),
            dict(type="OpacityLoss", weight=w["opacity"], target=TARGET, patches=PATCHES),
        ],
    )  # fmt: skip


def view(body, yaw):
    eye = 4.0 * torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    camera = Camera.look_at(eye, torch.zeros(3), math.radians(22), SIZE, SIZE)
    generator = torch.Generator().manual_seed(int(yaw * 10))
    rgb = torch.rand(3, SIZE, SIZE, generator=generator)
    alpha = torch.rand(1, SIZE, SIZE, generator=generator)
    return View(Portrait(rgb, alpha), body.default_params(), camera).unsqueeze()


def distance(first, second):
    """Stands in for LPIPS: any function of two pictures in -1..1 shows how it is called."""
    assert -1 <= first.min() < -0.2 and 0.2 < first.max() <= 1.001
    return (first - second).square().mean((1, 2, 3), keepdim=True)


@pytest.fixture
def scene(monkeypatch):
    monkeypatch.setattr(lpips_net, "get_lpips", lambda **_: (distance, ""))
    torch.manual_seed(0)
    model = AvatarModel.from_config(config()).eval()
    for parameter in model.decoder.heads.parameters():  # away from the tame start
        parameter.data += 0.3 * torch.randn_like(parameter)
    sample = TrainSample(view(model.body, 0.0), view(model.body, 0.5), torch.zeros(1).long())
    return model, sample


def array(value):
    return value.detach().numpy().astype(np.float64)


def reconstruction(model, avatar, seen, background):
    """Eq. 6 for one view: lambda_1 |I - I'|_1 + lambda_lpips LPIPS(I, I')."""
    drawn = array(model.animate(avatar, seen.body, seen.camera, background).rgb)
    rgb, alpha = array(seen.portrait.rgb), array(seen.portrait.alpha)
    truth = alpha * rgb + (1 - alpha) * array(background)[:, :, None, None]
    l1 = np.abs(drawn - truth).mean()
    perceptual = ((2 * drawn - 2 * truth) ** 2).mean()
    return WEIGHTS["l1"] * l1 + WEIGHTS["lpips"] * perceptual


def geometry(avatar):
    """Eq. 8-11: offsets, largest axes above a limit, axis ratios above r."""
    offsets, scales = array(avatar.canonical.means), array(avatar.canonical.scales)
    longest, shortest = scales.max(-1), scales.min(-1)
    return (
        WEIGHTS["offset"] * (offsets**2).sum(-1).mean()
        + WEIGHTS["scale"] * np.maximum(0, longest - LIMIT).mean()
        + WEIGHTS["isotropy"] * np.maximum(0, longest / shortest - RATIO).mean()
    )


def texture(model, avatar):
    """Eq. 12-14: hands like the nearest face patch, mean opacity of patches near 0.8."""
    surface = model.projector.surface
    side = surface.size // PATCHES
    row, column = np.divmod(surface.texels.numpy(), surface.size)
    patch = (row // side) * PATCHES + column // side
    parts = {}
    for name in ("face", "hand"):
        members = np.zeros(model.body.topology.num_vertices)
        for part in ("face",) if name == "face" else ("left_hand", "right_hand"):
            members[model.body.vertex_parts[part].numpy()] = 1
        parts[name] = members[surface.vertex_ids.numpy()].mean(1) > 0.5
    colour, opacity = array(avatar.canonical.colors)[0], array(avatar.canonical.opacities)[0]
    statistics, shares, opacities = {}, {"face": {}, "hand": {}}, []
    for k in np.unique(patch):
        inside = patch == k
        std = np.sqrt(np.maximum(colour[inside].var(0), 1e-6))
        statistics[k] = np.concatenate([colour[inside].mean(0), std])
        opacities.append((opacity[inside].mean() - TARGET) ** 2)
        for name in parts:
            shares[name][k] = parts[name][inside].mean()
    faces = [statistics[k] for k in statistics if shares["face"][k] > 0.5]
    hands = [statistics[k] for k in statistics if shares["hand"][k] > 0.5]
    assert faces and hands
    nearest = [min(((hand - face) ** 2).sum() for face in faces) for hand in hands]
    return WEIGHTS["hand"] * np.mean(nearest) + WEIGHTS["opacity"] * np.mean(opacities)


def test_the_sum_is_reconstruction_of_both_views_and_both_regularizations(scene):
    """Eq. 5 = Eq. 7 + Eq. 15, where Eq. 7 sums Eq. 6 over the views, Eq. 15 is Eq. 11 + Eq. 14."""
    model, sample = scene
    reference = sample.reference
    torch.manual_seed(5)
    with torch.no_grad():
        terms = model.loss(sample)
        torch.manual_seed(5)
        background = torch.rand(1, 3)  # what the loss draws
        avatar = model.reconstruct(reference.portrait, reference.body, reference.camera)
    both = [reconstruction(model, avatar, seen, background) for seen in (reference, sample.target)]
    got = {name: value.item() for name, value in terms.items() if name.startswith("loss_")}
    images = sum(v for k, v in got.items() if k.startswith(("loss_reference", "loss_target")))
    assert images == pytest.approx(sum(both), rel=1e-4)
    geometric = got["loss_offset"] + got["loss_scale"] + got["loss_isotropy"]
    assert geometric == pytest.approx(geometry(avatar), rel=1e-4)
    assert min(got["loss_scale"], got["loss_isotropy"]) > 0
    textured = got["loss_hand"] + got["loss_opacity"]
    assert textured == pytest.approx(texture(model, avatar), rel=1e-3)
    whole = sum(both) + geometry(avatar) + texture(model, avatar)
    assert sum(got.values()) == pytest.approx(whole, rel=1e-4)


def test_the_trainer_minimises_that_sum(scene):
    from presence.engine.loops import total_loss

    model, sample = scene
    terms = model.loss(sample)
    expected = sum(value for name, value in terms.items() if name.startswith("loss_"))
    got = total_loss(terms)
    got = got[0] if isinstance(got, tuple) else got
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_reference_alone_decides_the_avatar(scene):
    """Canonical Gaussians come from the reference; the target only supervises (A.2)."""
    model, sample = scene
    torch.manual_seed(5)
    terms = model.loss(sample)
    other = sample.replace(target=view(model.body, 1.0))
    torch.manual_seed(5)
    changed = model.loss(other)
    for name in terms:
        same = torch.equal(terms[name], changed[name])
        assert same == ("target" not in name), name
