from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix
from presence.structures import Portrait, Tracking
from presence.tracking.fitting import FitOptions
from presence.tracking.measuring.scores import angle_between, mesh_mask
from presence.tracking.outline_alignment import aligned, body_mask
from presence.tracking.refinement import FrameStates, RefineOptions
from presence.tracking.relaxed import JOINT
from presence.tracking.turned_views import at_origin, squared, track_turned, turned_front


class BlindTracker:
    """Detects nobody; says where it was asked to look for a mask."""

    def __init__(self, body, landmarks, mask):
        self.body, self.landmarks, self.mask = body, landmarks, mask
        self.options = FitOptions()
        self.fitter = self.segmenter = self
        self.expected = None

    def detector(self, image):
        raise InputError("nobody was found in the picture")

    def probability(self, image, detection, reach):
        self.expected, self.reach = detection, reach
        return self.mask


@pytest.mark.parametrize("facing, degrees", [("back", 180.0), ("right", 90.0)])
def test_a_turned_view_starts_from_the_front(body, landmarks, seen, facing, degrees):
    offsets = 1e-3 * torch.randn(body.num_vertices, 3)
    front = seen.params(0, yaw=0.0).replace(offsets=offsets)
    camera = seen.camera(front, "full", 200)
    turn = front.pose.clone()
    turn[0] = torch.tensor([0.0, np.radians(degrees), 0.0])
    truth = front.replace(pose=turn)
    mask = mesh_mask(body(truth).vertices, camera, body.topology).float().numpy()
    tracker = BlindTracker(body, landmarks, mask)
    portrait = Portrait(torch.zeros(3, 200, 200), torch.ones(1, 200, 200))
    options = RefineOptions(steps=0.3)
    found = track_turned(tracker, portrait, Tracking(front, camera), facing, options)
    assert tracker.expected.keypoints["pose"].shape == (33, 3)
    rows, columns = mask.nonzero()  # where the mask is looked for holds all of it
    assert tracker.reach.min(0)[0] < columns.min() + 2 and tracker.reach.max(0)[0] > columns.max()
    assert tracker.reach.min(0)[1] < rows.min() + 2 and tracker.reach.max(0)[1] > rows.max()
    shown = [
        (mesh.joints[16] - mesh.joints[17]) @ view.cam_from_world[:3, :3].T
        for mesh, view in ((body(truth), camera), (body(found.body), found.camera))
    ]
    assert angle_between(*shown) < 12
    assert torch.equal(found.body.betas, front.betas)
    assert torch.equal(found.body.offsets, offsets)
    assert float(found.body.translation.abs().max()) == 0
    again = mesh_mask(body(found.body).vertices, found.camera, body.topology).numpy()
    assert (again & (mask > 0)).sum() / (again | (mask > 0)).sum() > 0.7


@pytest.mark.parametrize("facing, degrees", [("right", 90.0), ("left", -90.0)])
def test_side_views_find_somebody_who_stands_further_aside(body, landmarks, seen, facing, degrees):
    front = seen.params(0, yaw=0.0)
    camera = seen.camera(front, "full", 200)
    turn = front.pose.clone()
    turn[0] = torch.tensor([0.0, np.radians(degrees), 0.0])
    truth = front.replace(pose=turn, translation=torch.tensor([0.3, 0.0, 0.0]))  # m
    mask = mesh_mask(body(truth).vertices, camera, body.topology).float().numpy()
    tracker = BlindTracker(body, landmarks, mask)
    portrait = Portrait(torch.zeros(3, 200, 200), torch.ones(1, 200, 200))
    found = track_turned(tracker, portrait, Tracking(front, camera), facing)
    pelvises = [
        view.project(mesh.joints[:1])[0][0]
        for mesh, view in ((body(truth), camera), (body(found.body), found.camera))
    ]
    assert float((pelvises[0] - pelvises[1]).norm()) < 6  # px; 29 at the start


