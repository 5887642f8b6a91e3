"""Plausible poses by recipe: what each limb is doing, then angles within that recipe's limits."""

from __future__ import annotations

import numpy as np

from presence.synthesis.draws import Array, Draws
from presence.synthesis.rotations import about, chain, mirrored, to_axis_angle

NUM_JOINTS = 55
SPINE, NECK, HEAD = (3, 6, 9), 12, 15
LEFT_ARM, RIGHT_ARM = (13, 16, 18, 20), (14, 17, 19, 21)  # collar, shoulder, elbow, wrist
LEFT_LEG, RIGHT_LEG = (1, 4, 7), (2, 5, 8)  # hip, knee, ankle
JAW, LEFT_EYE, RIGHT_EYE = 22, 23, 24
LEFT_HAND, RIGHT_HAND = 25, 40  # first of 15: index, middle, pinky, ring, thumb

# Each row: weight; then ranges (degrees) of lowering from the T-pose, forward swing, inward
# twist of the upper arm, and elbow bend. The commonest real case, arms down, weighs most.
ARM_RECIPES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.56, (66, 79, -12, 12, -12, 22, 4, 28)),  # hanging
    (0.08, (35, 62, -10, 15, -15, 20, 3, 30)),  # held away from the body
    (0.11, (52, 74, 5, 40, -25, 35, 55, 118)),  # gesturing
    (0.1, (62, 76, 8, 26, 28, 62, 68, 102)),  # hands together before the body
    (0.05, (44, 58, -18, 2, 40, 66, 72, 98)),  # hand on the hip
    (0.04, (45, 70, 38, 68, 8, 40, 112, 142)),  # hand near the face
    (0.03, (-35, 25, -10, 25, -25, 25, 5, 75)),  # raised
    (0.03, (20, 75, -20, 60, -30, 45, 5, 120)),  # anything
)


def draw_pose(draws: Draws, *, calm_legs: Array) -> Array:
    """Draws joint rotations without the jaw, eyes and global orientation.

    Args:
        draws: one stream a subject and view.
        calm_legs: [B] in 0..1; 1 keeps the legs straight (skirts and dresses).

    Returns:
        [B 55 3] axis-angle, rad.
    """
    pose = np.zeros((len(draws), NUM_JOINTS, 3))
    _torso(pose, draws.scoped("torso"))
    _arms(pose, draws.scoped("arms"))
    _legs(pose, draws.scoped("legs"), calm_legs)
    pose[:, LEFT_HAND : LEFT_HAND + 15] = _hand(draws.scoped("left_hand"))
    pose[:, RIGHT_HAND : RIGHT_HAND + 15] = mirrored(_hand(draws.scoped("right_hand")))
    return pose


def _torso(pose: Array, draws: Draws) -> None:
    bend = draws.normal("bend", 7.0) + np.where(draws.chance("leans", 0.1), 10.0, 0.0)
    side, turn = draws.normal("side", 4.0), draws.normal("turn", 7.0)
    share = np.radians(np.stack([bend, turn, side], -1)) / len(SPINE)
    for joint in SPINE:
        pose[:, joint] = share
    wide = np.where(draws.chance("looks away", 0.2), 2.2, 1.0)
    nod, yaw, tilt = (draws.normal(k, s) * wide for k, s in (("nod", 7), ("yaw", 13), ("tilt", 5)))
    rotation = to_axis_angle(
        chain(
            about(1, np.radians(yaw) / 2),
            about(0, np.radians(nod) / 2),
            about(2, np.radians(tilt) / 2),
        )
    )
    pose[:, NECK] = rotation - share * 0.6  # people keep their head upright when they lean
    pose[:, HEAD] = rotation - share * 0.6


def _arms(pose: Array, draws: Draws) -> None:
    weights = [weight for weight, _ in ARM_RECIPES]
    table = np.asarray([ranges for _, ranges in ARM_RECIPES])
    first = draws.choice("recipe", weights)
    other = draws.choice("other recipe", weights)
    second = np.where(draws.chance("symmetric", 0.62), first, other)
    for side, (joints, recipe) in enumerate(((LEFT_ARM, first), (RIGHT_ARM, second))):
        own = draws.scoped(f"{side}")
        limits = table[recipe]
        lower, swing, twist, elbow = (
            np.radians(own.uniform(name, limits[:, 2 * k], limits[:, 2 * k + 1]))
            for k, name in enumerate(("lower", "swing", "twist", "elbow"))
        )
        collar = np.radians(own.normal("shrug", 4.0)) - 0.06 * lower
        arm = np.zeros((len(draws), 4, 3))
        arm[:, 0] = to_axis_angle(
            chain(about(1, np.radians(own.normal("roll", 4.0))), about(2, collar))
        )
        arm[:, 1] = to_axis_angle(
            chain(about(0, -swing), about(2, -lower - collar), about(0, twist))
        )
        turn = np.radians(own.uniform("forearm", -45.0, 35.0))
        arm[:, 2] = to_axis_angle(chain(about(1, -elbow), about(0, 0.5 * turn)))
        arm[:, 3] = np.radians(own.normal("wrist", 9.0, size=3))
        arm[:, 3, 0] += 0.5 * turn
        pose[:, list(joints)] = arm if side == 0 else mirrored(arm)


