"""Fusion and what it is made of, against bodies whose parameters are known."""

from __future__ import annotations

import math

import pytest
import torch

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Estimate,
    PartEstimate,
    PartModel,
)
from presence.tracking.fusing.chains import HEAD, WRISTS, chained, with_head
from presence.tracking.fusing.conversion import estimate_of, tracking_of
from presence.tracking.fusing.fusion import canonical, fuse
from presence.tracking.fusing.gate import CHOSEN, Choice
from presence.tracking.fusing.placing import placed, solve_translation
from presence.tracking.relaxed import JOINT, relaxed_pose

FINE = PartEstimate(0.9, True, "made", "made")


def camera_of(focal, width=640, height=480):
    K = torch.tensor([[focal, 0, width / 2 + 7], [0, focal, height / 2 - 5], [0, 0, 1.0]])
    return Camera(K, torch.eye(4), width, height)


def known(body, seed=0):
    """Somebody before a camera, in every joint a little turned."""
    generator = torch.Generator().manual_seed(seed)
    pose = relaxed_pose() + 0.25 * torch.randn(55, 3, generator=generator)
    turn = axis_angle_to_matrix(torch.tensor([math.pi, 0, 0])) @ axis_angle_to_matrix(
        torch.tensor([0.1, 0.5, -0.1])
    )
    pose[0] = matrix_to_axis_angle(turn)
    betas = 0.5 * torch.randn(body.num_betas, generator=generator)
    expression = 0.3 * torch.rand(body.num_expression, generator=generator)
    return BodyParams(betas, expression, pose, torch.tensor([0.1, 0.2, 4.0]))


def whole(params, name, space="annyx", focal=1500.0, **fields):
    return Estimate(
        params,
        camera_of(focal),
        parts=dict.fromkeys(PART_JOINTS, FINE),
        expression_space=space,
        estimator=name,
        **fields,
    )


def part_only(params, name, models, joints=(), camera=None):
    pose = torch.zeros(55, 3)
    pose[list(joints)] = params.pose[list(joints)]
    body = BodyParams(torch.zeros(0), torch.zeros(0), pose, torch.zeros(3))
    parts = dict.fromkeys(models, FINE)
    return Estimate(body, camera or camera_of(1500.0), parts=parts, models=models, estimator=name)


def model(rotation, kind, translation=(0.0, 0.0, 4.0)):
    count = 4 if kind == "flame2020" else 15
    return PartModel(
        rotation,
        torch.tensor(translation),
        camera_of(1500.0).K,
        torch.zeros(10),
        torch.zeros(0),
        torch.eye(3).repeat(count, 1, 1),
        model=kind,
    )


def choices(**names):
    return tuple(Choice(part, names.get(part, ""), "made") for part in CHOSEN)


def rigid(body, joints):
    """Vertices that move with these joints alone."""
    return (body.weights[:, list(joints)].sum(1) > 0.999).nonzero()[:, 0]


@pytest.mark.parametrize("side", ["left_hand", "right_hand"])
def test_hands_seen_in_the_camera_lie_so_on_another_arm(body, side):
    truth = known(body)
    wrist, fingers = WRISTS[side], PART_JOINTS[side]
    rotation = chained(truth.pose, wrist)
    hamer = part_only(truth, "hamer", {side: model(rotation, "mano_right")}, fingers)
    wrong = truth.pose.clone()
    wrong[[JOINT["left_elbow"], JOINT["right_elbow"], *WRISTS.values()]] += 0.4
    wrong[list(fingers)] = 0.0
    osx = whole(truth.replace(pose=wrong), "osx")
    fused = fuse(
        choices(body="osx", head="osx", face="osx", **{side: "hamer"}),
        {"osx": osx, "hamer": hamer},
        body,
    )
    expected, found, before = (body(params) for params in (truth, fused.body, osx.body))
    hand = rigid(body, (wrist, *fingers))
    assert len(hand) > 300

    def about_the_wrist(mesh):
        return mesh.vertices[hand] - mesh.joints[wrist]

    torch.testing.assert_close(about_the_wrist(found), about_the_wrist(expected), rtol=0, atol=1e-4)
    assert (about_the_wrist(before) - about_the_wrist(expected)).abs().max() > 0.02
    torch.testing.assert_close(found.joints[wrist], before.joints[wrist])  # the arm stays
    assert fused.parts[side].source == "made" and side in fused.models


