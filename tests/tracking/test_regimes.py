"""Measured people to a map: scores against closed forms, thresholds and orders against counting."""

from __future__ import annotations

import math

import pytest
import torch

from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
    Tracking,
    View,
)
from presence.tracking.fusing.chains import HEAD, chained
from presence.tracking.fusing.conversion import estimate_of
from presence.tracking.fusing.regimes import FRAMINGS, GROUPS, RegimeMap, Rule
from presence.tracking.measuring.regime_fitting import Limits, cells_of, fit_map, samples, threshold
from presence.tracking.measuring.regime_scores import (
    score_estimate,
    score_keypoints,
    true_keypoints,
    truth_of,
)

FINE = PartEstimate(0.9, True, "made", "made")


@pytest.fixture
def view(seen):
    params = seen.params()
    camera = seen.camera(params, "half", 300)
    return View(Portrait(torch.zeros(3, 300, 300), torch.ones(1, 300, 300)), params, camera)


def estimate_of_truth(view, **joints):
    """The truth as an estimate, but for some joints' axis-angles."""
    turn = view.camera.cam_from_world[:3, :3]
    pose = view.body.pose.clone()
    pose[0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(pose[0]))
    for number, change in joints.items():
        joint = int(number[1:])
        local = axis_angle_to_matrix(pose[joint]) @ axis_angle_to_matrix(torch.tensor(change))
        pose[joint] = matrix_to_axis_angle(local)
    K = view.camera.K
    return Estimate(
        view.body.replace(pose=pose),
        Camera(K, torch.eye(4), 300, 300),
        parts=dict.fromkeys(PART_JOINTS, FINE),
        expression_space="annyx",
        estimator="made",
    )


def test_the_truth_has_no_error(body, view):
    errors = score_estimate(body, view, estimate_of_truth(view))
    assert set(errors) == {"body", "head", "face", "left_hand", "right_hand"}
    assert max(errors.values()) < 0.1


def test_errors_are_the_angles_and_ways_that_were_put_in(body, view):
    found = estimate_of_truth(view, j15=[0.0, 0.2, 0.0], j22=[0.1, 0.0, 0.0], j20=[0.5, 0.0, 0.0])
    errors = score_estimate(body, view, found)
    assert errors["head"] == pytest.approx(math.degrees(0.2), abs=0.02)
    assert errors["face"] == pytest.approx(math.degrees(0.1), abs=0.02)
    assert errors["right_hand"] < 0.1
    mesh = body(body.default_params().replace(betas=view.body.betas))
    fingers = list(PART_JOINTS["left_hand"])
    assert (
        1 < errors["left_hand"] < 500 * (mesh.joints[fingers] - mesh.joints[20]).norm(dim=-1).mean()
    )
    assert errors["body"] < 0.1  # neither head nor wrists move a body joint
    lowered = score_estimate(body, view, estimate_of_truth(view, j16=[0.0, 0.0, 0.6]))
    assert lowered["body"] > 20
    turned = estimate_of_truth(view, j0=[0.0, 0.4, 0.0])
    assert score_estimate(body, view, turned)["body"] < 0.1  # a similarity takes it away
    assert score_estimate(body, view, turned)["head"] == pytest.approx(math.degrees(0.4), abs=0.05)


def test_a_heads_own_model_is_what_counts(body, view):
    truth = estimate_of_truth(view)
    model = PartModel(
        chained(truth.body.pose, HEAD) @ axis_angle_to_matrix(torch.tensor([0.3, 0, 0])),
        torch.tensor([0.0, 0, 2]),
        view.camera.K,
        torch.zeros(1),
        torch.zeros(1),
        torch.eye(3).repeat(4, 1, 1),
        model="flame2020",
    )
    empty = BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3))
    emica = Estimate(empty, truth.camera, parts={"face": FINE}, models={"face": model})
    errors = score_estimate(body, view, emica)
    assert errors["head"] == pytest.approx(math.degrees(0.3), abs=0.02)
    assert set(errors) == {"head", "face"}


def test_keypoints_are_compared_in_pixels(body, landmarks, view):
    points = true_keypoints(body, landmarks, view)
    assert "left_shoulder" in points and "left_ankle" not in points
    truth = estimate_of(
        Tracking(view.body, view.camera), body, dict.fromkeys(PART_JOINTS, FINE), "made"
    )
    assert score_keypoints(body, landmarks, truth, points) < 0.05
    height = max(p[1] for p in points.values()) - min(p[1] for p in points.values())
    moved = {name: point + torch.tensor([6.0, 0.0]) for name, point in points.items()}
    found = score_keypoints(body, landmarks, truth, moved)
    assert found == pytest.approx(600 / float(height), rel=0.01)
    other = truth.replace(expression_space="smplx")
    assert score_keypoints(body, landmarks, other, points) is None


