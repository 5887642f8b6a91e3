"""Side and back views of somebody whose front view was tracked (paper, Appendix C, non-frontal)."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import torch

from presence.bodies import Body
from presence.errors import InputError
from presence.structures import Camera, Portrait, Tracking
from presence.tracking.consistency import consistent
from presence.tracking.detection import LANDMARK_SETS, Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.outline_alignment import aligned, body_mask
from presence.tracking.refinement.evidence import gather
from presence.tracking.refinement.posing import FLIP, FrameStates, seen_by_camera, turned
from presence.tracking.refinement.refiner import RefineOptions, Refiner
from presence.tracking.refinement.stages import View
from presence.tracking.relaxed import JOINT
from presence.tracking.video.looks import FrameTracker

Facing = Literal["left", "right", "back"]
_ASIDE = 0.2  # of the body's height that somebody may stand aside of the turned front
# Of the body's area that a mask covers at least, or it lacks half of the person and pulls what is
# there into it: of 96 side views 3 cover 0.5 to 0.7, the others at least 0.9.
_WHOLE = 0.8
_LEFT, _RIGHT = (
    [JOINT[f"{side}_{name}"] for name in ("shoulder", "hip")] for side in ("left", "right")
)
_DEGREES = {"left": -90.0, "right": 90.0, "back": 180.0}


def track_turned(
    tracker: FrameTracker,
    portrait: Portrait,
    front: Tracking,
    facing: Facing,
    options: RefineOptions | None = None,
    *,
    device: str = "cpu",
) -> Tracking:
    """Tracks a side or back view, starting from the front view turned.

    Shape and expression are the front view's. A side view is first leaned and moved as one piece
    to where its outline lies on the mask. Of a side view, landmarks are used, the face's where a
    face is found; of a back view, the mask alone. Where the tracker has Sapiens' keypoints, its
    ears, shoulders, hips, limbs and facial points count in side views, as the paper has it.

    Args:
        tracker: of the same body as `front`.
        portrait: of the same framing; an alpha that leaves something out is the person's mask.
        front: the front view's tracking.
        facing: where in the picture the person looks; "back": away from the camera.
        options: settings of the stages.
        device: where they run.

    Raises:
        InputError: the portrait's shape is not the front view's.
    """
    height, width = portrait.size
    camera = front.camera
    if abs(width * camera.height - height * camera.width) > 0.02 * height * camera.width:
        raise InputError(
            f"the {facing} view has {width} x {height} px, the front view {camera.width} x "
            f"{camera.height}: both should have one shape"
        )
    fitter = tracker.fitter
    start = squared(fitter.body, turned_front(fitter.body, front, facing), facing)
    camera = camera.resized(width, height)
    image = (portrait.rgb.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    pixels = np.ascontiguousarray(image.numpy())
    seen = None if facing == "back" else _detected(tracker, pixels)
    mask = _mask(tracker, portrait, pixels, seen, start, camera)
    if facing != "back":
        start = aligned(fitter.body, start, camera, mask)
    whose = ""
    if facing != "back" and hasattr(tracker, "with_keypoints"):
        cut_out = portrait.replace(alpha=torch.from_numpy(mask).to(portrait.rgb)[None])
        joined, whose = tracker.with_keypoints(cut_out, seen or Detection(width, height, {}))
        seen = joined if joined.taken else seen
    refiner = Refiner(fitter.body, fitter.landmarks, options, device)
    view: View = "back" if facing == "back" else "side"
    covered = float((mask > 0.5).sum() / max(body_mask(fitter.body, start, camera).sum(), 1))
    trusted = mask if covered > _WHOLE else None
    evidence = gather([seen], [trusted], width, height, getattr(tracker, "regimes", None))
    found = refiner(start, evidence, float(camera.K[0, 0]), view=view)
    parts = visible_parts(seen) if seen else dict.fromkeys(front.visibility, 0.0)
    note = f"seen from {'behind' if facing == 'back' else 'the side'}, after the front view"
    return dataclasses.replace(
        at_origin(found, camera),
        visibility=parts,
        keypoints=dict(seen.keypoints) if seen else {},
        notes=(note, whose) if whose else (note,),
    )


def turned_front(body: Body, front: Tracking, facing: Facing) -> FrameStates:
    """Returns the front view's body turned about its pelvis: where the fit of a view starts.

    Args:
        body: the model that `front` is of.
        front: the front view's tracking.
        facing: where in the picture the person looks.
    """
    start = FrameStates.from_params(seen_by_camera(body, front).unsqueeze())
    return turned(start, _DEGREES[facing])


def squared(body: Body, states: FrameStates, facing: Facing) -> FrameStates:
    """Returns a turned body whose shoulders and hips stand as the view has them.

    Front views may be some way off, side and back views are not (paper, Appendix C).

    Args:
        body: the model.
        states: of one frame.
        facing: where in the picture the person looks.
    """
    joints = body(states.params()[0]).joints
    across = (joints[_LEFT] - joints[_RIGHT]).sum(0)
    # A turn by some angle about the vertical takes +x to (cos, -sin) in x and z.
    is_turned = math.degrees(math.atan2(-float(across[2]), float(across[0])))
    return turned(states, (_DEGREES[facing] - is_turned + 180.0) % 360.0 - 180.0)


def at_origin(states: FrameStates, camera: Camera) -> Tracking:
    """Returns one frame's tracking with the person at the world's origin.

    Args:
        states: of one frame.
        camera: whose K and size are kept.
    """
    params = states.params()[0]
    pose = torch.diag(torch.tensor([*FLIP, 1.0]))
    pose[:3, 3] = torch.tensor(FLIP) * params.translation
    body = params.replace(translation=torch.zeros(3))
    return Tracking(body=body, camera=camera.replace(cam_from_world=pose))


def _detected(tracker: FrameTracker, pixels: np.ndarray) -> Detection | None:
    look = getattr(tracker.detector, "side_view", tracker.detector)
    try:
        return consistent(look(pixels))
    except InputError:
        return None


def _expected(
    tracker: FrameTracker, start: FrameStates, camera: Camera
) -> tuple[Detection, np.ndarray]:
    """What a detector would say if the start were right, and where the body would reach.

    Returns:
        landmarks, and points [N 2] px, those beyond the picture on its rim: where to look for the
        person's mask. They are the body's vertices and what lies aside of them.
    """
    fitter = tracker.fitter
    at = at_origin(start, camera)
    mesh = fitter.body(at.body)
    reach, _ = at.camera.project(mesh.vertices)
    low, high = reach.amin(0), reach.amax(0)
    aside = _ASIDE * torch.stack([high[1] - low[1], high.new_zeros(())])
    reach = torch.cat([reach, torch.stack([low - aside, high + aside])])
    reach = reach.clamp_min(0).minimum(reach.new_tensor([camera.width, camera.height]))
    points = {}
    for name in LANDMARK_SETS[:2]:
        px, _ = at.camera.project(fitter.landmarks.points(fitter.body, name, mesh))
        points[name] = torch.cat([px, torch.ones_like(px[:, :1])], -1)
    return Detection(camera.width, camera.height, points), reach.numpy()


def _mask(
    tracker: FrameTracker,
    portrait: Portrait,
    pixels: np.ndarray,
    seen: Detection | None,
    start: FrameStates,
    camera: Camera,
) -> np.ndarray:
    given = portrait.alpha[0].detach().cpu()
    if float((given < 0.5).float().mean()) > 0.01:
        return given.numpy()
    expected, reach = _expected(tracker, start, camera)
    return tracker.segmenter.probability(pixels, seen or expected, reach)