def test_the_head_takes_the_rotation_of_its_own_model(body):
    truth = known(body, 1)
    flame = model(chained(truth.pose, HEAD), "flame2020")
    emica = part_only(truth, "emica", {"face": flame})
    wrong = truth.pose.clone()
    wrong[[JOINT["neck"], HEAD]] = 0.0
    osx = whole(truth.replace(pose=wrong), "osx")
    fused = fuse(
        choices(body="osx", head="emica", face="osx", left_hand="osx", right_hand="osx"),
        {"osx": osx, "emica": emica},
        body,
    )
    skull = rigid(body, (HEAD,))
    expected, found = body(truth), body(fused.body)
    torch.testing.assert_close(
        found.vertices[skull] - found.joints[HEAD],
        expected.vertices[skull] - expected.joints[HEAD],
        rtol=0,
        atol=1e-4,
    )
    torso = rigid(body, (0, 3, 6, 9))
    torch.testing.assert_close(found.vertices[torso], body(osx.body).vertices[torso])
    assert "face" in fused.models


def test_a_head_alone_turns_the_trunk_where_the_neck_cannot_and_keeps_its_place(body):
    upright = axis_angle_to_matrix(torch.tensor([math.pi, 0, 0]))
    for degrees, trunk in ((40.0, 0.0), (-110.0, -40.0)):
        turn = axis_angle_to_matrix(torch.tensor([0.0, math.radians(degrees), 0]))
        flame = model(upright @ turn, "flame2020", (0.03, -0.1, 1.5))
        emica = part_only(known(body), "emica", {"face": flame})
        fused = fuse(choices(head="emica"), {"emica": emica}, body, framing="head")
        torch.testing.assert_close(
            chained(fused.body.pose, HEAD), upright @ turn, rtol=0, atol=1e-5
        )
        chest = upright.T @ chained(fused.body.pose, 9)
        yaw = math.degrees(math.atan2(float(chest[0, 2]), float(chest[2, 2])))
        assert yaw == pytest.approx(trunk, abs=0.2)
        place = body(fused.body).joints[HEAD]
        torch.testing.assert_close(place, flame.translation, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="place"):
        fuse(choices(), {}, body)


def test_unseen_parts_are_relaxed_unless_the_estimate_holds_them(body):
    truth = known(body, 2)
    bad = PartEstimate(0.1, False, "made", "outside")
    parts = {**dict.fromkeys(PART_JOINTS, FINE), "lower": bad}
    picked = choices(body="osx", head="osx", face="osx")
    osx = whole(truth, "osx").replace(parts=parts)
    relaxed = fuse(picked, {"osx": osx}, body).body.pose
    hands = [*WRISTS.values(), *PART_JOINTS["left_hand"], *PART_JOINTS["right_hand"]]
    rest = [*hands, *PART_JOINTS["lower"]]
    torch.testing.assert_close(relaxed[rest], relaxed_pose()[rest])
    kept = [j for j in range(55) if j not in rest]
    torch.testing.assert_close(relaxed[kept], truth.pose[kept])
    sure = osx.replace(parts=dict.fromkeys(PART_JOINTS, FINE))
    legs = list(PART_JOINTS["lower"])
    for framing, expected in (("full", truth.pose), ("half", relaxed_pose())):
        fused = fuse(picked, {"osx": sure}, body, framing=framing)
        torch.testing.assert_close(fused.body.pose[legs], expected[legs])
        assert fused.parts["lower"].valid == (framing == "full")
    held = osx.replace(held=tuple(PART_JOINTS))
    torch.testing.assert_close(fuse(picked, {"osx": held}, body).body.pose, truth.pose)


def test_coefficients_of_another_body_model_are_not_taken(body):
    truth, other = known(body, 3), known(body, 4)
    smplx = other.replace(betas=torch.full((10,), 2.0), expression=torch.full((10,), 2.0))
    osx = whole(smplx, "osx", "smplx")
    own = whole(truth, "mediapipe")
    picked = choices(body="osx", head="osx", face="osx", left_hand="osx", right_hand="osx")
    fused = fuse(picked, {"osx": osx}, body, own=own, place=lambda params, camera: torch.ones(3))
    torch.testing.assert_close(fused.body.betas, truth.betas)
    torch.testing.assert_close(fused.body.expression, truth.expression)
    torch.testing.assert_close(fused.body.pose, other.pose)
    torch.testing.assert_close(fused.body.translation, torch.ones(3))
    assert any("placed by its landmarks" in note for note in fused.notes)


