"""Who somebody is and what they do in each view: body parameters drawn from seeds."""

from __future__ import annotations

import numpy as np
import torch

from presence.interfaces import Body
from presence.structures import BodyParams
from presence.synthesis.draws import Array, Draws, Mask
from presence.synthesis.poses import HEAD, JAW, LEFT_EYE, NECK, draw_face, draw_pose

SHAPE_DEVIATION = 0.8
TALLEST, SHORTEST = 2.02, 1.42


def draw_shape(draws: Draws, height_direction: Array, height: float) -> Array:
    """Draws shape coefficients [B S] with a stature between `SHORTEST` and `TALLEST`.

    Args:
        draws: one stream a subject.
        height_direction: [S] metres of stature for each unit of a coefficient.
        height: stature (m) of the template.
    """
    count = len(height_direction)
    betas = draws.normal("betas", SHAPE_DEVIATION, size=count, limit=2.2)
    stature = height + betas @ height_direction
    # Inside the limits nothing changes; beyond them only the tall-short direction does.
    middle, reach = 0.5 * (TALLEST + SHORTEST), 0.5 * (TALLEST - SHORTEST)
    wanted = middle + reach * np.tanh((stature - middle) / reach)
    step = height_direction / max(float((height_direction**2).sum()), 1e-9)
    return betas + (wanted - stature)[:, None] * step


def draw_bodies(
    draws: Draws, body: Body, betas: Array, calm_legs: Array, repose: Mask, views: int
) -> BodyParams:
    """Draws each subject's parameters in each of `views` views.

    Args:
        draws: one stream a subject.
        body: the body model that the parameters are for.
        betas: [B S] shape, the same in all views.
        calm_legs: [B] 1 keeps the legs straight.
        repose: [B] whether pose and expression differ between the views.
        views: pictures of each subject.

    Returns:
        Parameters [B views ...] on the CPU.
    """
    names = tuple(getattr(body, "expression_names", ())) or ("",) * body.num_expression
    facing = np.radians(draws.normal("facing", 18.0))
    place = draws.normal("place", 0.1, size=3)
    poses: list[Array] = []
    faces: list[Array] = []
    for view in range(views):
        own = draws.scoped(f"view{view}")
        pose, expression = _posture(own, names, calm_legs)
        if view and not np.all(repose):
            keep = ~repose
            pose[keep], expression[keep] = poses[0][keep], faces[0][keep]
        poses.append(pose)
        faces.append(expression)
    pose, expression = np.stack(poses, 1), np.stack(faces, 1)
    pose[:, :, 0, 1] = facing[:, None]

    def tensor(value: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))

    return BodyParams(
        betas=tensor(np.repeat(betas[:, None], views, 1)),
        expression=tensor(expression),
        pose=tensor(pose),
        translation=tensor(np.repeat(place[:, None], views, 1)),
    )


def _posture(draws: Draws, names: tuple[str, ...], calm: Array) -> tuple[Array, Array]:
    pose = draw_pose(draws.scoped("pose"), calm_legs=calm)
    expression, jaw, gaze = draw_face(draws.scoped("face"), names)
    pose[:, JAW], pose[:, LEFT_EYE : LEFT_EYE + 2] = jaw, gaze
    # Eyes partly make up for the head's turn, as people look at the camera.
    pose[:, LEFT_EYE : LEFT_EYE + 2, 1] -= 0.35 * (pose[:, NECK, 1] + pose[:, HEAD, 1])[:, None]
    return pose, expression
