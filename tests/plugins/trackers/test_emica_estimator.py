"""The EMICA adapter: its contract, its crops, and known heads projected into the picture."""

from __future__ import annotations

import pytest
import torch

from presence.errors import AssetError
from presence.estimation.faces import to_68
from presence.estimation.networks.emica import EmicaOutput
from presence.estimation.weak_perspective import picture_camera
from presence.geometry import axis_angle_to_matrix
from presence.registry import ESTIMATORS
from presence.structures import Cues, PartEstimate, Portrait
from presence.testing.contracts import check_estimator
from presence_plugins.trackers.emica import EmicaEstimator, crops_of, estimate_of, square_box

SIZE = (200, 240)  # rows, columns
SURE = PartEstimate(1.0, True, "emica", "drawn")


def _face(generator=None):
    """478 made-up landmarks around (120, 90)."""
    generator = generator or torch.Generator().manual_seed(1)
    points = torch.rand(478, 2, generator=generator) * torch.tensor([60.0, 80])
    return torch.cat([points + torch.tensor([90.0, 50]), torch.full((478, 1), 0.8)], -1)


@pytest.fixture(scope="module")
def estimator():
    return ESTIMATORS.build(dict(type="EmicaEstimator", weights="random"))


def test_the_contract_of_estimators(estimator):
    rgb = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    portrait = Portrait(rgb, torch.ones(1, *SIZE))
    cues = Cues(keypoints={"face": _face()})
    check_estimator(estimator, portrait, cues)
    (estimate,) = estimator(portrait, cues)
    part = estimate.parts["face"]
    assert part.valid and part.confidence == pytest.approx(0.8)
    outside = _face() + torch.tensor([200.0, 0, 0])
    (estimate,) = estimator(portrait, Cues(keypoints={"face": outside}))
    assert not estimate.parts["face"].valid and estimate.parts["face"].confidence == 0


def test_the_network_sees_the_face_where_the_landmarks_are(estimator, monkeypatch):
    seen = {}

    def network(crops, aligned):
        seen.update(crops=crops, aligned=aligned)
        return EmicaOutput(*(torch.zeros(1, n) for n in (300, 100, 3, 3, 3, 50, 27)))

    monkeypatch.setattr(estimator, "network", network)
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(240) + 0.5, indexing="ij")
    rgb = torch.stack([x / 240, y / 240, torch.zeros_like(x)])
    face = _face()
    estimator(Portrait(rgb, torch.ones(1, *SIZE)), Cues(keypoints={"face": face}))
    assert seen["crops"].shape == (1, 3, 224, 224) and seen["aligned"].shape == (1, 3, 112, 112)
    left, top, right, bottom = square_box(to_68(face)[:, :2])
    middle = seen["crops"][0, :2, 111:113, 111:113].mean((1, 2)) * 240
    torch.testing.assert_close(middle, torch.stack([left + right, top + bottom]) / 2)
    first = seen["crops"][0, :2, 0, 0] * 240  # centre of the corner pixel
    pixel = (right - left) / 224
    torch.testing.assert_close(first, torch.stack([left, top]) + pixel / 2, rtol=0, atol=1e-3)
    assert seen["crops"][0, 2].abs().max() == 0
    assert (seen["aligned"][0, 2] + 1).abs().max() == 0  # black is -1 for ArcFace


@pytest.mark.parametrize("fov", [20.0, 0.02])
def test_a_known_head_projects_as_the_network_means_it(fov):
    generator = torch.Generator().manual_seed(6)
    points = 0.1 * torch.randn(50, 3, generator=generator) + torch.tensor([0, 0.2, 0.05])
    root = torch.tensor([0.01, 0.1, -0.02])  # FLAME's root joint is not in its origin
    turn, camera = torch.tensor([0.2, 0.5, -0.1]), torch.tensor([6.0, 0.02, -0.15])
    output = EmicaOutput(
        shape=torch.zeros(1, 300),
        expression=torch.zeros(1, 100),
        head=turn[None],
        jaw=torch.tensor([[0.3, 0, 0]]),
        camera=camera[None],
        texture=torch.zeros(1, 50),
        light=torch.zeros(1, 27),
    )
    box = torch.tensor([50.0, 20, 170, 140])
    estimate = estimate_of(output, box, picture_camera(240, 200, fov=fov), SURE)
    # What the network was trained on: turned about the root, scaled, y negated, -1..1 of the crop.
    posed = (points - root) @ axis_angle_to_matrix(turn).T + root
    ndc = camera[0] * (posed[:, :2] + camera[1:]) * torch.tensor([1.0, -1])
    expected = box[:2] + (ndc + 1) / 2 * 120
    model = estimate.models["face"]
    seen = model.place(points, root)
    assert torch.equal(model.K, estimate.camera.K)
    px, depth = estimate.camera.project(seen)
    # Nearer to the camera is larger z for FLAME, and smaller depth.
    torch.testing.assert_close(depth - model.translation[2], -posed[:, 2], rtol=0, atol=2e-3)
    if fov < 1:  # perspective has vanished
        torch.testing.assert_close(px, expected, rtol=0, atol=0.1)
    else:
        centre = estimate.camera.K[:2, 2]
        flat = centre + (px - centre) * (depth / model.translation[2])[:, None]
        torch.testing.assert_close(flat, expected, rtol=0, atol=0.01)
    torch.testing.assert_close(estimate.body.pose[22], torch.tensor([0.3, 0, 0]))
    torch.testing.assert_close(model.joints[1], axis_angle_to_matrix(torch.tensor([0.3, 0, 0])))


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    with pytest.raises(AssetError, match="EMICA.*no redistribution.*track_resources.tar"):
        EmicaEstimator()


def test_crops_keep_the_values_of_their_networks():
    square, aligned = crops_of(torch.ones(3, 200, 240), to_68(_face())[:, :2])
    assert square[:, 112, 112].tolist() == [1, 1, 1]
    assert aligned.max() == 1 and aligned.min() >= -1
