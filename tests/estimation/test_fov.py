"""Field-of-view correction: the depth plane is seen as before, other depths are not."""

from __future__ import annotations

import math

import pytest
import torch

from presence.estimation.fov import corrected, with_fov
from presence.structures import BodyParams, Camera, Estimate, PartModel

K = torch.tensor([[900.0, 0, 300], [0, 870.0, 220], [0, 0, 1]])
PLACE = torch.tensor([0.3, -0.4, 5.0])


def _px(points, K):
    return (points / points[:, 2:] @ K.T)[:, :2]


def test_the_plane_of_the_body_is_seen_at_the_same_pixels():
    fixed, moved = corrected(K, PLACE, 640, 20.0)
    flat = torch.randn(50, 3) * torch.tensor([0.5, 0.5, 0.0])
    assert (_px(flat + moved, fixed) - _px(flat + PLACE, K)).abs().max() < 2e-3
    assert math.degrees(2 * math.atan(320 / float(fixed[0, 0]))) == pytest.approx(20.0)
    ratio = float(fixed[0, 0]) / 900
    assert abs(float(fixed[1, 1]) - 870 * ratio) < 1e-2
    deep = flat + torch.tensor([0.0, 0.0, 0.5])
    assert (_px(deep + moved, fixed) - _px(deep + PLACE, K)).abs().max() > 1.0


def test_batches_and_back_again():
    stacked, places = K.repeat(3, 1, 1), PLACE.repeat(3, 1)
    fixed, moved = corrected(stacked, places, 640, 35.0)
    own = math.degrees(2 * math.atan(320 / 900))
    again, back = corrected(fixed, moved, 640, own)
    torch.testing.assert_close(again, stacked)
    torch.testing.assert_close(back, places)


def test_estimates_move_with_their_part_models():
    hand = PartModel(
        torch.eye(3), PLACE, K, torch.zeros(10), torch.zeros(0), torch.eye(3).repeat(15, 1, 1)
    )
    body = BodyParams(torch.zeros(10), torch.zeros(0), torch.zeros(55, 3), PLACE)
    estimate = Estimate(body, Camera(K, torch.eye(4), 640, 480), models=dict(right_hand=hand))
    fixed = with_fov(estimate, 20.0)
    for translation, matrix in (
        (fixed.body.translation, fixed.camera.K),
        (fixed.models["right_hand"].translation, fixed.models["right_hand"].K),
    ):
        torch.testing.assert_close(
            _px(translation[None], matrix), _px(PLACE[None], K), atol=1e-3, rtol=0
        )
        assert translation[2] > 2 * PLACE[2]
