"""The contract of estimators finds what it promises to find: each of these is broken."""

from __future__ import annotations

import math

import pytest
import torch

from presence.errors import InputError
from presence.estimation.anchors import resolve_anchor
from presence.interfaces import Estimator
from presence.structures import (
    BodyParams,
    Camera,
    Cues,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
)
from presence.testing.contracts import ContractError, check_estimator

PORTRAIT = Portrait(torch.rand(3, 32, 48), torch.ones(1, 32, 48))
CUES = Cues(keypoints=dict(right_hand=torch.ones(21, 3)))


def _estimate(**changes):
    K = torch.tensor([[100.0, 0, 24], [0, 100.0, 16], [0, 0, 1]])
    pose = torch.zeros(55, 3)
    pose[40:] = 0.1
    good = dict(
        body=BodyParams(torch.zeros(0), torch.zeros(0), pose, torch.zeros(3)),
        camera=Camera(K, torch.eye(4), 48, 32),
        parts=dict(right_hand=PartEstimate(0.8, True, "toy", "hand keypoints")),
        models=dict(
            right_hand=PartModel(
                torch.eye(3),
                torch.tensor([0.0, 0.0, 3.0]),
                K,
                torch.zeros(10),
                torch.zeros(0),
                torch.eye(3).repeat(15, 1, 1),
            )
        ),
        keypoints=dict(right_hand=torch.rand(21, 3)),
        estimator="toy",
    )
    return Estimate(**{**good, **changes})


class _Toy(Estimator):
    name, asset = "toy", "hamer"
    parts, needs = ("right_hand",), ("left_hand|right_hand",)

    def __init__(self, *, blind=False, noisy=False, **changes):
        self.estimate, self.blind, self.noisy = _estimate(**changes), blind, noisy

    def __call__(self, portrait, cues):
        if not self.blind and not cues.keypoints:
            raise InputError("toy needs the keypoints of a hand: left_hand or right_hand")
        if self.noisy:
            body = self.estimate.body
            return (self.estimate.replace(body=body.replace(pose=body.pose * torch.rand(()))),)
        return (self.estimate,)


def test_a_good_estimator_passes():
    check_estimator(_Toy(), PORTRAIT, CUES)


def _pose(joint):
    pose = torch.zeros(55, 3)
    pose[joint] = 0.1
    return BodyParams(torch.zeros(0), torch.zeros(0), pose, torch.zeros(3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(blind=True), "without left_hand|right_hand raises InputError"),
        (dict(noisy=True), "second call"),
        (dict(estimator="other"), "carry its name"),
        (dict(body=_pose(25)), "`left_hand` is not estimated"),
        (dict(camera=Camera(torch.eye(3), torch.eye(4), 32, 48)), "camera is for"),
        (dict(camera=Camera(torch.eye(3), torch.eye(4) * 2, 48, 32)), "identity"),
        (dict(expression_space="smplx"), "expression_space"),
        (dict(parts=dict(head=PartEstimate(1, True, "toy", "x"))), "but estimates"),
        (dict(parts=dict(right_hand=PartEstimate(1.2, True, "toy", "x"))), "0..1"),
        (dict(parts=dict(right_hand=PartEstimate(1, True, "toy", ""))), "source and reason"),
        (dict(keypoints=dict(right_hand=torch.full((21, 3), 2.0))), "confidences"),
        (
            dict(
                models=dict(
                    right_hand=_estimate().models["right_hand"].replace(rotation=-torch.eye(3))
                )
            ),
            "should be rotations",
        ),
    ],
)
def test_broken_estimators(change, said):
    with pytest.raises(ContractError, match=said):
        check_estimator(_Toy(**change), PORTRAIT, CUES)


def test_an_anchored_joint_comes_to_its_place(body):
    pose = torch.zeros(55, 3)
    pose[0, 0], pose[12, 1] = math.pi, 0.4
    place = torch.tensor([0.1, -0.2, 4.0])
    params = BodyParams(0.5 * torch.ones(30), torch.zeros(3), pose, place)
    estimate = _estimate(body=params, anchor=15, expression_space="smplx")
    resolved = resolve_anchor(estimate, body)
    assert resolved.betas.shape[-1] == body.num_betas
    torch.testing.assert_close(body(resolved).joints[15], place, atol=1e-5, rtol=0)
    kept = resolve_anchor(estimate.replace(anchor=None), body)
    torch.testing.assert_close(kept.translation, place)
