"""What each refinement stage moves and listens to (paper, Appendix C.3)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from presence.bodies.joints import JOINT_NAMES, LEFT_HAND, RIGHT_HAND

View = Literal["front", "side", "back"]
FRONT, SIDE, BACK = "front", "side", "back"
FACE_JOINTS = (22, 23, 24)
HAND_JOINTS = (*range(LEFT_HAND.start, LEFT_HAND.stop), *range(RIGHT_HAND.start, RIGHT_HAND.stop))
_ARMS = tuple(
    JOINT_NAMES.index(f"{side}_{part}")
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist")
)
_TRUNK = tuple(
    JOINT_NAMES.index(n) for n in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run of Adam.

    The paper's text does not tell the weights of Eq. 19-21: here every term counts in standard
    deviations, and the factors below are on top of that.

    Attributes:
        name: for messages.
        joints: which turn.
        translation: whether bodies move.
        betas: whether the shape changes, one for all frames.
        expression: whether expressions change.
        sets: factor on each landmark set; those that are not named do not count.
        face_step: of the facial landmarks, every so many-th is used.
        ignore_wrists: whether wrists of the body's own landmarks, and the directions of bones to
            them, count nothing where only the upper body is seen and the hand was not found.
        silhouette: factor on the mask.
        coverage: factor on filling the mask, for views without landmarks.
        upright: factor on the upright prior; where only the upper body is seen, or `always`.
        upright_always: the prior holds whatever is seen.
        parallel: factor on left-right pairs being parallel to the view direction.
        hold_unseen: limbs that end beyond the picture in the start stay near it.
        steps: of Adam.
        rate: Adam's, rad for joints.
    """

    name: str
    joints: tuple[int, ...]
    sets: dict[str, float]
    translation: bool = True
    betas: bool = False
    expression: bool = False
    face_step: int = 1
    ignore_wrists: bool = False
    silhouette: float = 0.0
    coverage: float = 0.0
    upright: float = 0.0
    upright_always: bool = False
    parallel: float = 0.0
    hold_unseen: bool = False
    steps: int = 60
    rate: float = 0.01


_BODY = Stage(
    "body",
    joints=(*range(25), *HAND_JOINTS),
    sets={"pose": 1.0, "face": 1.0, "left_hand": 1.0, "right_hand": 1.0},
    face_step=6,
    ignore_wrists=True,
    silhouette=1.0,
    upright=1.0,
)
_HEAD = Stage(
    "head",
    joints=(*_TRUNK, *FACE_JOINTS),
    sets={"pose": 1.0, "face": 1.0},
    ignore_wrists=True,
    expression=True,
    steps=50,
    rate=0.006,
)
_HANDS = Stage(
    "hands",
    joints=(*_ARMS, *HAND_JOINTS),
    sets={"pose": 1.0, "left_hand": 1.0, "right_hand": 1.0},
    translation=False,
    ignore_wrists=True,
    steps=50,
    rate=0.01,
)


def stages_for(view: View) -> tuple[Stage, ...]:
    """Returns the stages of a view.

    A side view keeps its place in the first stage, which otherwise pushes the neck forwards, and
    has no head stage; a back view has its mask and the upright prior alone.

    Example:
        >>> [stage.name for stage in stages_for("side")]
        ['body', 'hands']
    """
    if view == FRONT:
        return _BODY, _HEAD, _HANDS
    if view == SIDE:
        body = dataclasses.replace(_BODY, translation=False, parallel=1.0, face_step=1)
        # A trunk that is 25 degrees off takes more than 60 steps of 0.01 rad that grow smaller.
        body = dataclasses.replace(body, expression=True, hold_unseen=True, steps=120)
        return body, _HANDS
    if view == BACK:
        return (
            dataclasses.replace(
                _BODY,
                joints=tuple(range(22)),
                sets={},
                coverage=1.0,
                upright_always=True,
                hold_unseen=True,
                steps=120,
            ),
        )
    raise ValueError(f"view should be front, side or back, got {view!r}")
