"""Whose hands are found: at wrists, astray, in turned crops, and in pictures of heads."""

import numpy as np
import pytest

from presence.tracking.detection import POSE
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_hands import ending_at, find_hands
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundHand, FoundPose

IMAGE = np.zeros((100, 100, 3), np.uint8)


def wrists(left, right, *, hips=90):
    """A pose whose shoulders are 80 px apart, with its wrists somewhere."""
    points = np.zeros((33, 3))
    points[[POSE["left_shoulder"], POSE["right_shoulder"]], :2] = (90, 40), (10, 40)
    points[[POSE["left_hip"], POSE["right_hip"]], 1] = hips
    for side, at in (("left", left), ("right", right)):
        arm = [POSE[f"{side}_{name}"] for name in ("wrist", "elbow", "index", "pinky")]
        points[arm] = *at, 0.9
    return FoundPose(points, np.zeros((33, 3)), None)


def hand_at(x, y, *, left, score=0.95):
    """A hand of 20 px whose wrist is at (x, y)."""
    points = np.linspace((x, y), (x + 12, y - 20), 21)
    return FoundHand(points, np.zeros((21, 3)), left, score)


class Hands:
    """Finds hands in the whole picture alone."""

    def __init__(self, *hands):
        self.found = list(hands)

    def hands(self, image, window, *, turns=0, confidence=0.3):
        return self.found if window == Window.whole(image) else []


@pytest.mark.parametrize(
    ("stray", "sides"),
    [
        (hand_at(50, 60, left=False), {"left", "right"}),
        (hand_at(50, 60, left=False, score=0.7), {"left"}),  # not surely a hand
        (hand_at(50, 60, left=True), {"left"}),  # of the side that is there already
        (hand_at(30, 30, left=False), {"left"}),  # too far from where the arm may end
        (hand_at(83, 88, left=False), {"left"}),  # the first one again
    ],
)
def test_a_second_hand_may_end_where_the_pose_has_no_wrist(stray, sides):
    """The pose model has the right wrist near the left hand."""
    pose = wrists((80, 90), (60, 90))
    hands = find_hands(Hands(hand_at(80, 90, left=True), stray), IMAGE, pose)
    assert set(hands) == sides
    ended = ending_at(pose, hands).points
    assert np.allclose(ended[POSE["left_wrist"]], pose.points[POSE["left_wrist"]])
    if "right" in sides:
        assert np.allclose(ended[POSE["right_wrist"]], (50, 60, 0.95))
        assert ended[POSE["right_elbow"], 2] == 0


def test_without_a_first_hand_nothing_elsewhere_passes_for_one():
    pose = wrists((80, 90), (80, 90))
    assert find_hands(Hands(hand_at(50, 60, left=False)), IMAGE, pose) == {}


class Turned:
    """Finds hands in turned crops, in so many looks each."""

    def __init__(self, *hands_and_looks):
        self.left = [[hand, times] for hand, times in hands_and_looks]

    def hands(self, image, window, *, turns=0, confidence=0.3):
        found = []
        for entry in self.left if turns else []:
            if entry[1] > 0:
                found.append(entry[0])
                entry[1] -= 1
        return found


AT_WRIST, ASTRAY, FAR = (82, 88), (60, 70), (20, 30)


@pytest.mark.parametrize(
    ("hand", "looks", "found"),
    [
        (hand_at(*AT_WRIST, left=True, score=0.6), 3, True),
        (hand_at(*AT_WRIST, left=True, score=0.6), 2, False),  # two looks may be wrong alike
        (hand_at(*AT_WRIST, left=False, score=0.6), 3, True),  # where it ends says more
        (hand_at(*ASTRAY, left=True), 3, True),
        (hand_at(*ASTRAY, left=True, score=0.8), 3, False),  # not surely a hand
        (hand_at(*ASTRAY, left=False), 3, False),  # another's
        (hand_at(*FAR, left=True), 3, False),
    ],
)
def test_a_hand_that_turned_crops_agree_on(hand, looks, found):
    """The right wrist lies beyond the picture."""
    pose = wrists((80, 90), (-60, 90))
    assert set(find_hands(Turned((hand, looks)), IMAGE, pose)) == ({"left"} if found else set())


def test_turned_crops_do_not_show_the_other_hand_again():
    pose = wrists((80, 90), (70, 90))
    hand = hand_at(80, 90, left=True)
    found = find_hands(Turned((hand, 12)), IMAGE, pose)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("hips", "score", "side"),
    [(150, 0.95, "right"), (150, 0.6, "left"), (90, 0.95, "left")],
)
def test_in_a_picture_of_a_head_the_hand_model_knows_whose_hand_it_is(hips, score, side):
    """A right hand where the pose has the left wrist: the hips are in the picture, or far below."""
    pose = wrists((80, 90), (-60, 90), hips=hips)
    found = find_hands(Hands(hand_at(80, 90, left=False, score=score)), IMAGE, pose)
    assert set(found) == {side}
    # A hand counts by the model's score on its own side, and less on the other.
    assert found[side].score == pytest.approx(score if side == "right" else 0.75 - score / 2)


def test_hands_of_turned_crops_come_back_to_the_picture():
    """A bright pixel stands for the wrist, and the way to a dimmer one for a direction."""

    class Pixels:
        def hands(self, crop, confidence):
            at = [
                np.array(np.unravel_index((crop[..., c]).argmax(), crop.shape[:2]))[::-1] + 0.5
                for c in (0, 1)
            ]
            points = np.stack([at[0]] + [at[1]] * 20)
            world = np.column_stack([(points - at[0]) / 100, np.full(21, 0.7)])
            return [FoundHand(points, world, True, confidence)]

    image = IMAGE.copy()
    image[30, 62, 0] = image[44, 71, 1] = 255
    for window in (Window.whole(image), Window(40, 10, 60, 60), Window(30, 20, 70, 40)):
        for turns in range(4):
            (hand,) = MediaPipeLooks(Pixels()).hands(image, window, turns=turns, confidence=0.1)
            assert np.allclose(hand.points[:2], [(62.5, 30.5), (71.5, 44.5)], atol=0.5)
            direction = hand.world[1, :2] / np.linalg.norm(hand.world[1, :2])
            assert direction @ np.array([9, 14]) / np.hypot(9, 14) > 0.99
            assert hand.world[1, 2] == 0.7 and hand.score == 0.1