def test_truth_is_what_the_picture_holds(body, seen, view):
    half = truth_of(body, view)
    assert half["arms"] == 1.0 and half["lower"] == 0.0
    params = seen.params()
    full = truth_of(body, view.replace(camera=seen.camera(params, "full", 300)))
    assert full["lower"] == 1.0 and full["right_hand"] > 0.5
    head = truth_of(body, view.replace(camera=seen.camera(params, "head", 300)))
    assert head["arms"] == 0.0 and head["left_hand"] == head["right_hand"] == 0.0


def test_thresholds_are_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(60, generator=generator)
    labels = values + 0.3 * torch.randn(60, generator=generator) > 0.5
    cut, accuracy = threshold(values.tolist(), labels.tolist())

    def balanced(at):
        above = values >= at
        return float((above[labels].float().mean() + (~above)[~labels].float().mean()) / 2)

    assert accuracy == pytest.approx(balanced(cut), abs=1e-6)
    assert accuracy >= max(balanced(float(at)) for at in torch.linspace(0, 1, 2001)) - 0.01
    # A single person between two clear groups moves nothing far.
    groups = [0.1] * 100 + [0.9] * 100
    sides = [False] * 100 + [True] * 100
    assert threshold([*groups, 0.2], [*sides, True])[0] == pytest.approx(0.5)
    assert threshold([0.1, 0.2, 0.7, 0.9], [False, False, True, True]) == (0.45, 1.0)
    assert threshold([0.1, 0.2], [True, True]) is None


def row(framing, yaw, *, sight=0.9, hand=0.0, **found):
    return {
        "framing": framing,
        "yaw": yaw,
        "sight": None
        if sight is None
        else {"arms": sight, "lower": sight, "left_hand": hand, "right_hand": 0.0},
        "truth": {"arms": 1.0, "lower": 1.0, "left_hand": 0.9 if hand else 0.0, "right_hand": 0.0},
        "found": found,
    }


def base_map():
    def rules(*names):
        return tuple(Rule(name, "stated", "the paper") for name in names)

    order = {f: {g: rules("osx", "open", "pixie") for g in GROUPS} for f in FRAMINGS}
    return RegimeMap({"arms": 0.5, "lower": 0.5, "hand": 0.5}, order, 7.0)


def test_the_measured_are_ordered_in_their_places_and_the_others_keep_theirs():
    near, far = [0.0, 30.0], [30.0, 60.0]
    rows = [
        row("half", near, open={"body": 40.0 + k}, pixie={"body": 20.0 + k}) for k in range(3)
    ] + [row("half", far, open={"body": 50.0}, pixie="it found nobody") for _ in range(3)]
    found = fit_map(rows, base_map(), Limits(body=60.0))
    rules = found.order["half"]["body"]
    assert [rule.estimator for rule in rules] == ["osx", "pixie", "open"]
    assert rules[0].basis == "stated"
    assert rules[1] == Rule(
        "pixie",
        "measured",
        "median over 3 rendered people turned up to 30 degrees",
        21.0,
        "mm",
        30.0,
    )
    assert rules[2].max_yaw == 60.0 and rules[2].error == pytest.approx(45.5)
    assert found.order["full"]["body"] == base_map().order["full"]["body"]
    strict = fit_map(rows, base_map(), Limits(body=10.0)).order["half"]["body"]
    assert {rule.max_yaw for rule in strict[1:]} == {0.0}


def test_cells_count_people_failures_and_hands():
    rows = [
        row("head", [0.0, 30.0], hand=0.8, open={"hand": None, "left_hand": 10.0, "right_hand": 9}),
        row("head", [0.0, 30.0], open={"head": 4.0}),
        row("head", [0.0, 30.0], open="nobody"),
    ]
    seen, hidden = cells_of(rows)
    assert seen["hands"] == "seen" and seen["hand"] == 10.0 and seen["hands measured"] == 1
    assert (hidden["people"], hidden["failures"], hidden["head"]) == (2, 1, 4.0)


def test_unclear_hands_and_undetected_people_do_not_set_thresholds():
    rows = [
        row("half", [0.0, 30.0], hand=0.8, open={}),
        row("half", [0.0, 30.0], sight=None, hand=0.8, open="nobody"),
    ]
    rows[0]["truth"]["right_hand"] = 0.3  # half hidden
    assert samples(rows, "hand") == ([0.8], [True])
    assert samples(rows, "arms") == ([0.9], [True])


def test_what_agrees_is_what_the_open_fit_reaches():
    rows = [row("half", [0.0, 30.0], mediapipe={"keypoints": 0.1 * k}) for k in range(1, 22)]
    rows.append(row("half", [60.0, 90.0], mediapipe={"keypoints": 50.0}))
    assert fit_map(rows, base_map(), Limits()).agree == pytest.approx(3 * 1.9)
    assert fit_map(rows[-1:], base_map(), Limits()).agree == 7.0