def _legs(pose: Array, draws: Draws, calm: Array) -> None:
    active = 1.0 - 0.75 * np.asarray(calm, dtype=np.float64)
    walking = draws.chance("walks", 0.22)
    stride = np.where(walking, draws.uniform("stride", 8.0, 32.0), 0.0)
    stride = stride * np.where(draws.chance("left first", 0.5), 1.0, -1.0) * active
    for side, joints in enumerate((LEFT_LEG, RIGHT_LEG)):
        own = draws.scoped(f"{side}")
        swing = (stride if side == 0 else -stride) + own.normal("swing", 4.0) * active
        knee = np.abs(own.normal("knee", 7.0)) + np.maximum(-swing, 0.0) * own.uniform(
            "k", 0.4, 1.3
        )
        spread = own.uniform("spread", -1.0, 8.0) * (0.4 + 0.6 * active)
        leg = np.zeros((len(draws), 3, 3))
        leg[:, 0] = to_axis_angle(
            chain(
                about(0, np.radians(-swing)),
                about(2, np.radians(spread)),
                about(1, np.radians(own.uniform("toe out", -4.0, 16.0))),
            )
        )
        leg[:, 1, 0] = np.radians(knee * active + 1.0)
        leg[:, 2, 0] = np.radians(np.clip(swing - knee, -18.0, 18.0) * 0.5 + own.normal("a", 3.0))
        pose[:, list(joints)] = leg if side == 0 else mirrored(leg)


def _hand(draws: Draws) -> Array:
    """Returns [B 15 3] for a left hand: a common curl, less for the index, own noise for each."""
    curl = np.radians(
        draws.mixture("curl", ((0.65, 8, 32), (0.15, 0, 10), (0.12, 30, 60), (0.08, 60, 85)))
    )
    fingers = np.zeros((len(draws), 5, 3, 3))
    share = np.array([0.8, 1.0, 1.15, 1.08])  # index, middle, pinky, ring
    bend = curl[:, None] * share * (1.0 + draws.normal("bend", 0.15, size=4))
    points = draws.chance("points", 0.05)
    bend[:, 0] = np.where(points, 0.1, bend[:, 0])
    fingers[:, :4, :, 2] = -bend[:, :, None] * np.array([0.9, 1.1, 0.7])
    spread = np.radians(draws.uniform("spread", -2.0, 8.0))[:, None] * np.array(
        [1.0, 0.2, -1.3, -0.6]
    )
    fingers[:, :4, 0, 1] = -spread
    thumb = curl * 0.45
    fingers[:, 4, 0] = np.stack([thumb * 0.5, -thumb * 0.2, -thumb * 0.3], -1)
    fingers[:, 4, 1:, 1] = -(thumb * draws.uniform("thumb", 0.2, 1.2))[:, None]
    return fingers.reshape(len(draws), 15, 3)


def draw_face(draws: Draws, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Draws a facial expression with jaw and gaze.

    Args:
        draws: one stream a subject and view.
        names: the body's expression names; ARKit's are drawn by recipe, others kept small.

    Returns:
        Expression [B E], jaw [B 3] and gaze [B 2 3] (left, right), rad.
    """
    value = {name: np.zeros(len(draws)) for name in names}

    def put(stem: str, amount: Array, skew: float = 0.15) -> None:
        for name in names:
            if name in (stem, f"{stem}Left", f"{stem}Right"):
                own = 1.0 + draws.normal(f"skew {name}", skew) * (name != stem)
                value[name] = np.clip(value[name] + amount * own, 0.0, 1.0)

    for name in names:
        value[name] = np.maximum(draws.normal(f"own {name}", 0.06), 0.0)
    mood = draws.choice("mood", (0.34, 0.28, 0.14, 0.08, 0.08, 0.08))
    force = draws.uniform("force", 0.15, 0.9)

    def when(kind: int, scale: float = 1.0) -> Array:
        return np.where(mood == kind, force * scale, 0.0)

    put("mouthSmile", when(1, 0.9) + when(2, 1.0))
    put("cheekSquint", when(1, 0.4) + when(2, 0.7))
    put("eyeSquint", when(2, 0.5) + when(1, 0.2))
    put("mouthUpperUp", when(2, 0.45))
    put("mouthLowerDown", when(2, 0.3))
    put("browInnerUp", when(3, 0.9) + when(5, 0.5))
    put("browOuterUp", when(3, 0.8))
    put("eyeWide", when(3, 0.5))
    put("browDown", when(4, 0.9))
    put("mouthFrown", when(4, 0.5) + when(5, 0.4))
    put("mouthPucker", when(5, 0.6))
    blink = np.where(draws.chance("blinks", 0.06), draws.uniform("blink", 0.4, 1.0), 0.0)
    put("eyeBlink", np.maximum(blink, draws.uniform("lids", 0.0, 0.18)), 0.05)
    talking = np.where(draws.chance("talks", 0.2), draws.uniform("open", 1.0, 9.0), 0.0)
    jaw = np.zeros((len(draws), 3))
    jaw[:, 0] = np.radians(talking + when(2, 5.0) + when(3, 6.0))
    gaze = np.radians(draws.normal("gaze", 7.0, size=2))
    eyes = np.zeros((len(draws), 2, 3))
    eyes[:, :, 0], eyes[:, :, 1] = 0.6 * gaze[:, :1], gaze[:, 1:]
    return (
        np.stack([value[name] for name in names], -1) if names else np.zeros((len(draws), 0)),
        jaw,
        eyes,
    )
