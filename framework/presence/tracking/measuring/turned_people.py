"""Rendered people with known bodies: turned away by some angle, and one person all round."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.joints import JOINT_NAMES
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.rasterize import build_rasterizer
from presence.structures import Portrait, View
from presence.synthesis.framing import Viewpoint
from presence.synthesis.people import ProceduralPeople
from presence.tracking.fusing.regimes import Framing
from presence.tracking.measuring.known_people import KnownPerson

# Height and width, px; the first seed of the framing, within the test split's range.
_SIZES = {"head": (512, 512), "half": (640, 512), "full": (768, 512)}
_FIRST = {"head": 60_000, "half": 70_000, "full": 80_000}
_FIRST_ROUND = {"head": 130_000, "half": 140_000, "full": 150_000}
_FRONT_YAW = 20.0  # degrees that a front view is off at most, either way
CAMERA_YAW = {"left": 90.0, "right": -90.0, "back": 180.0}
"""Degrees of the camera about somebody who then looks there in the picture."""
_STIRRED = (10.0, 15.0)  # degrees that a joint which moves between two views does
_SIDES = ("left", "right")
_ARMS = tuple(f"{side}_{name}" for side in _SIDES for name in ("shoulder", "elbow", "wrist"))
_LEGS = tuple(f"{side}_{name}" for side in _SIDES for name in ("hip", "knee"))
# Joint to how likely it moves from view to view.
_STIRS = {**dict.fromkeys((*_ARMS, "neck", "head"), 0.6), **dict.fromkeys(_LEGS, 0.3)}


class TurnedPeople:
    """Renders people of the test split.

    Args:
        body: the model that they are made of.
        yaws: (low, high) degrees of each range of turns, either way round.
        supersample: samples along a pixel's side.
    """

    def __init__(
        self, body: Body, yaws: list[tuple[float, float]], *, supersample: int = 2
    ) -> None:
        self.yaws = yaws
        self._maker = ProceduralPeople(body, build_rasterizer("cpu"), supersample=supersample)

    def view(self, framing: Framing, number: int, index: int) -> View:
        """Renders one person: picture with the true mask, body and camera, unbatched.

        Args:
            framing: of the picture.
            number: which range of turns.
            index: which person of that framing and range.
        """
        maker = copy.copy(self._maker)  # the anatomy behind it is shared
        maker.framings, maker.reference_yaw = {framing: 1.0}, ((1.0, *self.yaws[number]),)
        recipe = maker.draw([_FIRST[framing] + 1000 * number + index], 1)
        return maker.render(recipe, _SIZES[framing])[0, 0]


class PeopleAllRound:
    """Renders people of the test split from the front, a side and behind.

    All cameras of a person have the same lens, height, distance and place in the picture, as
    `presence.synthesis.framing` frames them; the front is up to 20 degrees off, the others not.

    Args:
        body: the model that they are made of.
        stirred: whether joints move between the views (see `stirred_pose`); else one pose is all's.
        supersample: samples along a pixel's side.
    """

    def __init__(self, body: Body, *, stirred: bool = False, supersample: int = 2) -> None:
        self.stirred = stirred
        self._maker = ProceduralPeople(
            body,
            build_rasterizer("cpu"),
            reference_yaw=((1.0, 0.0, _FRONT_YAW),),
            supersample=supersample,
        )

    def person(
        self, framing: Framing, index: int, size: tuple[int, int] | None = None
    ) -> dict[str, KnownPerson]:
        """Renders one person; the side is the left one of every other person.

        Args:
            framing: of the pictures.
            index: which person of that framing.
            size: height and width, px; None for the framing's own.

        Returns:
            "front", "left" or "right", and "back", without masks.
        """
        maker = copy.copy(self._maker)  # the anatomy behind it is shared
        maker.framings = {framing: 1.0}
        names = ("left", "back") if index % 2 == 0 else ("right", "back")
        seed = _FIRST_ROUND[framing] + index
        recipe = maker.draw([seed], 3)
        point = _as_first(recipe.viewpoint)
        yaws = [float(point.yaw[0, 0]), *(math.radians(CAMERA_YAW[name]) for name in names)]
        recipe = recipe.replace(viewpoint=point.replace(yaw=torch.tensor([yaws])))
        if self.stirred:
            pose, generator = recipe.body.pose.clone(), np.random.default_rng(seed)
            for view in (1, 2):
                pose[0, view] = stirred_pose(pose[0, view], generator)
            recipe = recipe.replace(body=recipe.body.replace(pose=pose))
        views = maker.render(recipe, size or _SIZES[framing])[0]
        return {
            name: KnownPerson(
                f"{framing}_{index}_{name}",
                framing,
                uncut(views[number].portrait),
                views[number].body,
                views[number].camera,
            )
            for number, name in enumerate(("front", *names))
        }


def stirred_pose(pose: Tensor, generator: np.random.Generator) -> Tensor:
    """Returns a pose [55 3] with joints turned by 10 to 15 degrees about random axes.

    Each joint of the arms, the neck and the head moves with probability 0.6, hips and knees 0.3.

    Args:
        pose: [55 3] axis-angle, rad.
        generator: of the choices.
    """
    pose = pose.clone()
    for name, chance in _STIRS.items():
        if generator.random() < chance:
            axis = generator.normal(size=3)
            angle = math.radians(generator.uniform(*_STIRRED))
            turn = axis_angle_to_matrix(pose.new_tensor(angle * axis / np.linalg.norm(axis)))
            joint = JOINT_NAMES.index(name)
            pose[joint] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(pose[joint]))
    return pose


def _as_first(point: Viewpoint) -> Viewpoint:
    """Returns viewpoints [B n] that are all the first one."""
    fields = {f.name: getattr(point, f.name) for f in dataclasses.fields(point)}
    return Viewpoint(**{name: v[:, :1].expand_as(v).contiguous() for name, v in fields.items()})


def uncut(portrait: Portrait) -> Portrait:
    """Returns a portrait whose alpha says nothing, as a photograph's."""
    return portrait.replace(alpha=portrait.alpha.new_ones(portrait.alpha.shape))
