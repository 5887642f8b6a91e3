"""Drawn poses: rotations against scipy, and what limbs do once a body takes the pose."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from presence.synthesis.draws import Draws
from presence.synthesis.poses import draw_face, draw_pose
from presence.synthesis.rotations import about, chain, mirrored, to_axis_angle

RANDOM = np.random.default_rng(0)


def test_rotations_agree_with_scipy():
    angles = RANDOM.uniform(-3, 3, (50, 3))
    ours = to_axis_angle(chain(about(0, angles[:, 0]), about(2, angles[:, 1]),
                               about(1, angles[:, 2])))  # fmt: skip
    theirs = Rotation.from_euler("XZY", angles).as_rotvec()
    assert np.allclose(Rotation.from_rotvec(ours).as_matrix(),
                       Rotation.from_rotvec(theirs).as_matrix(), atol=1e-9)  # fmt: skip


def test_mirroring_conjugates_with_the_reflection():
    vector = RANDOM.normal(size=(20, 3))
    flip = np.diag([-1.0, 1.0, 1.0])
    expected = flip @ Rotation.from_rotvec(vector).as_matrix() @ flip
    assert np.allclose(Rotation.from_rotvec(mirrored(vector)).as_matrix(), expected)


@pytest.fixture(scope="module")
def posed(people):
    draws = Draws(range(400))
    pose = draw_pose(draws, calm_legs=np.zeros(400))
    params = people.body.default_params((400,))
    joints = []
    for start in range(0, 400, 50):
        rows = slice(start, start + 50)
        part = params[rows].replace(pose=torch.from_numpy(pose[rows]).float())
        joints.append(people.body(part).joints)
    return torch.cat(joints)


def test_hanging_arms_are_the_commonest(posed):
    shoulder, elbow, wrist = posed[:, 16], posed[:, 18], posed[:, 20]
    down = torch.nn.functional.normalize(elbow - shoulder, dim=-1)[:, 1] < -0.85
    forearm = torch.nn.functional.normalize(wrist - elbow, dim=-1)[:, 1] < -0.75
    hanging = (down & forearm).float().mean()
    assert 0.35 < hanging < 0.75


def test_elbows_and_knees_bend_the_human_way(posed):
    for shoulder, elbow, wrist in ((16, 18, 20), (17, 19, 21)):
        upper = posed[:, elbow] - posed[:, shoulder]
        fore = posed[:, wrist] - posed[:, elbow]
        straight = torch.nn.functional.normalize(upper, dim=-1) * fore.norm(dim=-1, keepdim=True)
        # Where the upper arm hangs, the bent forearm comes forward.
        hangs = torch.nn.functional.normalize(upper, dim=-1)[:, 1] < -0.9
        bent = (fore - straight).norm(dim=-1) > 0.05
        assert ((fore - straight)[hangs & bent, 2] > 0).float().mean() > 0.95
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        thigh = torch.nn.functional.normalize(posed[:, knee] - posed[:, hip], dim=-1)
        shin = torch.nn.functional.normalize(posed[:, ankle] - posed[:, knee], dim=-1)
        assert ((shin - thigh)[:, 2] < 0.08).all()


def test_calm_legs_are_straighter():
    draws = Draws(range(200))
    calm = draw_pose(draws, calm_legs=np.ones(200))[:, [1, 2, 4, 5]]
    free = draw_pose(draws, calm_legs=np.zeros(200))[:, [1, 2, 4, 5]]
    assert np.abs(calm).mean() < 0.7 * np.abs(free).mean()


def test_faces_stay_in_range_and_differ():
    names = ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "other")
    expression, jaw, gaze = draw_face(Draws(range(300)), names)
    assert expression.min() >= 0 and expression.max() <= 1
    assert 0.1 < (expression[:, 0] > 0.2).mean() < 0.7
    assert jaw[:, 0].min() >= 0 and jaw[:, 0].max() < np.radians(25)
    assert np.abs(gaze).max() < np.radians(35)
    # A smile has two sides, nearly alike.
    assert np.corrcoef(expression[:, 0], expression[:, 1])[0, 1] > 0.9
