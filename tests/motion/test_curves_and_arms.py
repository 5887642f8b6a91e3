import math

import pytest
import torch

from presence.bodies import load_body
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.motion import slerp
from presence.motion.arms import aim_arm, curl_fingers
from presence.motion.curves import eased_keys, periodic, pulses, smoothstep
from presence.motion.frames import FrameSheet


def test_eased_keys_pass_through_their_keys_and_rest_there():
    keys = [(0.5, 1.0), (1.0, 4.0), (2.0, -2.0)]
    time = torch.linspace(0, 3, 3001, dtype=torch.float64)
    values = eased_keys(time, keys)
    for at, value in keys:
        index = round(at * 1000)
        assert abs(values[index] - value) < 1e-9
        assert abs(values[index + 1] - values[index - 1]) < 1e-3  # no speed at a key
    assert values[0] == 1.0 and values[-1] == -2.0


def test_periodic_closes_smoothly():
    keys = [(0.0, 1.0), (0.3, 3.0), (0.7, -1.0)]
    phase = torch.linspace(-1, 2, 3001, dtype=torch.float64)
    values = periodic(phase, keys)
    torch.testing.assert_close(values[:1000], values[1000:2000], atol=1e-9, rtol=0)
    assert abs(values[1300] - 3.0) < 1e-9
    speed = values.diff()
    assert (speed[1000] - speed[999]).abs() < 1e-4  # the seam is no kink


def test_pulses_have_height_and_width():
    time = torch.linspace(0, 2, 201, dtype=torch.float64)
    values = pulses(time, [0.5, 1.5], 0.4)
    assert values[50] == 1 and values[150] == 1
    assert values[30].abs() < 1e-12 and values[100] == 0 and abs(values[40] - 0.5) < 1e-9
    assert smoothstep(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 1.0]


def test_slerp_is_scipys():
    from scipy.spatial.transform import Rotation, Slerp

    g = torch.Generator().manual_seed(0)
    start, end = torch.randn(20, 3, generator=g), torch.randn(20, 3, generator=g)
    weight = torch.rand(20, generator=g)
    result = axis_angle_to_matrix(slerp(start, end, weight))
    for i in range(20):
        pair = Rotation.from_rotvec(torch.stack([start[i], end[i]]).numpy())
        expected = Slerp([0, 1], pair)(float(weight[i])).as_matrix()
        torch.testing.assert_close(result[i], torch.tensor(expected).float(), atol=2e-5, rtol=0)
    same = slerp(start, start, weight)
    torch.testing.assert_close(
        axis_angle_to_matrix(same), axis_angle_to_matrix(start), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_aimed_arms_point_where_they_should_on_the_body(side):
    """The body's own forward kinematics is the judge."""
    body = load_body("annyx")
    out = 1.0 if side == "left" else -1.0
    names = body.joint_names
    for upper, fore in (
        ((0.3 * out, -0.9, 0.1), (0.1 * out, -0.7, 0.6)),
        ((0.8 * out, -0.4, 0.3), (0.1 * out, 1.0, 0.2)),
    ):
        u, f = torch.tensor(upper), torch.tensor(fore)
        shoulder, bend = aim_arm(u, f, side)
        pose = body.default_params().pose.clone()
        rest = body(body.default_params()).joints
        pose[names.index(f"{side}_shoulder")] = matrix_to_axis_angle(shoulder)
        pose[names.index(f"{side}_elbow")] = bend
        joints = body(body.default_params().replace(pose=pose)).joints
        chain = [names.index(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist")]
        for a, b, wanted in ((0, 1, u), (1, 2, f)):
            bone = joints[chain[b]] - joints[chain[a]]
            cosine = torch.nn.functional.cosine_similarity(bone, wanted, dim=0)
            # The rest pose's own bones leave the x axis by a few degrees.
            straight = rest[chain[b]] - rest[chain[a]]
            slack = math.acos(min(1.0, abs(float(straight[0])) / float(straight.norm())))
            assert math.acos(min(1.0, float(cosine))) < slack + 0.02
        assert torch.det(shoulder).item() == pytest.approx(1.0, abs=1e-5)
        assert bend[0] == 0 and bend[2] == 0  # elbows only bend


@pytest.mark.parametrize("side", ["left", "right"])
def test_curled_fingers_move_towards_the_palm(side):
    body = load_body("annyx")
    sheet = FrameSheet(0.1, 10)
    curl_fingers(sheet, side, 40)
    pose = sheet.motion("fist", ease=0).body.pose[0]
    params = body.default_params().replace(pose=pose)
    tip = body.joint_names.index(f"{side}_middle3")
    before, after = body(body.default_params()).joints[tip], body(params).joints[tip]
    assert after[1] < before[1] - 0.02  # the palm faces down in the T-pose
