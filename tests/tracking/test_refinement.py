from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from presence.geometry import axis_angle_to_matrix
from presence.structures import Tracking, stack
from presence.tracking.detection import POSE
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.landmarks import PointRig
from presence.tracking.measuring.scores import angle_between
from presence.tracking.refinement import (
    BatchRig,
    DenseTarget,
    FrameStates,
    RefineOptions,
    Refiner,
    gather,
    losses,
    stages_for,
)
from presence.tracking.refinement.evidence import ROWS
from presence.tracking.refinement.posing import fit_camera, seen_by_camera, turned
from presence.tracking.relaxed import JOINT


@pytest.fixture(scope="module")
def refiner(body, landmarks):
    return Refiner(body, landmarks, RefineOptions(smooth=0.0, steps=0.5))


@pytest.fixture
def pictures(body, seen):
    """Three poses of one person before one camera: states, detections, focal length."""
    people = [seen.params(0, yaw) for yaw in (0.1, 0.2, 0.3)]
    camera = seen.camera(people[0], "full")
    states = [seen_by_camera(body, Tracking(p, camera)) for p in people]
    detections = [seen.detect(p, camera) for p in people]
    return FrameStates.from_params(stack(states)), detections, float(camera.K[0, 0])


def moved(states, seed=0, size=0.08):
    """The same states with every body joint turned a little."""
    turn = torch.zeros(*states.rotations.shape[:2], 3)
    generator = torch.Generator().manual_seed(seed)
    turn[:, :22] = size * torch.randn(len(states), 22, 3, generator=generator)
    return dataclasses.replace(states, rotations=axis_angle_to_matrix(turn) @ states.rotations)


