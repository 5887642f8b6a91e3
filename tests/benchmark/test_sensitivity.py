"""Framings are the same person through other windows; movement tells who depends on them."""

from __future__ import annotations

import types

import pytest
import torch

from presence.benchmark import sensitivity
from presence.benchmark.sensitivity import (
    TRANSFORMS,
    Sensitivity,
    canonical_view,
    framings,
    measure_sensitivity,
)
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    Portrait,
    Rendering,
    SurfaceBinding,
    TrainSample,
    View,
)
from presence.testing.toy_bodies import SphereBody

SIZE = 64


class Person(SphereBody):
    """A sphere whose head joint is above its pelvis."""

    def forward(self, params):
        mesh = super().forward(params)
        lift = torch.zeros(55, 3)
        lift[15, 1] = 0.4
        return mesh.replace(joints=mesh.joints + lift)


def _sample(shift=0.0, color=0.5):
    """A picture whose red and green are the pixel's place, so that a window shows itself."""
    places = (torch.arange(2 * SIZE) + 0.5) / (2 * SIZE)
    rgb = torch.stack([places.expand(2 * SIZE, -1), places[:, None].expand(-1, 2 * SIZE),
                       torch.full((2 * SIZE, 2 * SIZE), color)])  # fmt: skip
    eye, target = torch.tensor([0.0, 0.0, 6.0]), torch.tensor([shift, 0.0, 0.0])
    camera = Camera.look_at(eye, target, 0.4, 2 * SIZE, 2 * SIZE)
    body = BodyParams(torch.zeros(4), torch.zeros(3), torch.zeros(55, 3), torch.zeros(3))
    view = View(Portrait(rgb, torch.ones_like(rgb[:1])), body, camera)
    return TrainSample(view, view, torch.tensor(0))


class People:
    def __init__(self, colors):
        self.samples = [_sample(color=color) for color in colors]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


@pytest.mark.parametrize("name", ["base", *TRANSFORMS])
def test_camera_and_picture_of_a_framing_agree(name):
    sample = _sample(shift=0.1).unsqueeze()
    body = Person()
    view = dict(framings(sample, body, SIZE))[name]
    points = body(sample.reference.body).vertices
    now, _ = view.camera.project(points)
    before, _ = sample.reference.camera.project(points)

    inside = ((now > 1) & (now < SIZE - 1)).all(-1)[0]
    assert inside.sum() > 50
    grid = (2 * now[:, inside] / SIZE - 1)[:, None]
    shown = torch.nn.functional.grid_sample(view.portrait.rgb, grid, align_corners=False)
    expected = before[:, inside].transpose(1, 2) / (2 * SIZE)
    assert torch.allclose(shown[:, :2, 0], expected, atol=0.01)


def test_transformations_shift_scale_and_crop():
    views = dict(framings(_sample().unsqueeze(), Person(), SIZE))
    focal = {name: float(view.camera.K[0, 0, 0]) for name, view in views.items()}
    middle = {name: float(view.camera.K[0, 0, 2]) for name, view in views.items()}

    assert focal["scale in"] == pytest.approx(focal["base"] / 0.75)
    assert focal["crop"] == pytest.approx(focal["base"] / 0.6)
    assert middle["shift right"] == pytest.approx(middle["base"] - 0.15 * SIZE, abs=1e-3)
    assert middle["scale out"] == pytest.approx(middle["base"], abs=1e-3)


class Painter:
    """A model of one Gaussian: its colour is what `read` makes of the portrait."""

    def __init__(self, read):
        self.read, self.body = read, Person()

    def reconstruct(self, portrait, body, camera):
        color = self.read(portrait)[:, None]
        one = torch.ones_like(color[..., 0])
        turn = torch.tensor([1.0, 0, 0, 0]).expand(*one.shape, 4)
        gaussians = Gaussians(color * 0, turn, color * 0 + 0.01, one, color)
        corners = torch.zeros(1, 3, dtype=torch.long)
        binding = SurfaceBinding(corners, torch.ones(1, 3) / 3, torch.zeros(1, 2))
        return Avatar(gaussians, body, camera, binding)

    def animate(self, avatar, body, camera, background):
        pixels = torch.ones(len(avatar.canonical.colors), 1, camera.height, camera.width)
        return Rendering(avatar.canonical.colors[:, 0, :, None, None] * pixels, pixels, pixels)


def _measure(monkeypatch, read, colors=(0.2, 0.6, 0.8)):
    monkeypatch.setattr(sensitivity, "get_lpips", lambda *a: (None, "not here"))
    build = types.SimpleNamespace(build=lambda *a, **k: People(colors))
    monkeypatch.setattr(sensitivity, "DATASETS", build)
    options = Sensitivity(data={}, subjects=3, size=SIZE)
    return measure_sensitivity(
        Painter(read), options, device=torch.device("cpu"), precision="fp32", batch_size=2
    )


def test_a_model_that_ignores_its_input_does_not_move(monkeypatch):
    found = _measure(monkeypatch, lambda portrait: torch.full((len(portrait.rgb), 3), 0.3))
    assert found["mean"]["rms"] == 0 and found["between"] == 0
    assert found["mean"]["psnr"] is None and found["missing"] == "not here"


def test_a_model_that_reads_the_person_alone_does_not_move(monkeypatch):
    found = _measure(monkeypatch, lambda p: p.rgb[:, 2:].mean((-2, -1)).expand(-1, 3))
    assert found["mean"]["rms"] < 1e-5
    # people differ by 0.4 and 0.2
    assert found["between"] == pytest.approx(0.3, abs=1e-4)


def test_a_model_that_reads_the_place_moves_with_it(monkeypatch):
    found = _measure(monkeypatch, lambda portrait: portrait.rgb.mean((-2, -1)))
    side = 1.35 * _head_to_pelvis() / (2 * SIZE)
    # Shifting by 15% of the window's side moves the mean of red by as much, of three channels.
    assert found["moves"]["shift right"]["rms"] == pytest.approx(0.15 * side / 3**0.5, rel=0.03)
    assert found["moves"]["shift up"]["color"] == pytest.approx(0.1 * side / 3**0.5, rel=0.03)
    shifts = [found["moves"][n]["rms"] for n in TRANSFORMS if n.startswith("shift")]
    assert found["kinds"]["shift"]["rms"] == pytest.approx(sum(shifts) / 4)
    assert found["moves"]["pose"]["rms"] < 1e-5


def _head_to_pelvis():
    sample, body = _sample(), Person()
    mesh = body(sample.reference.body)
    px, _ = sample.reference.camera.project(mesh.vertices)
    joint, _ = sample.reference.camera.project(mesh.joints[:1])
    return float(joint[0, 1] - px[:, 1].min())


def test_the_canonical_view_shows_head_and_chest():
    from presence.bodies import load_body

    body = load_body("annyx")
    mesh = body(body.default_params())
    px, depth = canonical_view(body, 100).project(mesh.vertices)
    head = px[body.vertex_parts["head"]]
    assert (head > 2).all() and (head < 98).all() and (depth > 0).all()
    pelvis, _ = canonical_view(body, 100).project(mesh.joints[:1])
    assert pelvis[0, 1] > 100
