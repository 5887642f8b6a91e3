"""The contract of trackers: shapes, cameras and visibilities, and a clear no to empty pictures."""

from __future__ import annotations

import torch

from presence.errors import InputError
from presence.interfaces import Body, Tracker
from presence.structures import Portrait, Tracking
from presence.testing.contracts.common import ContractError, require, require_finite

PARTS = ("head", "upper", "lower", "left_hand", "right_hand")
_HEAD = 15  # SMPL-X joint


def check_tracker(tracker: Tracker, body: Body, portrait: Portrait) -> None:
    """Checks a tracker on a picture of one person whose head is in it.

    Args:
        tracker: to check.
        body: the body whose parameters it finds.
        portrait: unbatched.

    Raises:
        ContractError: what is broken.
    """
    tracking = tracker(portrait)
    require(isinstance(tracking, Tracking), tracker, "a call should give a Tracking")
    require(tracking.batch_shape == (), tracker, "one portrait gives one tracking, unbatched")
    require_finite(tracking, tracker)
    sizes = (tracking.body.betas.shape[-1], tracking.body.expression.shape[-1])
    require(
        sizes == (body.num_betas, body.num_expression),
        tracker,
        f"parameters should fit {body.name}: {(body.num_betas, body.num_expression)}, got {sizes}",
    )
    size = (tracking.camera.height, tracking.camera.width)
    require(size == portrait.size, tracker, f"the camera is for {size}, not {portrait.size}")
    require(set(tracking.visibility) == set(PARTS), tracker, f"visibility has the parts {PARTS}")
    values = tracking.visibility.values()
    require(all(0 <= value <= 1 for value in values), tracker, "visibility should be in 0..1")
    require(tracking.visibility["head"] > 0.5, tracker, "a visible head should be found")
    with torch.no_grad():
        joints = body(tracking.body).joints
    (x, y), depth = (value[0] for value in tracking.camera.project(joints[_HEAD : _HEAD + 1]))
    inside = 0 <= x < portrait.size[1] and 0 <= y < portrait.size[0] and depth > 0
    require(inside, tracker, f"the head joint should lie in the picture, is at ({x:.0f}, {y:.0f})")
    _check_empty(tracker, portrait)


def _check_empty(tracker: Tracker, portrait: Portrait) -> None:
    grey = Portrait(torch.full_like(portrait.rgb, 0.5), torch.zeros_like(portrait.alpha))
    try:
        tracker(grey)
    except InputError:
        return
    raise ContractError(f"{type(tracker).__name__}: a picture of nobody raises InputError")
