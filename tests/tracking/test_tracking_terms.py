from __future__ import annotations

import pytest
import torch

from presence.structures import Camera
from presence.tracking.landmarks import PointRig
from presence.tracking.relaxed import JOINT, joint_limits, pose_sigma, relaxed_pose
from presence.tracking.rig import Active, FitRig, FitState
from presence.tracking.solver import Term, minimize
from presence.tracking.terms import (
    PinholeView,
    bound_term,
    coefficient_term,
    direction_term,
    joint_limit_term,
    pose_prior_term,
)

ACTIVE = Active((0, 4, 18), True, (0, 2), (5,))


@pytest.fixture(scope="module")
def rig(body):
    return FitRig(body, PointRig.of_vertices(body, torch.tensor([10, 900, 4000, 9000])))


@pytest.fixture(scope="module")
def state(body):
    torch.manual_seed(2)
    pose = relaxed_pose() + 0.3 * torch.randn(55, 3)
    pose[4, 0] = -0.5  # a knee bent the wrong way
    params = body.default_params().replace(
        pose=pose,
        expression=torch.full((body.num_expression,), 1.2),
        translation=torch.tensor([0.1, 0.2, -4.0]),
    )
    return FitState.from_params(params)


def terms_of(rig):
    view = PinholeView(900.0, torch.tensor([320.0, 240.0], dtype=torch.float64))
    starts, ends = torch.eye(4, dtype=torch.float64)[:2], torch.eye(4, dtype=torch.float64)[2:]
    target = torch.nn.functional.normalize(torch.ones(2, 3, dtype=torch.float64), dim=-1)
    ones = torch.ones(2, dtype=torch.float64)
    mean, sigma = relaxed_pose().double(), pose_sigma().double()
    limits = joint_limits().double()

    def projected(state, active):
        px, jacobian, _ = view.project(rig.evaluate(state, active))
        return Term(px, jacobian, torch.ones(4, dtype=torch.float64))

    def start(active, name):
        return 0 if active is None else getattr(active, name)

    return {
        "projection": projected,
        "direction": lambda s, a: direction_term(
            rig.evaluate(s, a), starts, ends, target, ones, 0.2
        ),
        "prior": lambda s, a: pose_prior_term(s, a, mean, sigma, torch.ones(55).double()),
        "limits": lambda s, a: joint_limit_term(s, a, limits),
        "betas": lambda s, a: coefficient_term(
            s.betas, a, ACTIVE.betas, start(a, "beta_start"), torch.ones(len(s.betas)).double()
        ),
        "bounds": lambda s, a: bound_term(
            s.expression, a, ACTIVE.expression, start(a, "expression_start"), 0.03
        ),
    }


@pytest.mark.parametrize("name", ["projection", "direction", "prior", "limits", "betas", "bounds"])
def test_every_term_differentiates_its_residuals(rig, state, name):
    term = terms_of(rig)[name]
    jacobian, step = term(state, ACTIVE).jacobian, 1e-6
    assert jacobian.abs().max() > 0
    for column in range(ACTIVE.size):
        unit = torch.zeros(ACTIVE.size, dtype=torch.float64)
        unit[column] = step
        ahead = term(ACTIVE.apply(state, unit), None).residuals
        behind = term(ACTIVE.apply(state, -unit), None).residuals
        numeric = (ahead - behind) / (2 * step)
        scale = 1 + jacobian.abs().max()
        assert (numeric - jacobian[..., column]).abs().max() < 1e-6 * scale


def test_view_projects_as_the_camera_does(rig, state):
    points = rig.evaluate(state)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    K = torch.tensor([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
    expected, depth = Camera(K, pose, 640, 480).project(points.points.float())
    view = PinholeView(900.0, torch.tensor([320.0, 240.0], dtype=torch.float64))
    px, _, z = view.project(points)
    assert (px - expected).abs().max() < 1e-3
    assert (z - depth).abs().max() < 1e-5


def test_solver_finds_the_translation_and_ignores_an_outlier(rig, state):
    """Three points agree on a shift and the fourth does not: a robust fit follows the three."""
    active = Active((), True)
    shift = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    target = rig.evaluate(state).points + shift
    target[3] += 5.0

    def objective(robust):
        def terms(current, chosen):
            points = rig.evaluate(current, chosen)
            weights = torch.ones(4, dtype=torch.float64)
            residuals = (points.points - target) / 0.1
            jacobian = None if points.jacobian is None else points.jacobian / 0.1
            return [Term(residuals, jacobian, weights, robust)]

        return terms

    robust = minimize(objective(10.0), state, active, iterations=50)
    plain = minimize(objective(None), state, active, iterations=50)
    assert (robust.translation - state.translation - shift).norm() < 0.01
    expected = shift + 5.0 / 4  # the mean of all four
    assert (plain.translation - state.translation - expected).norm() < 1e-3


def test_limits_are_open_at_rest_and_mirrored():
    low, high = joint_limits()
    relaxed = relaxed_pose()
    assert ((relaxed >= low) & (relaxed <= high)).all()
    left, right = JOINT["left_elbow"], JOINT["right_elbow"]
    assert torch.equal(low[left, 1:], -high[right, 1:])
    assert torch.equal(low[left, 0], low[right, 0])
