"""Rotation conversions against scipy, normals against a sphere."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from presence import geometry
from presence.testing.toy_bodies import SphereBody


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    random = 3 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    length = random.norm(dim=-1, keepdim=True)
    random = random / length * length.clamp_max(3.1)
    near_half_turn = math.pi * (1 - 1e-9) * torch.eye(3, dtype=torch.float64)
    return torch.cat([random, torch.zeros(1, 3), 1e-6 * torch.ones(1, 3), near_half_turn])


def test_axis_angle_to_matrix_and_quaternion(vectors):
    truth = Rotation.from_rotvec(vectors.numpy())
    np.testing.assert_allclose(geometry.axis_angle_to_matrix(vectors), truth.as_matrix(), atol=1e-9)
    ours = geometry.axis_angle_to_quaternion(vectors).numpy()
    theirs = truth.as_quat(scalar_first=True)
    np.testing.assert_allclose(np.abs((ours * theirs).sum(-1)), 1.0, atol=1e-9)


def test_matrix_to_quaternion_and_back_to_vectors(vectors):
    truth = Rotation.from_rotvec(vectors.numpy())
    matrices = torch.tensor(truth.as_matrix())
    quaternion = geometry.matrix_to_quaternion(matrices)
    assert (quaternion[..., 0] >= 0).all()
    np.testing.assert_allclose(geometry.quaternion_to_matrix(quaternion), matrices, atol=1e-6)
    again = Rotation.from_rotvec(geometry.matrix_to_axis_angle(matrices).numpy())
    assert (again.inv() * truth).magnitude().max() < 1e-6


def test_quaternion_products_and_rotation(vectors):
    left = geometry.axis_angle_to_quaternion(vectors)
    right = left.flip(0)
    product = Rotation.from_rotvec(vectors.numpy()) * Rotation.from_rotvec(vectors.flip(0).numpy())
    composed = geometry.quaternion_to_matrix(geometry.quaternion_multiply(left, right))
    np.testing.assert_allclose(composed, product.as_matrix(), atol=1e-9)
    points = torch.randn(len(vectors), 3, dtype=torch.float64)
    expected = Rotation.from_rotvec(vectors.numpy()).apply(points.numpy())
    np.testing.assert_allclose(geometry.quaternion_rotate(left, points), expected, atol=1e-9)


def test_six_numbers_are_the_first_two_columns(vectors):
    matrices = geometry.axis_angle_to_matrix(vectors)
    six = torch.cat([2.0 * matrices[..., 0], matrices[..., 1] + 0.3 * matrices[..., 0]], -1)
    torch.testing.assert_close(geometry.rotation_6d_to_matrix(six), matrices, atol=1e-7, rtol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-3, 1.0])
def test_gradient_of_the_exponential_map_is_smooth_at_zero(scale):
    vector = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64) * scale
    assert torch.autograd.gradcheck(geometry.axis_angle_to_matrix, vector.requires_grad_())


def test_vertex_normals_point_outwards_on_a_sphere():
    body = SphereBody(rings=40, segments=80)
    normals = geometry.vertex_normals(body.template, body.topology.faces)
    outward = torch.nn.functional.normalize(body.template, dim=-1)
    away_from_poles = body.template[:, 1].abs() < 0.48
    assert (normals * outward).sum(-1)[away_from_poles].min() > 0.999
