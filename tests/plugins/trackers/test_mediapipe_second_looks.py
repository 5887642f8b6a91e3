"""The second looks at heads, and how face detector, face mesh and pose model are compared."""

import numpy as np
import pytest
import torch

from presence.bodies import load_body
from presence.errors import InputError
from presence.tracking.detection import POSE, Detection
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_arms import steady_arms
from presence_plugins.trackers.mediapipe_detector import MediaPipeDetector
from presence_plugins.trackers.mediapipe_face_points import (
    MESH_POINTS,
    belongs,
    beside,
    contradicts,
    in_profile,
    with_face,
)
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose
from presence_plugins.trackers.mediapipe_second_looks import (
    is_steady,
    pose_again,
    steady_face,
)

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
    """Finds in each window what a test says, and no hands."""

    def __init__(self, faces=(), poses=()):
        self.found_faces, self.found_poses, self.windows = list(faces), list(poses), []

    def faces(self, image, window):
        self.windows.append(window)
        return self.found_faces.pop(0) if self.found_faces else []

    def hands(self, image, window, *, turns=0, confidence=0.3):
        return []

    def pose(self, image, window, *, mirrored=False):
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
    assert pose_again(Looks(poses=[moved(pose, (0, 24))] * 6), IMAGE, face) is None


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
    detector._looks = Looks()
    found = detector(IMAGE)
    assert {"face", "pose"} <= set(found.keypoints)


def raised_arm(at, confidence=0.9):
    """The standing pose with hips in the picture and the left wrist somewhere."""
    pose = standing_pose()
    points = pose.points.copy()
    points[[POSE["left_hip"], POSE["right_hip"]], :2] = (75, 99), (25, 99)
    points[POSE["left_elbow"]] = 95, 85, 0.9
    points[POSE["left_wrist"]] = *at, confidence
    return FoundPose(points, pose.world, None)


def test_an_arm_without_a_hand_is_where_most_looks_have_it():
    """The first look imagined the wrist before the chest."""
    imagined, true = raised_arm((50, 75)), raised_arm((70, 72), 0.5)
    found = Looks(poses=[true, true, imagined, true, true])
    points = steady_arms(found, IMAGE, imagined, found_face(FACE), ["left"]).points
    wrist = points[POSE["left_wrist"]]
    assert np.allclose(wrist[:2], (70, 72))
    assert wrist[2] == pytest.approx((2 * 0.9 + 4 * 0.5) / 6 * 4 / 6)  # four of six agree
    assert np.allclose(points[POSE["left_shoulder"]], imagined.points[POSE["left_shoulder"]])
    nearby = Looks(poses=[raised_arm((51, 76))] * 5)  # the first look is as good as these
    kept = steady_arms(nearby, IMAGE, imagined, found_face(FACE), ["left"]).points
    assert np.allclose(kept, imagined.points)
    strangers = Looks(poses=[moved(true, (60, 0))] * 5)
    kept = steady_arms(strangers, IMAGE, imagined, found_face(FACE), ["left"]).points
    assert np.allclose(kept, imagined.points)


def test_arms_with_a_hand_hanging_or_of_a_head_are_not_looked_at_again():
    hanging, head = raised_arm((95, 98)), raised_arm((50, 75))
    head.points[[POSE["left_hip"], POSE["right_hip"]], 1] = 150
    for pose, sides in ((raised_arm((50, 75)), []), (hanging, ["left"]), (head, ["left"])):
        looks = Looks()
        assert steady_arms(looks, IMAGE, pose, found_face(FACE), sides) is pose
        assert not looks.windows


class Meshes:
    """Finds the next of some meshes in each window."""

    def __init__(self, *meshes):
        self.meshes = list(meshes)

    def mesh(self, image, window):
        return self.meshes.pop(0)


def test_a_mesh_counts_that_a_brighter_look_or_most_of_six_find():
    mesh = np.random.default_rng(0).uniform((30, 10), (70, 50), (478, 2))
    near, elsewhere, face = mesh + 2.0, mesh + 8.0, found_face(FACE)
    assert is_steady(Meshes(near), IMAGE, face, mesh)
    for others, steady in (([near] * 4 + [None], True), ([near] * 3 + [None, elsewhere], False)):
        assert is_steady(Meshes(elsewhere, *others), IMAGE, face, mesh) is steady
        assert is_steady(Meshes(None, *others), IMAGE, None, mesh) is steady


def test_a_pose_of_the_mirrored_picture_comes_back_with_its_sides():
    """A model that takes whatever is bright for the person's left hand."""

    class Bright:
        def pose(self, crop):
            row, column = np.unravel_index(crop[..., 0].argmax(), crop.shape[:2])
            points, world = np.zeros((33, 3)), np.zeros((33, 3))
            points[POSE["left_wrist"]] = column + 0.5, row + 0.5, 0.9
            world[POSE["left_wrist"]] = 0.3, 0.1, -0.2
            return FoundPose(points, world, None)

    image = IMAGE.copy()
    image[30, 62] = 255
    looks = MediaPipeLooks(Bright())
    for mirrored, side, across in ((False, "left", 0.3), (True, "right", -0.3)):
        pose = looks.pose(image, Window(-10, 5, 100, 80), mirrored=mirrored)
        assert np.allclose(pose.points[POSE[f"{side}_wrist"], :2], (62.5, 30.5), atol=0.1)
        assert np.allclose(pose.world[POSE[f"{side}_wrist"]], (across, 0.1, -0.2))


@pytest.mark.parametrize("mirrored", [False, True])
def test_side_views_do_without_a_face(mirrored):
    """The shoulders of somebody in profile may be either way round."""
    pose = standing_pose()
    pose.points[[POSE["left_shoulder"], POSE["right_shoulder"]], 2] = 0.9
    if mirrored:
        pose = FoundPose(pose.points * (-1, 1, 1) + (100, 0, 0), pose.world, None)

    class Faceless(MediaPipeDetector):
        def _find_faces(self, image):
            return []

        def _find_pose(self, image, face, *, alone):
            return pose

        def _find_mesh(self, image, face, pose, closer):
            return None

    detector = Faceless(models=object())
    detector._looks = Looks()
    with pytest.raises(InputError, match="from behind" if mirrored else "no face"):
        detector(IMAGE)
    found = detector.side_view(IMAGE)
    assert set(found.keypoints) == {"pose"}
    assert np.allclose(found.keypoints["pose"], pose.points)
    pose.points[:, 2] = 0.1
    with pytest.raises(InputError, match="nobody"):
        detector.side_view(IMAGE)
