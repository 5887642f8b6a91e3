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
# Rad that joints of a side view usually turn from the front view's pose: about the line of sight,
# which the picture shows, and about axes across it, which it hardly does. Chosen on rendered
# people of training seeds, in the front's pose and with joints moved by 10 to 15 degrees. The
# front may have been up to 20 degrees off: the pelvis turns to where the pairs are parallel.
_TURNED_NEAR = {
    ("pelvis",): (0.1, 0.5),
    ("spine1", "spine2", "spine3"): (0.03, 0.02),
    ("left_collar", "right_collar"): (0.03, 0.03),
    ("neck", "head"): (0.08, 0.04),
    ("left_hip", "right_hip"): (0.06, 0.03),
    ("left_knee", "right_knee"): (0.1, 0.04),
    ("left_ankle", "right_ankle", "left_foot", "right_foot"): (0.05, 0.03),
    ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"): (0.15, 0.06),
    ("left_wrist", "right_wrist"): (0.1, 0.1),
}


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
        near: joint, and rad that it usually turns from where it starts, about the line of sight
            and about axes across it; the others turn as `RefineOptions.near` says.
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
    near: tuple[tuple[int, float, float], ...] = ()
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
    has no head stage; a back view has its mask and the upright prior alone. Both stay near the
    front view's pose, which saw what they do not.

    Example:
        >>> [stage.name for stage in stages_for("side")]
        ['body', 'hands']
    """
    if view == FRONT:
        return _BODY, _HEAD, _HANDS
    if view == SIDE:
        near = _turned_near(1.0)
        body = dataclasses.replace(_BODY, translation=False, parallel=1.0, face_step=1, near=near)
        # A trunk that is 25 degrees off takes more than 60 steps of 0.01 rad that grow smaller.
        body = dataclasses.replace(body, expression=True, hold_unseen=True, steps=120)
        return body, dataclasses.replace(_HANDS, near=near)
    if view == BACK:
        return (
            dataclasses.replace(
                _BODY,
                joints=tuple(range(22)),
                sets={},
                coverage=1.0,
                upright_always=True,
                hold_unseen=True,
                near=_turned_near(0.5),  # a mask tells less than landmarks do
                steps=120,
            ),
        )
    raise ValueError(f"view should be front, side or back, got {view!r}")


def _turned_near(factor: float) -> tuple[tuple[int, float, float], ...]:
    return tuple(
        (JOINT_NAMES.index(name), factor * along, factor * across)
        for names, (along, across) in _TURNED_NEAR.items()
        for name in names
    )
