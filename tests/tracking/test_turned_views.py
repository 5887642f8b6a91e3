from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.structures import Portrait, Tracking
from presence.tracking.fitting import FitOptions
from presence.tracking.measuring.scores import angle_between, mesh_mask
from presence.tracking.refinement import RefineOptions
from presence.tracking.turned_views import track_turned


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


def test_views_of_another_shape_are_refused(body, landmarks, seen):
    front = seen.params(0)
    camera = seen.camera(front, "full", 200)
    portrait = Portrait(torch.zeros(3, 200, 100), torch.ones(1, 200, 100))
    with pytest.raises(InputError, match="one shape"):
        tracker = BlindTracker(body, landmarks, None)
        track_turned(tracker, portrait, Tracking(front, camera), "back")
