"""The second looks at heads, and how face detector, face mesh and pose model are compared."""

import numpy as np
import pytest
import torch

from presence.bodies import load_body
from presence.tracking.detection import POSE, Detection
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_detector import MediaPipeDetector, _ending_at
from presence_plugins.trackers.mediapipe_face_points import (
    MESH_POINTS,
    belongs,
    beside,
    contradicts,
    in_profile,
    with_face,
)
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundHand, FoundPose
from presence_plugins.trackers.mediapipe_second_looks import pose_again, steady_face

IMAGE = np.zeros((100, 100, 3), np.uint8)


def standing_pose():
    """A pose with a face of 40 px about (50, 30), seen from the front."""
    points = np.zeros((33, 3))
    for name, at in {
        "right_eye": (40, 20), "right_eye_inner": (43, 20), "right_eye_outer": (37, 20),
        "left_eye": (60, 20), "left_eye_inner": (57, 20), "left_eye_outer": (63, 20),
        "nose": (50, 30), "mouth_left": (56, 40), "mouth_right": (44, 40),
        "left_shoulder": (90, 70), "right_shoulder": (10, 70),
    }.items():  # fmt: skip
        points[POSE[name], :2] = at
    return FoundPose(points, np.zeros((33, 3)), None)


def found_face(points, size=60):
    return FoundFace(Window(20, 0, size, size), 0.9, np.array(points, float))


FACE = [(40, 20), (60, 20), (50, 30), (50, 40)]  # right eye, left eye, nose, mouth


def test_without_a_mesh_the_face_detector_places_eyes_nose_and_mouth():
    pose, moved = standing_pose(), np.array(FACE) + (5, -2)
    points = with_face(pose, found_face(moved)).points
    for name, at in zip(("right_eye", "left_eye", "nose"), moved):
        assert np.allclose(points[POSE[name], :2], at)
    assert np.allclose(points[POSE["left_eye_outer"], :2], (68, 18))
    assert np.allclose(points[[POSE["mouth_left"], POSE["mouth_right"]], :2].mean(0), moved[3])
    assert np.allclose(points[POSE["left_shoulder"]], pose.points[POSE["left_shoulder"]])


def test_a_small_body_laid_on_a_large_head_is_nobodys():
    pose = standing_pose()
    assert belongs(pose, found_face(FACE))
    large = (np.array(FACE) - (50, 30)) * 4 + (50, 30)
    assert not belongs(pose, found_face(large, size=240))
    assert not belongs(pose, found_face(np.array(FACE) + (200, 0), size=10))


def test_a_mesh_beside_the_face_is_told_from_one_on_it():
    mesh = np.random.default_rng(0).uniform((30, 10), (70, 50), (478, 2))
    mesh[list(MESH_POINTS)] = FACE
    assert not beside(mesh, found_face(np.array(FACE) + (6, 0)))
    assert beside(mesh, found_face(np.array(FACE) + (20, 0)))
    assert not beside(mesh, None)


def moved(pose, by):
    points = pose.points.copy()
    points[:, :2] += by
    return FoundPose(points, pose.world, None)


def test_a_pose_that_has_the_head_elsewhere_contradicts_the_face():
    assert not contradicts(moved(standing_pose(), (12, 0)), found_face(FACE))
    assert contradicts(moved(standing_pose(), (0, 24)), found_face(FACE))


@pytest.mark.parametrize(("turn", "profile"), [(0, False), (40, False), (78, True), (-78, True)])
def test_a_turned_head_is_in_profile(turn, profile):
    """Eyes, nose and mouth of the body model, seen from far away."""
    body = load_body("annyx")
    points = LandmarkMap.load("annyx").points(body, "face", body(body.default_params()))
    points = points[list(MESH_POINTS)].double().numpy()
    angle = np.radians(turn)
    across = np.cos(angle) * points[:, 0] + np.sin(angle) * points[:, 2]
    face = found_face(np.stack([across, -points[:, 1]], -1))
    assert in_profile(face) is profile


class Looks:
    """Finds in each window what a test says."""

    def __init__(self, faces=(), poses=()):
        self.found_faces, self.found_poses, self.windows = list(faces), list(poses), []

    def faces(self, image, window):
        self.windows.append(window)
        return self.found_faces.pop(0) if self.found_faces else []

    def pose(self, image, window):
        self.windows.append(window)
        return self.found_poses.pop(0) if self.found_poses else None


def scored(points, score, by=(0, 0)):
    return FoundFace(Window(20, 0, 60, 60), score, np.array(points, float) + by)


def test_points_of_a_face_are_those_that_crops_agree_on():
    face = scored(FACE, 0.6, (30, 0))
    crops = [[scored(FACE, 0.9)], [scored(FACE, 0.8, (1, 1))], [], [scored(FACE, 0.55, (25, 25))]]
    steady = steady_face(Looks(crops), IMAGE, face)
    assert np.allclose(steady.points, FACE) and steady.score == 0.9 and steady.window == face.window
    assert steady_face(Looks(), IMAGE, face) is face
    far = FoundFace(Window(70, 70, 20, 20), 0.9, np.zeros((4, 2)))
    assert steady_face(Looks([[far]] * 5), IMAGE, face) is face


