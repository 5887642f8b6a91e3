from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from presence.bodies import load_body
from presence.errors import InputError
from presence.rasterize import build_rasterizer
from presence.registry import TRACKERS
from presence.structures import Camera, Portrait
from presence.tracking.face_regions import (
    FACE_OF_POSE,
    INNER_LIPS,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_EYE,
)
from presence.tracking.landmark_renders import PersonRenderer
from presence.tracking.relaxed import relaxed_pose
from presence.tracking.shading import shade

pytest.importorskip("mediapipe", reason="the MediaPipe tracker needs the mediapipe package")


@pytest.fixture(scope="module")
def tracker():
    return TRACKERS.build(dict(type="MediaPipeTracker"))


def portrait_of(image: np.ndarray) -> Portrait:
    rgb = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    return Portrait(rgb, torch.ones(1, *rgb.shape[1:]))


@pytest.fixture(scope="module")
def astronaut():
    data = pytest.importorskip("skimage.data")
    return portrait_of(data.astronaut())


@pytest.fixture(scope="module")
def tracked(tracker, astronaut):
    return tracker.track(astronaut)


def render_person(tracker, distance: float, size: tuple[int, int]) -> np.ndarray:
    body = tracker.body
    mesh = body(body.default_params().replace(pose=relaxed_pose()))
    colors = torch.tensor([0.8, 0.6, 0.5]).expand(body.num_vertices, 3).clone()
    colors[body.vertex_parts["torso"]] = torch.tensor([0.2, 0.3, 0.7])
    target = torch.tensor([0.0, -0.15, 0.0])
    eye = torch.tensor([0.0, 0.0, distance])
    camera = Camera.look_at(eye, target, math.radians(20), *size)
    background = torch.tensor([0.6, 0.6, 0.6])
    view = shade(
        mesh, camera, body.topology, build_rasterizer("cpu"), colors, background=background
    )
    return (view.rgb.permute(1, 2, 0) * 255).byte().numpy()


def test_facial_features_of_the_astronaut_lie_under_the_mesh(tracker, tracked):
    _, tracking = tracked
    mesh = tracker.body(tracking.body)
    points = tracker.fitter.landmarks.points(tracker.body, "face", mesh)
    px, _ = tracking.camera.project(points)
    found = tracking.keypoints["face"][:, :2]
    box = (found.amax(0) - found.amin(0)).max()
    gaps = (px - found).norm(dim=-1) / box
    for region in (LEFT_EYE, RIGHT_EYE, INNER_LIPS, OUTER_LIPS):
        assert gaps[list(region)].mean() < 0.02
        assert gaps[list(region)].max() < 0.05
    for landmark in FACE_OF_POSE.values():  # pupils, eye corners, mouth corners, tip of the nose
        assert gaps[landmark] < 0.03


def test_the_astronaut_smiles_with_her_arms_down(tracker, tracked):
    _, tracking = tracked
    names = tracker.body.expression_names
    smile = [tracking.body.expression[names.index(f"mouthSmile{s}")] for s in ("Left", "Right")]
    assert min(smile) > 0.2
    joints = tracker.body(tracking.body).joints
    for shoulder, wrist in ((16, 20), (17, 21)):
        assert joints[shoulder, 1] - joints[wrist, 1] > 0.2
    assert tracking.visibility["head"] > 0.8 and tracking.visibility["lower"] < 0.2
    assert any("legs not seen" in note for note in tracking.notes)


def test_the_astronauts_mask(tracked):
    """Read off the picture: hair, face and chest are hers; flag, shuttle and helmet are not."""
    portrait, _ = tracked
    alpha = portrait.alpha[0]
    assert portrait.alpha.shape == (1, 512, 512)
    for x, y in ((220, 40), (225, 120), (150, 380), (100, 300), (250, 330)):
        assert alpha[y, x] > 0.95, (x, y)
    for x, y in ((30, 60), (330, 100), (420, 50), (420, 450), (120, 60)):
        assert alpha[y, x] < 0.05, (x, y)


def test_the_mask_of_the_picture_is_kept(tracker, astronaut, tracked):
    own = astronaut.replace(alpha=(tracked[0].alpha > 0.5).float())
    portrait, _ = tracker.track(own)
    assert torch.equal(portrait.alpha, own.alpha)


def test_correspondences_hold_on_a_rendered_head(tracker):
    """Landmarks detected on a render lie where the map says they are on the known mesh."""
    renderer = PersonRenderer(tracker.body, build_rasterizer("cpu"), seed=11)
    landmarks, errors = tracker.fitter.landmarks, []
    for _ in range(4):
        person = renderer.render("head")
        found = tracker.detector.models.face_mesh(person.image)
        assert found is not None
        points = landmarks.points(tracker.body, "face", person.mesh)
        px = person.camera.project(points)[0].numpy()
        box = np.ptp(found, axis=0).max()
        errors.append(np.linalg.norm(px - found, axis=-1) / box)
    assert np.median(errors) < 0.03
    assert np.quantile(errors, 0.9) < 0.08


