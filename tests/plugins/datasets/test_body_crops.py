"""Body crops move picture and camera alike, and keep the head."""

from __future__ import annotations

import pytest
import torch

from presence.bodies import load_body
from presence.interfaces import SampleSource
from presence.structures import Camera, Portrait, TrainSample, View
from presence_plugins.datasets.body_crops import BodyCropsDataset

SIZE = 64


class Poles(SampleSource):
    """People that are their own projection: a vertical pole with a coloured ramp."""

    def __init__(self):
        self.body = load_body("annyx").default_params()

    def __len__(self):
        return 40

    def __getitem__(self, index):
        rows = torch.arange(SIZE) + 0.5
        alpha = torch.zeros(1, SIZE, SIZE)
        alpha[:, 6:60, 26 + index % 7 : 36 + index % 7] = 1
        ramp = torch.stack(torch.broadcast_tensors(rows[:, None], rows[None], rows[None])) / SIZE
        eye = torch.tensor([0.0, 0.0, 3.0])
        view = View(Portrait(ramp, alpha), self.body, Camera.look_at(eye, 0 * eye, 0.5, SIZE, SIZE))
        return TrainSample(view, view, torch.tensor(index))


@pytest.mark.parametrize("index", range(0, 12, 3))
def test_a_point_is_where_its_colour_is(index):
    """The ramp's colours are pixel coordinates: they must follow the camera's projection."""
    plain = Poles()[index]
    sample = BodyCropsDataset(Poles(), probability=1.0)[index]
    point = torch.tensor([[0.02, 0.3, 0.0]])
    before, _ = plain.reference.camera.project(point)
    after, _ = sample.reference.camera.project(point)
    column, row = after[0].long().tolist()
    assert 0 <= column < SIZE and 0 <= row < SIZE
    found = sample.reference.portrait.rgb[:2, row, column] * SIZE  # row, column before
    torch.testing.assert_close(found.flip(0), before[0], atol=0.6, rtol=0)
    assert torch.equal(sample.target.portrait.rgb, plain.target.portrait.rgb)


def test_shares_and_probability_are_kept():
    whole = BodyCropsDataset(Poles(), probability=0.0)[3].reference
    assert torch.equal(whole.portrait.rgb, Poles()[3].reference.portrait.rgb)
    torch.testing.assert_close(whole.camera.K, Poles()[3].reference.camera.K)
    crops = BodyCropsDataset(Poles(), probability=1.0, share=(0.5, 0.5))
    focal = Poles()[0].reference.camera.K[0, 0]
    for index in range(5):
        zoom = crops[index].reference.camera.K[0, 0] / focal
        assert zoom == pytest.approx(SIZE / (1.15 * 0.5 * 54), rel=1e-4)
    half = BodyCropsDataset(Poles(), probability=0.5)
    cropped = sum(bool(half[i].reference.camera.K[0, 0] > focal + 0.1) for i in range(40))
    assert 8 <= cropped <= 32
