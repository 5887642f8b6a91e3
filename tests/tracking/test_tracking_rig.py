from __future__ import annotations

import pytest
import torch

from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.tracking.landmarks import PointRig
from presence.tracking.rig import Active, FitRig, FitState
from presence.tracking.terms import left_jacobian_inverse


@pytest.fixture(scope="module")
def vertices(body):
    return torch.arange(0, body.num_vertices, 97)


@pytest.fixture(scope="module")
def state(body):
    torch.manual_seed(0)
    params = body.default_params().replace(
        betas=0.5 * torch.randn(body.num_betas),
        expression=torch.rand(body.num_expression),
        pose=0.4 * torch.randn(55, 3),
        translation=torch.randn(3),
    )
    return FitState.from_params(params)


def test_points_are_the_bodys_own_vertices(body, vertices, state):
    rig = FitRig(body, PointRig.of_vertices(body, vertices))
    expected = body(state.to_params()).vertices[vertices]
    assert (rig.evaluate(state).points - expected).abs().max() < 2e-6


def test_jacobian_agrees_with_finite_differences(body, vertices, state):
    rig = FitRig(body, PointRig.of_vertices(body, vertices))
    active = Active((0, 3, 12, 16, 18, 22, 40), True, (0, 3, 30), (1, 20))
    jacobian = rig.evaluate(state, active).jacobian
    step = 1e-6
    for column in range(active.size):
        unit = torch.zeros(active.size, dtype=torch.float64)
        unit[column] = step
        ahead = rig.evaluate(active.apply(state, unit)).points
        behind = rig.evaluate(active.apply(state, -unit)).points
        numeric = (ahead - behind) / (2 * step)
        assert (numeric - jacobian[..., column]).abs().max() < 1e-7
        assert numeric.abs().max() > 1e-5  # every column moves something


def test_left_jacobian_inverse_differentiates_the_logarithm():
    torch.manual_seed(1)
    angles = torch.cat([torch.randn(6, 3), 1e-5 * torch.randn(2, 3)]).double()
    jacobian = left_jacobian_inverse(angles)
    rotation, step = axis_angle_to_matrix(angles), 1e-6
    for axis in range(3):
        small = torch.zeros(3, dtype=torch.float64)
        small[axis] = step
        ahead = matrix_to_axis_angle(axis_angle_to_matrix(small) @ rotation)
        behind = matrix_to_axis_angle(axis_angle_to_matrix(-small) @ rotation)
        assert ((ahead - behind) / (2 * step) - jacobian[..., axis]).abs().max() < 1e-5


def test_state_survives_the_way_to_parameters_and_back(state):
    again = FitState.from_params(state.to_params())
    assert (again.rotations - state.rotations).abs().max() < 1e-5
    assert torch.allclose(again.betas, state.betas, atol=1e-6)
