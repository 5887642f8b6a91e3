"""The PIXIE adapter: its contract, its crops, and known bodies projected into the picture."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from presence.bodies import load_body
from presence.bodies.joints import PARENTS
from presence.estimation.networks.pixie import PixieOutput
from presence.estimation.networks.pixie_pose import PART_BODY
from presence.estimation.weak_perspective import picture_camera
from presence.geometry import axis_angle_to_matrix
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Cues, Portrait
from presence.testing.contracts import check_estimator
from presence_plugins.trackers.pixie import crop_boxes, crop_of, estimate_of

pytest.importorskip("timm", reason="timm holds PIXIE's HRNet")
PERSON = torch.tensor([40.0, 30, 200, 230])
SIZE = (320, 260)  # width, height


def _points(count, left, top, width, height, confidence):
    places = torch.rand(count, 2, generator=torch.Generator().manual_seed(count))
    places = places * torch.tensor([width, height]) + torch.tensor([left, top])
    return torch.cat([places, torch.full((count, 1), confidence)], -1)


def _cues():
    keypoints = {
        "face": _points(478, 100.0, 40.0, 40.0, 50.0, 0.9),
        "left_hand": _points(21, 160.0, 150.0, 30.0, 20.0, 0.9),
        "right_hand": _points(21, 50.0, 150.0, 30.0, 20.0, 0.2),
    }
    return Cues(person=PERSON, keypoints=keypoints)


def test_the_contract_of_estimators():
    estimator = ESTIMATORS.build(dict(type="PixieEstimator", weights="random"))
    rgb = torch.rand(3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(0))
    portrait = Portrait(rgb, torch.ones(1, SIZE[1], SIZE[0]))
    check_estimator(estimator, portrait, _cues())
    (estimate,) = estimator(portrait, _cues())
    parts = estimate.parts
    assert parts["left_hand"].valid and parts["left_hand"].source == "pixie/left_hand"
    assert parts["head"].valid and parts["face"].source == "pixie/head"
    assert not parts["right_hand"].valid and "no landmarks" in parts["right_hand"].reason


def test_squares_are_around_the_person_and_the_believed_parts():
    boxes = crop_boxes(_cues(), *SIZE)
    assert set(boxes) == {"body", "head", "left_hand"}
    assert boxes["body"].tolist() == pytest.approx([10, 20, 230, 240])
    hand = _cues().keypoints["left_hand"][:, :2]
    low, high = hand.amin(0), hand.amax(0)
    side = float((high - low).max()) * 2.4
    box = boxes["left_hand"]
    assert (box[2:] - box[:2]).tolist() == pytest.approx([side, side])
    torch.testing.assert_close((box[:2] + box[2:]) / 2, (low + high) / 2)


def test_left_hands_are_mirrored():
    image = (torch.arange(SIZE[0]) / SIZE[0]).expand(3, SIZE[1], -1)
    box = torch.tensor([100.0, 100, 180, 180])
    left, right = crop_of(image, box, "left_hand"), crop_of(image, box, "right_hand")
    assert (right[0, 0].diff() > 0).all() and torch.equal(left, right.flip(-1))


def _six(matrix):
    return matrix[..., :2].flatten(-2)[None]


def _known():
    pose = 0.3 * torch.randn(55, 3, generator=torch.Generator().manual_seed(5))
    pose[0] = torch.tensor([math.pi - 0.2, 0.1, 0.0])
    pose[15], pose[23:25], pose[22] = pose[15] * 0.2, 0, torch.tensor([0.2, 0, 0])
    return pose


def _output(pose, camera):
    """What a perfect network would say of a pose [55 3] and a camera [3]."""
    local, mirror = axis_angle_to_matrix(pose), torch.diag(torch.tensor([-1.0, 1, 1]))
    chain = [local[0]]
    for joint, parent in enumerate(PARENTS[1:22], 1):
        chain.append(chain[parent] @ local[joint])
    fields = {field.name: torch.zeros(1, 2) for field in dataclasses.fields(PixieOutput)}
    return PixieOutput(
        **{
            **fields,
            "camera": camera[None],
            "root": _six(local[0]),
            "body": _six(local[list(PART_BODY)]),
            "neck": _six(local[12]),
            "shape": torch.zeros(1, 200),
            "expression": torch.zeros(1, 50),
            "head": _six(chain[15]),
            "jaw": pose[None, 22],  # about x alone, Euler angles are the axis-angle
            "left_wrist": _six(mirror @ chain[20] @ mirror),
            "right_wrist": _six(chain[21]),
            "left_hand": _six(mirror @ local[25:40] @ mirror),
            "right_hand": _six(local[40:]),
        }
    )


@pytest.mark.parametrize("fov", [20.0, 0.05])
def test_a_known_body_projects_as_the_network_means_it(fov):
    body, pose = load_body("annyx"), _known()
    camera, box = torch.tensor([0.9, 0.05, 0.2]), torch.tensor([10.0, 20, 230, 240])
    estimate = estimate_of(_output(pose, camera), {"body": box}, picture_camera(*SIZE, fov=fov))
    truth = body(BodyParams(torch.zeros(0), torch.zeros(0), pose, torch.zeros(3))).vertices
    ndc = camera[0] * (truth[:, :2] + camera[1:])
    expected = box[:2] + (ndc + 1) / 2 * 220
    given = estimate.body.replace(betas=torch.zeros(0), expression=torch.zeros(0))
    px, depth = estimate.camera.project(body(given).vertices)
    centre, plane = estimate.camera.K[:2, 2], given.translation[2]
    # Perspective undone by each vertex's depth over that of the model's origin.
    flat = centre + (px - centre) * (depth / plane)[:, None]
    torch.testing.assert_close(flat, expected, rtol=0, atol=0.05)
    if fov < 1:  # perspective has vanished
        torch.testing.assert_close(px, expected, rtol=0, atol=0.3)