def test_a_rendered_person_is_tracked_in_another_size(tracker):
    image = render_person(tracker, 6.5, (360, 480))
    small = tracker(portrait_of(image))
    large = tracker(portrait_of(image.repeat(4, 0).repeat(4, 1)))
    assert (large.camera.width, large.camera.height) == (1440, 1920)
    assert small.visibility["lower"] > 0.8
    first = small.camera.project(tracker.body(small.body).joints)[0]
    second = large.camera.project(tracker.body(large.body).joints)[0]
    assert (first - second / 4)[:22].norm(dim=-1).max() < 10


def test_from_behind_is_refused(tracker):
    with pytest.raises(InputError, match="behind"):
        tracker(portrait_of(render_person(tracker, -7.0, (480, 600))))


@pytest.mark.parametrize("kind", ["noise", "grey"])
def test_nobody_is_refused(tracker, kind):
    image = np.full((240, 320, 3), 128, np.uint8)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 255, image.shape).astype(np.uint8)
    with pytest.raises(InputError, match="nobody"):
        tracker.segment(portrait_of(image))
    with pytest.raises(InputError, match="small"):
        tracker(portrait_of(image[:16, :16]))


def test_the_largest_of_two_people_is_taken(tracker, astronaut):
    rgb = (astronaut.rgb * 255).byte().permute(1, 2, 0).numpy()
    small = np.full((512, 256, 3), 200, np.uint8)
    small[256:] = rgb[::2, ::2]
    tracking = tracker(portrait_of(np.concatenate([small, rgb], 1)))
    assert any("2 faces" in note for note in tracking.notes)
    face = tracking.keypoints["face"][:, :2].mean(0)
    assert face[0] > 256 + 150


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_body_and_a_portrait_on_the_gpu(astronaut):
    body = load_body("annyx").cuda()
    tracker = TRACKERS.build(dict(type="MediaPipeTracker"), body=body)
    portrait, tracking = tracker.track(astronaut.to("cuda"))
    assert body.v_template.is_cuda and not tracker.body.v_template.is_cuda
    assert portrait.alpha.is_cuda and not tracking.body.pose.is_cuda
    assert tracking.visibility["head"] > 0.8


def test_the_largest_face_that_has_a_body_is_taken():
    """A print on a shirt is larger than the face above it, and no body ends at it."""
    from presence.tracking.windows import Window
    from presence_plugins.trackers.mediapipe_detector import MediaPipeDetector
    from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose

    class OneBody(MediaPipeDetector):
        def _find_pose(self, image, face, *, alone):
            return body if face is real else None

    body = FoundPose(np.zeros((33, 3)), np.zeros((33, 3)), None)
    printed = FoundFace(Window(0, 50, 60, 60), 0.6, np.zeros((4, 2)))
    real = FoundFace(Window(20, 10, 20, 20), 0.8, np.zeros((4, 2)))
    image = np.zeros((100, 100, 3), np.uint8)
    assert OneBody()._find_person(image, [printed, real]) == (real, body)
    assert OneBody()._find_person(image, [printed]) == (printed, None)
    assert OneBody()._find_person(image, []) == (None, None)


def test_a_hand_in_the_picture_is_found_though_its_wrist_is_beyond_the_rim():
    """Only the whole picture shows the hand: crops about a misplaced wrist do not."""
    from presence.tracking.detection import POSE
    from presence_plugins.trackers.mediapipe_hands import find_hands
    from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
    from presence_plugins.trackers.mediapipe_models import FoundHand, FoundPose

    image = np.zeros((300, 300, 3), np.uint8)
    image[200:290, 0:60] = 255  # the hand

    class WholeHands:
        def hands(self, crop, confidence):
            whole = crop.mean() < 30 and crop.max() == 255
            if not whole:
                return []
            points = np.linspace((0.01, 0.95), (0.2, 0.7), 21) * crop.shape[1::-1]
            return [FoundHand(points, np.zeros((21, 3)), True, 0.9)]

    pose = FoundPose(np.zeros((33, 3)), np.zeros((33, 3)), None)
    pose.points[:, :2] = 150
    pose.points[POSE["right_wrist"], :2] = 900
    pose.points[POSE["left_wrist"]] = -20, 285, 0.1  # how sure the pose model is does not count
    pose.points[[POSE["left_index"], POSE["left_pinky"]]] = 0, 270, 0.9
    found = find_hands(MediaPipeLooks(WholeHands()), image, pose)
    assert set(found) == {"left"}
    assert np.allclose(found["left"].points[0], (3, 285))
    pose.points[POSE["left_wrist"], :2] = -200, 285
    assert find_hands(MediaPipeLooks(WholeHands()), image, pose) == {}