def test_the_canonical_camera_sees_the_persons_depth_as_before(body):
    params = known(body)
    osx = whole(params.replace(translation=torch.tensor([0.3, -0.2, 40.0])), "osx", focal=15000.0)
    osx = osx.replace(models={"face": model(torch.eye(3), "flame2020", (0.3, -0.2, 4.0))})
    fixed = canonical(osx, 20.0)
    focal = 640 / 2 / math.tan(math.radians(10))
    assert float(fixed.camera.K[0, 0]) == pytest.approx(focal, rel=1e-5)
    for estimate in (osx, fixed):  # a point at the translation's own depth
        point = estimate.body.translation + torch.tensor([0.4, 0.1, 0.0])
        px = estimate.camera.project(point[None])[0][0]
        torch.testing.assert_close(
            px, torch.tensor([327.0 + 15000 * 0.7 / 40, 235.0 - 15000 * 0.1 / 40])
        )
        head = estimate.models["face"]
        seen = head.K @ head.translation
        torch.testing.assert_close(
            seen[:2] / seen[2], torch.tensor([327.0 + 1500 * 0.3 / 4, 235.0 - 1500 * 0.2 / 4])
        )
    assert fixed.camera.K[:2, 2].tolist() == [320.0, 240.0]
    assert "Eq. 18" in fixed.notes[-1]
    assert canonical(fixed, 20.0) is fixed
    # A crop's camera comes along where the picture's is canonical already, as FLAME's tracking.
    crop = fixed.replace(models=osx.models)
    head = canonical(crop, 20.0).models["face"]
    torch.testing.assert_close(head.K, fixed.models["face"].K)
    torch.testing.assert_close(head.translation, fixed.models["face"].translation)
    assert torch.equal(canonical(crop, 20.0).body.translation, fixed.body.translation)


def test_estimates_and_trackings_show_the_same_picture(body):
    params = known(body, 5)
    estimate = whole(params, "osx")
    tracking = tracking_of(estimate, body)
    assert not tracking.body.translation.any()
    seen = estimate.camera.project(body(params).vertices)
    again = tracking.camera.project(body(tracking.body).vertices)
    torch.testing.assert_close(again[0], seen[0], rtol=0, atol=0.01)
    torch.testing.assert_close(again[1], seen[1], rtol=0, atol=1e-4)
    moved = tracking.replace(body=tracking.body.replace(translation=torch.tensor([0.2, 0.1, -1])))
    back = estimate_of(moved, body, estimate.parts, "osx")
    torch.testing.assert_close(
        back.camera.project(body(back.body).vertices)[0],
        moved.camera.project(body(moved.body).vertices)[0],
        rtol=0,
        atol=0.01,
    )
    assert back.expression_space == "annyx"


def test_a_turned_head_is_shared_by_neck_and_head_about_one_axis():
    pose = relaxed_pose()
    pose[[0, 3, 6, 9]] = torch.tensor([0.1, -0.2, 0.1])
    rotation = axis_angle_to_matrix(torch.tensor([0.4, 0.9, -0.3]))
    turned = with_head(pose, rotation, trunk_follows=False)
    torch.testing.assert_close(chained(turned, HEAD), rotation, rtol=0, atol=1e-5)
    torch.testing.assert_close(turned[JOINT["neck"]], turned[HEAD])
    others = [j for j in range(55) if j not in (JOINT["neck"], HEAD)]
    assert torch.equal(turned[others], pose[others])


def test_a_body_is_placed_by_its_landmarks(body, landmarks, seen):
    params = seen.params()
    camera = seen.camera(params, "half")
    detection = seen.detect(params, camera)
    estimate = estimate_of(
        tracking_of(whole(params, "a"), body).replace(camera=camera, body=params),
        body,
        dict.fromkeys(PART_JOINTS, FINE),
        "a",
    )
    found = placed(body, estimate.body, camera.K, landmarks, detection)
    torch.testing.assert_close(found, estimate.body.translation, rtol=0, atol=2e-3)


def test_outliers_do_not_move_the_placement():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 3, generator=generator)
    shift, K = torch.tensor([0.2, -0.3, 6.0]), camera_of(900.0).K
    placed_points = points + shift
    target = placed_points[:, :2] / placed_points[:, 2:] * 900 + K[:2, 2]
    target[:6] += 150.0
    found = solve_translation(points, target, torch.ones(60), K)
    torch.testing.assert_close(found, shift, rtol=0, atol=0.01)


def test_a_person_placed_by_a_joint_keeps_it_there(body):
    params = known(body, 6).replace(translation=torch.tensor([0.2, -0.4, 5.0]))
    multi_hmr = whole(params, "multi_hmr", anchor=HEAD)
    picked = choices(body="multi_hmr", head="multi_hmr", face="multi_hmr")
    fused = fuse(picked, {"multi_hmr": multi_hmr}, body)
    place = body(fused.body).joints[HEAD]
    torch.testing.assert_close(place, params.translation, rtol=0, atol=1e-5)