def pose_error(states, truth):
    turn = states.rotations.mT @ truth.rotations
    cosine = (turn.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.arccos(cosine.clamp(-1, 1))[:, :22].mean()


def test_batched_points_are_the_bodys_vertices(body, seen):
    people = stack([seen.params(0), seen.params(1)])
    people = people.replace(betas=people.betas[:1].expand(2, -1))
    chosen = torch.arange(0, body.num_vertices, 371)
    rig = BatchRig(body, PointRig.of_vertices(body, chosen))
    points, joints, _ = rig(FrameStates.from_params(people))
    mesh = body(people)
    assert torch.allclose(points, mesh.vertices[:, chosen], atol=1e-5)
    assert torch.allclose(joints, mesh.joints, atol=1e-5)


def test_the_camera_moves_to_the_origin_without_a_change_in_the_picture(body, seen):
    params = seen.params(2)
    camera = seen.camera(params, "half")
    before, _ = camera.project(body(params).vertices)
    own = seen_by_camera(body, Tracking(params, camera))
    after, _ = fit_camera(camera.K, camera.width, camera.height).project(body(own).vertices)
    assert torch.allclose(before, after, atol=0.05)


def test_all_stages_bring_moved_bodies_back(body, refiner, pictures):
    truth, detections, focal = pictures
    start = moved(truth)
    evidence = gather(detections, [None] * 3, 800, 800)
    found = refiner(start, evidence, focal)

    def reprojection(states):
        points, _, _ = BatchRig(body, refiner.rig)(states)
        px, _ = losses.project(points, focal, torch.tensor([400.0, 400.0]))
        gaps = (px[:, : evidence.target.shape[1]] - evidence.target).norm(dim=-1)
        return gaps[evidence.weights > 0].mean()

    assert reprojection(found) < 0.25 * reprojection(start)
    assert reprojection(found) < 2.0  # px, of a person of 640
    assert pose_error(found, truth) < pose_error(start, truth)
    assert torch.equal(found.betas, truth.betas)


def test_held_frames_stay(refiner, pictures):
    truth, detections, focal = pictures
    start = moved(truth)
    evidence = gather(detections, [None] * 3, 800, 800)
    short = Refiner(refiner.body, _map(refiner), RefineOptions(smooth=1.5, steps=0.1))
    found = short(start, evidence, focal, held=2)
    assert torch.allclose(found.rotations[:2], start.rotations[:2], atol=1e-6)
    assert torch.equal(found.translation[:2], start.translation[:2])
    assert (found.rotations[2] - start.rotations[2]).abs().max() > 1e-3


def _map(refiner):
    from presence.tracking.landmarks import LandmarkMap

    return LandmarkMap.load(refiner.body.name)


def test_wrists_say_nothing_when_hands_and_legs_are_unseen(refiner, pictures):
    """Half a body, no hand found: where the pose model puts the wrists changes nothing."""
    truth, detections, focal = pictures
    pose = detections[0].keypoints["pose"].clone()
    pose[POSE["left_knee"] :, 2] = 0.1
    wild = pose.clone()
    rows = [POSE[f"{s}_{n}"] for s in ("left", "right") for n in ("wrist", "index", "pinky")]
    wild[rows, :2] -= 150.0
    sets = [{"pose": pose}, {"pose": wild}, {"pose": wild, **_hands(detections[0])}]
    found = [
        refiner(
            moved(truth)[0:1],
            gather([dataclasses.replace(detections[0], keypoints=k)], [None], 800, 800),
            focal,
        )
        for k in sets
    ]
    wrist = [JOINT["left_elbow"], JOINT["left_shoulder"]]
    assert torch.allclose(found[0].rotations, found[1].rotations, atol=1e-5)
    assert (found[2].rotations - found[0].rotations)[:, wrist].abs().max() > 1e-3


def _hands(detection):
    return {name: detection.keypoints[name] for name in ("left_hand", "right_hand")}


def test_the_gate_says_what_an_upper_body_is(pictures):
    """Hips are seen in many half bodies; the regime map's elbows and knees decide."""
    _, detections, _ = pictures
    whole, regimes = detections[0], RegimeMap.load()

    def unsure(*names):
        pose = whole.keypoints["pose"].clone()
        pose[[POSE[f"{side}_{name}"] for name in names for side in ("left", "right")], 2] = 0.3
        return dataclasses.replace(whole, keypoints={**whole.keypoints, "pose": pose})

    shown = [whole, unsure("hip"), unsure("knee"), unsure("elbow"), None]

    def upper(regimes):
        return gather(shown, [None] * len(shown), 800, 800, regimes).upper.tolist()

    assert upper(None) == upper(regimes) == [0.0, 0.0, 1.0, 1.0, 1.0]
    for threshold, expected in ((0.2, 0.0), (0.5, 1.0)):
        moved = dataclasses.replace(regimes, seen={**regimes.seen, "lower": threshold})
        assert upper(moved)[2] == expected


def test_upper_bodies_are_brought_upright(body, refiner, pictures):
    truth, detections, focal = pictures
    lean = axis_angle_to_matrix(torch.tensor([0.35, 0.0, 0.0]))
    rotations = truth.rotations.clone()
    rotations[:, 0] = lean @ rotations[:, 0]
    start = dataclasses.replace(truth, rotations=rotations)

    def leaning(states):
        _, joints, _ = BatchRig(body, refiner.rig)(states)
        trunk = torch.nn.functional.normalize(joints[:, 12] - joints[:, 0], dim=-1)
        return torch.rad2deg(torch.arccos(trunk[:, 1])).mean()

    nothing = [None] * 3
    unseen = refiner(start, gather(nothing, nothing, 800, 800), focal)
    assert leaning(unseen) < leaning(start) - 3


def test_side_views_have_no_head_stage_and_keep_their_place(body, landmarks, refiner, pictures):
    assert [stage.name for stage in stages_for("front")] == ["body", "head", "hands"]
    assert [stage.name for stage in stages_for("side")] == ["body", "hands"]
    truth, detections, focal = pictures
    start = turned(truth[0:1], 60.0)
    found = refiner(start, gather([None], [None], 800, 800), focal, view="side")
    assert torch.equal(found.translation, start.translation)

    def across(states):
        mesh = body(states.params()[0])
        ears = landmarks.points(body, "pose", mesh)[[POSE["left_ear"], POSE["right_ear"]]]
        pairs = {"ears": ears, "shoulders": mesh.joints[[16, 17]], "hips": mesh.joints[[1, 2]]}
        view = torch.tensor([0.0, 0.0, 1.0])  # the camera looks along -z
        angles = {
            name: angle_between(first - second, view) for name, (first, second) in pairs.items()
        }
        return {name: min(angle, 180.0 - angle) for name, angle in angles.items()}

    before, after = across(start), across(found)
    for name in ("ears", "shoulders", "hips"):
        assert before[name] > 8 and after[name] < 0.6 * before[name], (name, before, after)


def test_turns_that_a_view_does_not_show_cost_more():
    """A joint in the middle of the picture, one at its rim, and one whose parent is turned."""
    from presence.tracking.refinement.refiner import _near

    joints, world = torch.zeros(1, 55, 3), torch.eye(3).repeat(1, 55, 1, 1)
    joints[..., 2] = -3.0
    joints[0, JOINT["left_hip"]] = torch.tensor([3.0, 0.0, -3.0])
    quarter = torch.tensor([0.0, torch.pi / 2, 0.0])  # takes the parent's x to the camera's -z
    world[0, JOINT["spine1"]] = axis_angle_to_matrix(quarter)
    table = [(JOINT[name], 0.1, 0.02) for name in ("pelvis", "left_hip", "spine2")]
    near = _near(table, 0.5, joints, world)[0]

    def deviations(name, *axis):
        turn = 0.1 * torch.nn.functional.normalize(torch.tensor(axis), dim=0)
        return float((near[JOINT[name]] @ turn).norm())

    assert deviations("pelvis", 0.0, 0.0, 1.0) == pytest.approx(1.0)
    assert deviations("pelvis", 1.0, 1.0, 0.0) == pytest.approx(5.0)
    assert deviations("left_hip", 1.0, 0.0, -1.0) == pytest.approx(1.0)
    assert deviations("left_hip", 1.0, 0.0, 1.0) == pytest.approx(5.0)
    assert deviations("spine2", 1.0, 0.0, 0.0) == pytest.approx(1.0, abs=1e-5)
    assert deviations("spine2", 0.0, 0.0, 1.0) == pytest.approx(5.0)
    assert deviations("left_knee", 0.0, 1.0, 0.0) == pytest.approx(0.2)


def test_legs_below_the_picture_do_not_fold_into_a_mask(body, refiner, seen):
    params = seen.params(0, 0.0)
    camera = seen.camera(params, "half")
    focal = float(camera.K[0, 0])
    states = FrameStates.from_params(seen_by_camera(body, Tracking(params, camera)).unsqueeze())
    behind = turned(states, 180.0)
    mask = _mask(body, behind, focal)
    mask[600:] = 0.0  # as where a segmenter did not look further down
    found = refiner(behind, gather([None], [mask], 800, 800), focal, view="back")
    turns = behind.rotations[0].mT @ found.rotations[0]
    degrees = torch.rad2deg(torch.arccos(((turns.diagonal(0, 1, 2).sum(-1) - 1) / 2).clamp(-1, 1)))
    legs = [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in ("hip", "knee")]
    assert float(degrees[legs].max()) < 10.0  # 24 if nothing held them
    assert float(degrees[JOINT["left_elbow"]]) > 0.1  # what is in the picture moves


def test_back_views_follow_the_mask_alone(body, refiner, pictures):
    truth, detections, focal = pictures
    behind = turned(truth[0:1], 180.0)
    mask = _mask(body, behind, focal)
    start = dataclasses.replace(behind, translation=behind.translation + torch.tensor([0.06, 0, 0]))
    found = refiner(start, gather([None], [mask], 800, 800), focal, view="back")
    garbage = dataclasses.replace(
        detections[0], keypoints={"pose": detections[0].keypoints["pose"].flip(0)}, world={}
    )
    again = refiner(start, gather([garbage], [mask], 800, 800), focal, view="back")
    assert torch.allclose(found.translation, again.translation, atol=1e-4)

    def overlap(states):
        other = _mask(body, states, focal)
        return np.minimum(mask, other).sum() / np.maximum(mask, other).sum()

    assert overlap(found) > overlap(start) + 0.05
    with pytest.raises(ValueError, match="front, side or back"):
        stages_for("above")


def _mask(body, states, focal):
    from presence.tracking.measuring.scores import mesh_mask

    K = torch.tensor([[focal, 0, 400.0], [0, focal, 400.0], [0, 0, 1]])
    vertices = body(states.params()[0]).vertices
    return mesh_mask(vertices, fit_camera(K, 800, 800), body.topology).float().numpy()


def test_mask_cost_is_the_distance_outside(refiner):
    alpha = np.zeros((100, 100), np.float32)
    alpha[:, 40:60] = 1.0
    signed = gather([None], [alpha], 100, 100).signed
    px = torch.tensor([[[50.0, 50.0], [75.0, 50.0], [85.0, 50.0], [130.0, 50.0]]])
    sigma = torch.tensor([5.0])
    costs = [
        float(losses.silhouette_cost(px[:, i : i + 1], signed, (100, 100), sigma)) for i in range(4)
    ]
    expected = [0.5 * (d / 5) ** 2 / (1 + (d / 5) ** 2 / 100) for d in (15.0, 25.0)]
    assert costs[0] == 0 and costs[3] == 0  # inside the mask; outside the picture
    assert costs[1:3] == pytest.approx(expected, rel=0.1)


def test_smoothness_is_free_for_even_motion():
    steps = torch.arange(6.0)[:, None, None]
    even = 100 + 3 * steps * torch.ones(6, 4, 2)
    depth, sigma = torch.full((6, 4), 2.0), torch.ones(6)
    assert float(losses.smoothness_cost(even, depth, 1000.0, sigma).abs().max()) < 1e-6
    shaken = even.clone()
    shaken[3] += 1.0
    cost = losses.smoothness_cost(shaken, depth, 1000.0, sigma, robust=1e6)
    assert torch.allclose(cost, torch.tensor([0.0, 0.0, 2.0, 8.0, 2.0, 0.0]))


def test_joint_refinement_steadies_noise(body, landmarks, pictures):
    truth, detections, focal = pictures
    still = FrameStates(
        truth.rotations[:1].repeat(6, 1, 1, 1),
        truth.translation[:1].repeat(6, 1),
        truth.betas,
        truth.expression[:1].repeat(6, 1),
    )
    generator = torch.Generator().manual_seed(1)
    noisy = []
    for _ in range(6):
        keypoints = {n: p.clone() for n, p in detections[0].keypoints.items()}
        keypoints["pose"][:, :2] += 4 * torch.randn(33, 2, generator=generator)
        noisy.append(dataclasses.replace(detections[0], keypoints=keypoints, world={}))
    evidence = gather(noisy, [None] * 6, 800, 800)

    def shake(smooth):
        options = RefineOptions(smooth=smooth, steps=0.4)
        found = Refiner(body, landmarks, options)(still, evidence, focal)
        _, joints, _ = BatchRig(body, PointRig.of_vertices(body, torch.arange(2)))(found)
        return (joints[2:] - 2 * joints[1:-1] + joints[:-2]).norm(dim=-1).mean()

    assert shake(1.5) < 0.6 * shake(0.0)


def test_frames_without_a_detection_weigh_nothing(pictures):
    _, detections, _ = pictures
    evidence = gather([detections[0], None], [None, np.ones((8, 8), np.float32)], 800, 800)
    assert float(evidence.weights[1].abs().max()) == 0
    assert float(evidence.bone_weights[1].abs().max()) == 0
    assert evidence.masked.tolist() == [0, 1]
    rows = ROWS["left_hand"]
    assert torch.equal(evidence.target[0, rows], detections[0].keypoints["left_hand"][:, :2])
    assert math.isfinite(float(evidence.signed.abs().max()))


def test_dense_hands_move_arms_and_fingers(body, refiner, pictures):
    """No landmark is seen, but a hand's vertices are: the hand stage brings them there."""
    truth, _, focal = pictures
    ids = body.vertex_parts["left_hand"][::10]
    rig = BatchRig(body, PointRig.of_vertices(body, ids))
    centre = torch.tensor([400.0, 400.0])
    pixels, _ = losses.project(rig(truth)[0], focal, centre)
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.15, 0.1]))
    rotations = truth.rotations.clone()
    for name in ("left_wrist", "left_index1", "left_middle1"):
        rotations[:, JOINT[name]] = turn @ rotations[:, JOINT[name]]
    start = dataclasses.replace(truth, rotations=rotations)
    nothing = gather([None] * 3, [None] * 3, 800, 800)
    target = DenseTarget(pixels, torch.tensor([1.0, 1.0, 0.0]), vertices=ids, sigma=1.0)

    def gaps(states):
        return (losses.project(rig(states)[0], focal, centre)[0] - pixels).norm(dim=-1).mean(-1)

    before = gaps(refiner(start, nothing, focal))
    after = gaps(refiner(start, nothing, focal, dense=[target]))
    assert (after[:2] < 0.4 * before[:2]).all()
    assert abs(float(after[2] - before[2])) < 0.1 * float(before[2])