@pytest.mark.parametrize("degrees", [-12.0, 14.0])
def test_side_views_lean_as_one_piece(body, seen, degrees):
    front = seen.params(0, yaw=0.0)
    camera = seen.camera(front, "full", 200)
    start = turned_front(body, Tracking(front, camera), "left")
    lean = axis_angle_to_matrix(torch.tensor([0.0, 0.0, np.radians(degrees)]))
    rotations = start.rotations.clone()
    rotations[:, 0] = lean.float() @ rotations[:, 0]
    aside = torch.tensor([-0.2, 0.0, 0.0])  # m
    truth = FrameStates(rotations, start.translation + aside, start.betas, start.expression)
    view = at_origin(truth, camera)
    mask = mesh_mask(body(view.body).vertices, view.camera, body.topology).float().numpy()
    assert np.array_equal(body_mask(body, truth, camera), mask > 0)
    found = aligned(body, start, camera, mask)
    assert torch.equal(found.rotations[:, 1:], start.rotations[:, 1:])
    up = torch.tensor([0.0, 1.0, 0.0])
    assert angle_between(found.rotations[0, 0] @ up, truth.rotations[0, 0] @ up) < 3.0
    assert float((found.translation - truth.translation).abs().max()) < 0.03
    nothing = aligned(body, start, camera, np.zeros_like(mask))
    assert torch.allclose(nothing.rotations, start.rotations, atol=1e-6)
    assert torch.allclose(nothing.translation, start.translation, atol=1e-6)


def test_a_mask_that_lacks_half_of_somebody_pulls_nothing(body, landmarks, seen):
    front = seen.params(0, yaw=0.0)
    camera = seen.camera(front, "full", 200)
    turn = front.pose.clone()
    turn[0] = torch.tensor([0.0, np.pi, 0.0])
    mask = mesh_mask(body(front.replace(pose=turn)).vertices, camera, body.topology).numpy()
    rows = mask.nonzero()[0]
    mask[(rows.min() + rows.max()) // 2 :] = False  # no legs
    tracker = BlindTracker(body, landmarks, mask.astype(np.float32))
    portrait = Portrait(torch.zeros(3, 200, 200), torch.ones(1, 200, 200))
    options = RefineOptions(steps=0.3)
    found = track_turned(tracker, portrait, Tracking(front, camera), "back", options)
    legs = [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in ("hip", "knee")]
    before, after = (axis_angle_to_matrix(pose[legs]) for pose in (front.pose, found.body.pose))
    turns = torch.linalg.matrix_norm(before.mT @ after - torch.eye(3)) / np.sqrt(2)  # rad
    assert float(turns.max()) < np.radians(1.0)


@pytest.mark.parametrize("facing", ["left", "right", "back"])
def test_turned_views_stand_square(body, seen, facing):
    """A front that was 17 degrees off makes no view that is."""
    front = seen.params(0, yaw=0.3)
    camera = seen.camera(front, "full", 200)
    start = turned_front(body, Tracking(front, camera), facing)
    found = squared(body, start, facing)
    assert torch.equal(found.rotations[:, 1:], start.rotations[:, 1:])
    joints = body(found.params()[0]).joints
    pairs = [joints[JOINT[f"left_{n}"]] - joints[JOINT[f"right_{n}"]] for n in ("shoulder", "hip")]
    # The camera looks along -z: from the left the person's left side is nearer.
    wanted = {"left": [0.0, 0.0, 1.0], "right": [0.0, 0.0, -1.0], "back": [-1.0, 0.0, 0.0]}[facing]
    level = sum(pairs) * torch.tensor([1.0, 0.0, 1.0])
    assert angle_between(level, torch.tensor(wanted)) < 0.1
    assert torch.equal(found.translation, start.translation)


def test_views_of_another_shape_are_refused(body, landmarks, seen):
    front = seen.params(0)
    camera = seen.camera(front, "full", 200)
    portrait = Portrait(torch.zeros(3, 200, 100), torch.ones(1, 200, 100))
    with pytest.raises(InputError, match="one shape"):
        tracker = BlindTracker(body, landmarks, None)
        track_turned(tracker, portrait, Tracking(front, camera), "back")
