"""Whose hands MediaPipe sees: looked for about each wrist, and again from all sides."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.tracking.detection import POSE, hips_far_below
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundHand, FoundPose

_WINDOWS = (1.0, 1.5, 2.2)  # sizes of crops about a wrist, in turn until a hand is found
_AGAIN = (2.2, 3.2, 4.5)  # of those that are looked at in four turns where none was
_TURNS = 4
_LOW = 0.15  # the palm detector's threshold for these; that looks agree says more
_AGREE = 3  # looks that must show the same hand
_SIDED = 0.8  # share of them that must agree on whose hand it is
_SAME = 0.25  # hands so many sizes apart are one
_RIM = 1.3  # the picture grown so much holds the wrists whose hands are looked for
_SURE, _ASTRAY = 0.85, 2.5  # of a hand that ends at no wrist: score; sizes from the wrist
_ENDS, _ENDS_AGAIN = 0.5, 0.6  # sizes from the wrist up to which a hand ends there
_OTHER = {"left": "right", "right": "left"}
_POSE_OF_HAND = {"wrist": 0, "thumb": 2, "index": 5, "pinky": 17}


def find_hands(looks: MediaPipeLooks, image: np.ndarray, pose: FoundPose) -> dict[str, FoundHand]:
    """Looks around each wrist; a hand belongs to the wrist that it ends at.

    The pose model is often unsure of a wrist whose hand is in plain view, so its confidence
    does not count. A wrist may lie beyond the picture's rim and its fingers within. Then the
    whole picture is looked at: hands of half bodies and heads are large, and their wrists'
    places unsure. A second one may be where the pose has no wrist, where arms cross or a hand
    is before the face; where there is none, hair and folds may look like a hand. Last, wide
    crops about a wrist are looked at in four turns, less strictly, for the hand that they agree on.
    """
    picture = Window.whole(image).scaled(_RIM)
    wrists = {side: _wrist(pose, side) for side in ("left", "right")}
    wrists = {side: wrist for side, wrist in wrists.items() if picture.contains(*wrist)}
    found: dict[str, tuple[float, FoundHand]] = {}
    for factor in _WINDOWS:
        for side in wrists:
            if side not in found:
                _assign(looks.hands(image, _hand_window(pose, side, factor)), wrists, found)
    if len(found) < len(wrists):
        hands = looks.hands(image, Window.whole(image))
        _assign(hands, wrists, found)
        if len(found) == 1:
            ((side, (_, first)),) = found.items()
            found |= _stray(hands, first, _OTHER[side], pose)
    result = {side: hand for side, (_, hand) in found.items()}
    if hips_far_below(pose.points, image.shape[0]):
        result = _on_its_side(result)
    for side in wrists:
        if side not in result:
            hand = _steady_hand(looks, image, pose, side, result.get(_OTHER[side]))
            result |= {} if hand is None else {side: hand}
    return result


def ending_at(pose: FoundPose, hands: dict[str, FoundHand]) -> FoundPose:
    """Lets arms end at their hands: of one that ends elsewhere, wrist and elbow were misplaced."""
    points = pose.points.copy()
    for side, hand in hands.items():
        if np.linalg.norm(_wrist(pose, side) - hand.points[0]) > _size(hand):
            for name, index in _POSE_OF_HAND.items():
                points[POSE[f"{side}_{name}"]] = *hand.points[index], hand.score
            points[POSE[f"{side}_elbow"], 2] = 0.0
    return dataclasses.replace(pose, points=points)


def _assign(
    hands: list[FoundHand], wrists: dict[str, np.ndarray], found: dict[str, tuple[float, FoundHand]]
) -> None:
    """Gives hands to the wrists where they fit best; `found` keeps each side's best so far."""
    for hand in hands:
        reach = np.linalg.norm(hand.points[9] - hand.points[0]) + _size(hand)
        costs = {}
        for side, wrist in wrists.items():
            agrees = hand.is_left == (side == "left")
            offset = float(np.linalg.norm(hand.points[0] - wrist) / reach)
            if offset < _ENDS:
                # The model's opinion on the side is a hint; where the hand ends says more.
                costs[side] = offset + (0.0 if agrees else 0.3 * hand.score)
        for side in sorted(costs, key=lambda side: costs[side])[:1]:
            if side not in found or costs[side] < found[side][0]:
                found[side] = costs[side], _scored_as(hand, side)


def _stray(
    hands: list[FoundHand], first: FoundHand, side: str, pose: FoundPose
) -> dict[str, tuple[float, FoundHand]]:
    """The hand that the model surely takes for the one of a side, though it ends at no wrist.

    On 533 people of training seeds four such hands were true, at most 2.3 of their sizes from the
    pose's wrist; hair and folds that pass for a hand lie at 3 and more.
    """
    others = [
        hand
        for hand in hands
        if hand.is_left == (side == "left")
        and hand.score > _SURE
        and _distance(hand, first) > 0.5
        and _from_wrist(hand, pose, side) < _ASTRAY
    ]
    return {side: (0.0, max(others, key=lambda hand: hand.score))} if others else {}


