"""Leans and moves a body as one piece until its outline lies on a person's mask."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.geometry import axis_angle_to_matrix
from presence.rasterize import build_rasterizer
from presence.structures import Camera
from presence.tracking.refinement.posing import FLIP, FrameStates

_SIDE = 128  # px, long side of the picture in which outlines are compared
_LEAN, _LEAN_STEP, _LEAN_SIGMA = 24.0, 2.0, 10.0  # degrees: most, step, usual
_LEAN_COST = 0.02  # of an intersection over union, for the usual lean
_AS_GOOD = 0.01  # difference of intersections over unions that tells places hardly apart


def aligned(body: Body, start: FrameStates, camera: Camera, mask: np.ndarray) -> FrameStates:
    """Returns the start leaned about its pelvis and moved sideways, as the mask has it.

    A front view tells neither how far its body leans forwards nor how deep head and feet lie
    beside the pelvis. In a side view both lie in the picture, further off than the stages' terms
    reach. Limbs and trunk stay as they are among themselves.

    Clothes and hair are wider than the body, so that many places are nearly as good: the answer
    is the mean of all, each weighed by how well the outlines agree.

    Args:
        body: the model.
        start: of one frame.
        camera: of the view.
        mask: [H W] in 0..1.
    """
    import cv2

    scale = _SIDE / max(camera.width, camera.height)
    width, height = round(camera.width * scale), round(camera.height * scale)
    corner = (-camera.width / 2, -camera.height / 2)
    # Twice as wide and high: what the picture cuts off may come in.
    wide = camera.cropped(*corner, 2 * camera.width, 2 * camera.height)
    wide = wide.resized(2 * width, 2 * height)
    own, pelvis, depth = _outline(body, start, wide)
    whole = (mask > 0.5).astype(np.float32)
    theirs = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    leans = np.arange(-_LEAN, _LEAN + _LEAN_STEP / 2, _LEAN_STEP)
    moves = np.arange(-(width // 3), width // 3 + 1)
    scores = np.empty((len(leans), len(moves)))
    for row, lean in enumerate(leans):
        against_clock = cv2.getRotationMatrix2D(pelvis, float(lean), 1.0)
        leaned = cv2.warpAffine(own, against_clock, (2 * width, 2 * height))
        scores[row] = _agreement(leaned[height // 2 :][:height], theirs, moves)
    scores -= _LEAN_COST * (leans[:, None] / _LEAN_SIGMA) ** 2
    weights = np.exp((scores - scores.max()) / _AS_GOOD)
    weights /= weights.sum()
    angle = np.radians((weights.sum(1) * leans).sum())
    aside = (weights.sum(0) * moves).sum() / scale * depth / float(camera.K[0, 0])
    turn = axis_angle_to_matrix(start.rotations.new_tensor([0.0, 0.0, angle]))
    rotations = start.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    place = start.translation + start.translation.new_tensor([aside, 0.0, 0.0])
    return dataclasses.replace(start, rotations=rotations, translation=place)


def body_mask(body: Body, states: FrameStates, camera: Camera) -> np.ndarray:
    """Returns where a frame's body covers the picture of a camera at the origin: [H W] bool.

    Args:
        body: the model.
        states: of one frame.
        camera: whose K and size count.
    """
    points = body(states.params()[0]).vertices * torch.tensor(FLIP)
    return _covered(body, points, camera)


def _outline(
    body: Body, states: FrameStates, camera: Camera
) -> tuple[np.ndarray, tuple[float, float], float]:
    """Returns the body's mask [H W] float32, its pelvis (px) and the pelvis' depth (m)."""
    mesh = body(states.params()[0])
    own = _covered(body, mesh.vertices * torch.tensor(FLIP), camera).astype(np.float32)
    x, y, z = (mesh.joints[0] * torch.tensor(FLIP)).tolist()
    K = camera.K
    px = float(K[0, 0]) * x / z + float(K[0, 2]), float(K[1, 1]) * y / z + float(K[1, 2])
    return own, px, z


def _covered(body: Body, points: Tensor, camera: Camera) -> np.ndarray:
    screen = camera.replace(cam_from_world=torch.eye(4)).screen(points)[None]
    fragments = build_rasterizer("cpu")(screen, body.topology.faces, camera.height, camera.width)
    return (fragments.face_ids[0] >= 0).numpy()


def _agreement(own: np.ndarray, theirs: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Intersection over union of two masks, for moves [M] of the first one to the right (px).

    Args:
        own: [H 2W], whose middle half lies on the other.
        theirs: [H W].
        moves: at most W / 2 px.
    """
    width = theirs.shape[1]
    shares = np.empty(len(moves))
    for index, move in enumerate(moves):
        left = width // 2 - move
        part = own[:, left : left + width]
        common = np.minimum(part, theirs).sum()
        shares[index] = common / (part.sum() + theirs.sum() - common + 1e-6)
    return shares
