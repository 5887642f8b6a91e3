"""A face on 40 rows of skin, a shirt below it, and arms that end where a test says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from presence.tracking.detection import POSE, Detection
from presence_plugins.trackers.mediapipe_guessed_wrists import without_guessed_wrists

SKIN, SHIRT = (224, 172, 140), (60, 90, 150)
HAND = ("wrist", "pinky", "index", "thumb")


def picture(hand=None):
    """400 x 400: skin above, the shirt from row 200 on; 60 px of `hand`'s colour at (120, 320)."""
    image = np.empty((400, 400, 3), np.uint8)
    image[:200], image[200:] = SKIN, SHIRT
    if hand is not None:
        image[290:350, 90:150] = hand
    return image


def detection(**moved):
    """A head: elbows and hips below the picture, the right wrist in it, no mesh and no hand."""
    pose = torch.tensor([200.0, 100.0, 0.99]).repeat(33, 1)
    pose[11:, 1] = 600.0
    pose[[POSE["left_shoulder"], POSE["right_shoulder"]], 1] = 250.0
    pose[[POSE[f"right_{name}"] for name in HAND]] = torch.tensor([120.0, 320.0, 0.95])
    for name, point in moved.items():
        pose[POSE[name]] = torch.tensor(point)
    return Detection(400, 400, {"pose": pose}, {})


def confidences(image, found, side="right"):
    pose = without_guessed_wrists(image, found).keypoints["pose"]
    return pose[[POSE[f"{side}_{name}"] for name in HAND], 2]


def test_a_wrist_on_the_shirt_counts_as_unseen_and_nothing_else_changes():
    before = detection()
    after = without_guessed_wrists(picture(), before).keypoints["pose"]
    changed = (after != before.keypoints["pose"]).any(1).nonzero()[:, 0].tolist()
    assert sorted(changed) == sorted(POSE[f"right_{name}"] for name in HAND)
    assert (confidences(picture(), before) < 0.35).all()
    assert float(before.keypoints["pose"][POSE["right_wrist"], 2]) == pytest.approx(0.95)


@pytest.mark.parametrize(("colour", "kept"), [(SKIN, True), ((210, 165, 138), True), (0, False)])
def test_a_wrist_of_the_face_s_colour_counts(colour, kept):
    assert (confidences(picture(colour), detection()) > 0.9).all() == kept


@pytest.mark.parametrize("hip", ["left_hip", "right_hip"])
def test_a_wrist_of_a_person_whose_hips_are_seen_counts(hip):
    assert (confidences(picture(), detection(**{hip: (200.0, 390.0, 0.1)})) > 0.9).all()


@pytest.mark.parametrize(
    ("elbow", "kept"), [((60.0, 380.0, 0.8), True), ((60.0, 380.0, 0.2), False)]
)
def test_a_wrist_that_a_seen_elbow_leads_to_counts(elbow, kept):
    assert (confidences(picture(), detection(right_elbow=elbow)) > 0.9).all() == kept


def test_a_wrist_whose_hand_was_found_counts_and_the_other_does_not():
    hand = torch.tensor([120.0, 300.0, 0.9]).repeat(21, 1)
    found = detection(left_wrist=(300.0, 320.0, 0.9))
    found = dataclasses.replace(found, keypoints={**found.keypoints, "right_hand": hand})
    assert (confidences(picture(), found) > 0.9).all()
    assert confidences(picture(), found, "left").max() < 0.35


def test_without_a_pose_there_is_nothing_to_doubt():
    alone = Detection(400, 400, {"face": torch.zeros(478, 3)}, {})
    assert without_guessed_wrists(picture(), alone) is alone