def test_another_pose_is_taken_only_where_it_agrees_with_the_face():
    face, pose = found_face(FACE), standing_pose()
    looks = Looks(poses=[moved(pose, (0, 24)), None, pose])
    assert pose_again(looks, IMAGE, face) is pose
    assert all(window.left < 0 for window in looks.windows)  # the rim is repeated around
    assert pose_again(Looks(poses=[moved(pose, (0, 24))] * 3), IMAGE, face) is None


def looked_again(mesh, pose, face, **found):
    detector = MediaPipeDetector(models=object())
    detector._looks = Looks(**found)
    return detector._look_again(IMAGE, face, mesh, pose)


def test_a_pose_beside_a_face_with_a_mesh_counts_nothing():
    mesh, pose = np.zeros((478, 2)), standing_pose()
    beside_it = moved(pose, (0, 24))
    found = looked_again(mesh, beside_it, scored(FACE, 0.9))
    assert found[0] is mesh and found[1] is None
    found = looked_again(mesh, beside_it, scored(FACE, 0.9), poses=[pose])
    assert found[0] is mesh and found[1] is pose
    found = looked_again(mesh, beside_it, scored(FACE, 0.6))  # who is right is not known
    assert found[0] is mesh and found[1] is beside_it


def test_profiles_and_faces_without_a_mesh_take_the_face_detectors_points():
    side_view = [(40, 20), (45, 20), (30, 32), (38, 42)]
    mesh, pose = np.zeros((478, 2)), standing_pose()
    for given, points in ((mesh, side_view), (None, side_view), (None, FACE)):
        none, placed = looked_again(given, pose, scored(points, 0.9))
        assert none is None
        assert np.allclose(placed.points[POSE["nose"], :2], points[2])
    assert looked_again(mesh, pose, scored(FACE, 0.9))[0] is mesh
    assert looked_again(None, pose, scored(side_view, 0.6)) == (None, pose)


def test_what_is_seen_in_a_window_comes_back_to_the_picture():
    """A single bright pixel stands for a face."""

    class Brightest:
        def faces(self, crop):
            row, column = np.unravel_index(crop[..., 0].argmax(), crop.shape[:2])
            at = np.array([column + 0.5, row + 0.5])
            return [FoundFace(Window.around(*at, 8, 8), 0.9, np.stack([at] * 4))]

    image = IMAGE.copy()
    image[30, 62] = 255
    for window in (Window.whole(image), Window(50, 20, 30, 30), Window(-40, -10, 160, 80)):
        face = MediaPipeLooks(Brightest()).faces(image, window)[0]
        assert np.allclose(face.points, (62.5, 30.5), atol=0.5)
        assert np.allclose(face.window.centre, (62.5, 30.5), atol=0.5)


def test_a_mask_looks_at_the_whole_head_without_a_mesh():
    from presence_plugins.trackers.mediapipe_segmenter import _parts, _person_window

    pose = torch.from_numpy(standing_pose().points).float()
    pose[:, 2] = 1.0
    pose[[POSE["left_ear"], POSE["right_ear"]], :2] = torch.tensor([[70.0, 25.0], [30.0, 25.0]])
    pose[11:, :2] = torch.tensor([50.0, 90.0])
    detection = Detection(100, 100, {"pose": pose})
    person = _person_window(detection)
    assert person.contains(50, 1)  # hair above the eyes
    head = _parts(person, detection)[0]
    assert head.contains(50, 2) and head.contains(50, 80)


def hand_at(x, y, *, left, score=0.95):
    """A hand of 20 px whose wrist is at (x, y)."""
    points = np.linspace((x, y), (x + 12, y - 20), 21)
    return FoundHand(points, np.zeros((21, 3)), left, score)


class Hands:
    """Finds hands in the whole picture alone."""

    def __init__(self, *hands):
        self.found = list(hands)

    def hands(self, image, window):
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
    pose = standing_pose()
    pose.points[[POSE["left_wrist"], POSE["right_wrist"]]] = [(80, 90, 0.9), (60, 90, 0.9)]
    detector = MediaPipeDetector(models=object())
    detector._looks = Hands(hand_at(80, 90, left=True), stray)
    hands = detector._find_hands(IMAGE, pose)
    assert set(hands) == sides
    ended = _ending_at(pose, hands).points
    assert np.allclose(ended[POSE["left_wrist"]], pose.points[POSE["left_wrist"]])
    if "right" in sides:
        assert np.allclose(ended[POSE["right_wrist"]], (50, 60, 0.95))
        assert ended[POSE["right_elbow"], 2] == 0


def test_without_a_first_hand_nothing_elsewhere_passes_for_one():
    pose = standing_pose()
    pose.points[[POSE["left_wrist"], POSE["right_wrist"]]] = 80, 90, 0.1
    detector = MediaPipeDetector(models=object())
    detector._looks = Hands(hand_at(50, 60, left=False))
    assert detector._find_hands(IMAGE, pose) == {}


def test_a_face_without_a_body_may_be_a_print():
    """Nothing is found about the print: the body is looked for without it."""

    class Printed(MediaPipeDetector):
        def _find_faces(self, image):
            return [scored(FACE, 0.6)]

        def _find_pose(self, image, face, *, alone):
            return standing_pose() if face is None else None

        def _find_mesh(self, image, face, pose, closer):
            return None if face is not None else np.full((478, 2), 50.0)

    detector = Printed(models=object())
    detector._looks = type("Nothing", (Looks, Hands), {"__init__": Looks.__init__, "found": []})()
    found = detector(IMAGE)
    assert {"face", "pose"} <= set(found.keypoints)