def _on_its_side(hands: dict[str, FoundHand]) -> dict[str, FoundHand]:
    """Moves a single hand to the side that the hand model surely takes it for.

    In pictures of heads, where the pose model does not know whose arm it is: the hand model did
    in 35 of 35.
    """
    if len(hands) != 1:
        return hands
    ((side, hand),) = hands.items()
    if hand.is_left == (side == "left") or hand.score > _against(_SURE):
        return hands
    return {_OTHER[side]: dataclasses.replace(hand, score=(0.75 - hand.score) / 0.5)}


def _steady_hand(
    looks: MediaPipeLooks,
    image: np.ndarray,
    pose: FoundPose,
    side: str,
    other: FoundHand | None,
) -> FoundHand | None:
    """The hand that several wide and turned crops about a wrist show alike, apart from the other.

    It counts where it ends at the wrist, or else where the model surely takes it for this side's
    and it is no nearer to the other wrist.
    """
    windows = [_hand_window(pose, side, factor) for factor in _AGAIN]
    agreed = _agreed(_turned_looks(looks, image, windows, [] if other is None else [other]))
    if agreed is None:
        return None
    hand, sided = agreed
    away = _from_wrist(hand, pose, side)
    surely = hand.is_left == (side == "left") and _is_sure(hand, sided) and away < _ASTRAY
    surely = surely and (other is not None or away < _from_wrist(hand, pose, _OTHER[side]))
    return _scored_as(hand, side) if away < _ENDS_AGAIN or surely else None


def _turned_looks(
    looks: MediaPipeLooks, image: np.ndarray, windows: list[Window], known: list[FoundHand]
) -> list[FoundHand]:
    """All hands in windows looked at in four turns, but for the known ones."""
    return [
        hand
        for window in windows
        for turns in range(_TURNS)
        for hand in looks.hands(image, window, turns=turns, confidence=_LOW)
        if all(_distance(hand, other) > 0.5 for other in known)
    ]


def _agreed(hands: list[FoundHand]) -> tuple[FoundHand, float] | None:
    """The hand that most looks show alike, and how far they agree on its side: 0.5 to 1."""
    if len(hands) < _AGREE:
        return None
    near = np.array([[_distance(one, two) < _SAME for two in hands] for one in hands])
    chosen = int(near.sum(1).argmax())
    alike = [hand for hand, is_near in zip(hands, near[chosen]) if is_near]
    if len(alike) < _AGREE:
        return None
    left = float(np.mean([hand.is_left for hand in alike]))
    hand = dataclasses.replace(
        hands[chosen],
        points=np.median([hand.points for hand in alike], 0),
        is_left=left >= 0.5,
        score=float(np.mean([hand.score for hand in alike])),
    )
    return hand, max(left, 1.0 - left)


def _is_sure(hand: FoundHand, sided: float) -> bool:
    return sided > _SIDED and hand.score > _SURE


def _scored_as(hand: FoundHand, side: str) -> FoundHand:
    """A hand whose side the model has otherwise counts the less, the surer it is of that."""
    if hand.is_left == (side == "left"):
        return hand
    return dataclasses.replace(hand, score=_against(hand.score))


def _against(score: float) -> float:
    return 0.75 - 0.5 * score


def _wrist(pose: FoundPose, side: str) -> np.ndarray:
    return pose.points[POSE[f"{side}_wrist"], :2]


def _size(hand: FoundHand) -> float:
    return float(np.ptp(hand.points, 0).max())


def _distance(hand: FoundHand, other: FoundHand) -> float:
    """Mean distance of their landmarks in sizes of the first."""
    return float(np.linalg.norm(hand.points - other.points, axis=-1).mean() / _size(hand))


def _from_wrist(hand: FoundHand, pose: FoundPose, side: str) -> float:
    return float(np.linalg.norm(hand.points[0] - _wrist(pose, side)) / _size(hand))


def _hand_window(pose: FoundPose, side: str, factor: float) -> Window:
    names = (f"{side}_wrist", f"{side}_index", f"{side}_pinky", f"{side}_elbow")
    wrist, index, pinky, elbow = (pose.points[POSE[name], :2] for name in names)
    knuckles = (index + pinky) / 2
    shoulders = pose.points[[POSE["left_shoulder"], POSE["right_shoulder"]], :2]
    reach = max(
        np.linalg.norm(knuckles - wrist),
        0.35 * np.linalg.norm(elbow - wrist),
        0.2 * np.linalg.norm(np.subtract(*shoulders)),
    )
    size = 3.6 * factor * float(reach)
    x, y = wrist + 1.1 * (knuckles - wrist)
    return Window.around(x, y, size, size)
