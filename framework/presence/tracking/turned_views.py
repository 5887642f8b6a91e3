"""Side and back views of somebody whose front view was tracked (paper, Appendix C, non-frontal)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import torch

from presence.bodies import Body
from presence.errors import InputError
from presence.rasterize import build_rasterizer
from presence.structures import Camera, Portrait, Tracking
from presence.tracking.consistency import consistent
from presence.tracking.detection import LANDMARK_SETS, Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.refinement.evidence import gather
from presence.tracking.refinement.posing import FLIP, FrameStates, seen_by_camera, turned
from presence.tracking.refinement.refiner import RefineOptions, Refiner
from presence.tracking.refinement.stages import View
from presence.tracking.video.looks import FrameTracker

Facing = Literal["left", "right", "back"]
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

    Shape and expression are the front view's. Of a side view, the face's landmarks are used where
    a face is found; of a back view, the mask alone. Where the tracker has Sapiens' keypoints, its
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
    start = turned_front(fitter.body, front, facing)
    camera = camera.resized(width, height)
    image = (portrait.rgb.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    pixels = np.ascontiguousarray(image.numpy())
    seen = None if facing == "back" else _detected(tracker, pixels)
    mask = _mask(tracker, portrait, pixels, seen, start, camera)
    if facing != "back":
        start = _across(fitter.body, start, camera, mask)
    whose = ""
    if facing != "back" and hasattr(tracker, "with_keypoints"):
        cut_out = portrait.replace(alpha=torch.from_numpy(mask).to(portrait.rgb)[None])
        joined, whose = tracker.with_keypoints(cut_out, seen or Detection(width, height, {}))
        seen = joined if joined.taken else seen
    refiner = Refiner(fitter.body, fitter.landmarks, options, device)
    view: View = "back" if facing == "back" else "side"
    evidence = gather([seen], [mask], width, height, getattr(tracker, "regimes", None))
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


def _across(body: Body, start: FrameStates, camera: Camera, mask: np.ndarray) -> FrameStates:
    """Moves the start sideways to where its columns have most in common with the mask's.

    What the front view does not tell, the depth of head and feet beside the pelvis', lies sideways
    in a side view, further than the stages' terms reach.

    Args:
        body: the model.
        start: of one frame.
        camera: of the view.
        mask: [H W] in 0..1.
    """
    at = at_origin(start, camera)
    mesh = body(at.body)
    screen, faces = at.camera.screen(mesh.vertices)[None], body.topology.faces
    own = build_rasterizer("cpu")(screen, faces, camera.height, camera.width).face_ids[0] >= 0
    mine, theirs = own.numpy().sum(0), (mask > 0.5).sum(0)
    reach = camera.width // 4
    moves, wide = np.arange(-reach, reach + 1), np.pad(mine, reach)
    common = np.array([np.minimum(wide[reach - px :][: len(theirs)], theirs).sum() for px in moves])
    # Clothes are wider than the body: many places are as good, and their middle is meant.
    best = float(moves[common >= 0.99 * common.max()].mean())
    depth = at.camera.to_cam(mesh.vertices)[:, 2].mean()
    shift = torch.stack([best * depth / camera.K[0, 0], depth.new_zeros(()), depth.new_zeros(())])
    return dataclasses.replace(start, translation=start.translation + shift)


def _detected(tracker: FrameTracker, pixels: np.ndarray) -> Detection | None:
    try:
        return consistent(tracker.detector(pixels))
    except InputError:
        return None


def _expected(
    tracker: FrameTracker, start: FrameStates, camera: Camera
) -> tuple[Detection, np.ndarray]:
    """What a detector would say if the start were right, and where the body would reach.

    Returns:
        landmarks, and the body's vertices [V 2] px, those beyond the picture on its rim: where to
        look for the person's mask.
    """
    fitter = tracker.fitter
    at = at_origin(start, camera)
    mesh = fitter.body(at.body)
    reach, _ = at.camera.project(mesh.vertices)
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
    if seen is not None:
        return tracker.segmenter.probability(pixels, seen)
    return tracker.segmenter.probability(pixels, *_expected(tracker, start, camera))
