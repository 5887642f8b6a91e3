"""`Body` against the smplx package, a float64 re-derivation, and its own invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from presence.bodies import JOINT_NAMES, PARENTS
from presence.bodies.joints import mirror_joint
from presence.bodies.loading import embedded_path
from presence.structures import BodyParams


def _skin_in_float64(body, params: BodyParams) -> tuple[np.ndarray, np.ndarray]:
    """SMPL's equations, joint by joint with 4 x 4 matrices, for one person."""
    arrays = np.load(embedded_path())
    directions = arrays["shapedirs"].astype(np.float64)
    rest = arrays["v_template"].astype(np.float64)
    rest = rest + directions[..., : body.num_betas] @ params.betas.double().numpy()
    expression = directions[..., 300 : 300 + body.num_expression]
    rest = rest + expression @ params.expression.double().numpy()
    joints = arrays["J_regressor"].astype(np.float64) @ rest
    world = []
    for joint, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_rotvec(params.pose[joint].double().numpy()).as_matrix()
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    translation = params.translation.double().numpy()
    posed = np.zeros_like(rest)
    for joint, transform in enumerate(world):
        moved = (rest - joints[joint]) @ transform[:3, :3].T + transform[:3, 3]
        posed += arrays["weights"][:, joint : joint + 1] * moved
    return posed + translation, np.stack([t[:3, 3] for t in world]) + translation


def test_matches_a_float64_derivation(annyx, random_params):
    params = random_params(1)[0]
    mesh = annyx(params)
    vertices, joints = _skin_in_float64(annyx, params)
    np.testing.assert_allclose(mesh.vertices.numpy(), vertices, atol=5e-6)
    np.testing.assert_allclose(mesh.joints.numpy(), joints, atol=5e-6)


def test_smplx_package_loads_the_file_and_agrees(annyx, random_params):
    smplx = pytest.importorskip("smplx", reason="the smplx package is an optional extra")
    count = 4
    reference = smplx.SMPLX(
        str(embedded_path()),
        num_betas=annyx.num_betas,
        num_expression_coeffs=annyx.num_expression,
        use_pca=False,
        flat_hand_mean=True,
        batch_size=count,
    )
    params = random_params(count, seed=3)
    with torch.no_grad():
        theirs = reference(
            betas=params.betas,
            expression=params.expression,
            global_orient=params.pose[:, 0],
            body_pose=params.pose[:, 1:22].flatten(1),
            jaw_pose=params.pose[:, 22],
            leye_pose=params.pose[:, 23],
            reye_pose=params.pose[:, 24],
            left_hand_pose=params.pose[:, 25:40].flatten(1),
            right_hand_pose=params.pose[:, 40:].flatten(1),
            transl=params.translation,
        )
    ours = annyx(params)
    assert (theirs.vertices - ours.vertices).abs().max() < 1e-5
    assert (theirs.joints[:, :55] - ours.joints).abs().max() < 1e-5
    # smplx appends its picked vertices, then the 51 face landmarks: they should lie on the face.
    landmarks = theirs.joints[:, -51:]
    face = ours.vertices[:, annyx.vertex_parts["head"]]
    assert torch.cdist(landmarks, face).amin(-1).max() < 0.02


def test_batches_of_any_rank_agree_with_single_people(annyx, random_params):
    params = random_params(4)
    square = params.map(lambda value: value.unflatten(0, (2, 2)))
    batched = annyx(square)
    assert batched.batch_shape == (2, 2)
    for index in range(4):
        single = annyx(params[index])
        torch.testing.assert_close(
            batched.vertices[index // 2, index % 2], single.vertices, atol=2e-6, rtol=0
        )


def test_rest_pose_is_the_template_and_turns_nothing(annyx):
    mesh = annyx(annyx.default_params())
    torch.testing.assert_close(mesh.vertices, annyx.v_template, atol=1e-6, rtol=0)
    identity = torch.eye(3).expand_as(mesh.skin_rotations)
    torch.testing.assert_close(mesh.skin_rotations, identity, atol=1e-5, rtol=0)


def test_joints_are_the_regressor_applied_to_the_shaped_mesh(annyx, random_params):
    params = random_params(3)
    params = params.replace(pose=torch.zeros_like(params.pose))
    mesh = annyx(params)
    regressed = annyx.joint_regressor.double() @ mesh.rest_vertices.double()
    expected = regressed + params.translation[:, None]
    torch.testing.assert_close(mesh.joints.double(), expected, atol=1e-5, rtol=0)


def test_skin_rotations_are_the_derivative_of_skinning(annyx, random_params):
    """A small rest-pose offset, carried by skin_rotations, gives the offset posed vertex."""
    params = random_params(1, seed=5)[0]
    mesh = annyx(params)
    rng = np.random.default_rng(0)
    weights = annyx.weights.double().numpy()
    world = _world_transforms(annyx, params)
    vertex, offset = 4321, rng.normal(0, 0.01, 3)
    linear = np.einsum("j,jab->ab", weights[vertex], world)
    carried = (mesh.skin_rotations[vertex].double() @ torch.as_tensor(offset)).numpy()
    np.testing.assert_allclose(carried, linear @ offset, atol=1e-7)


def _world_transforms(body, params: BodyParams) -> np.ndarray:
    world = []
    for joint, parent in enumerate(PARENTS):
        local = Rotation.from_rotvec(params.pose[joint].double().numpy()).as_matrix()
        world.append(world[parent] @ local if parent >= 0 else local)
    return np.stack(world)


def test_every_joint_moves_its_own_vertices_and_no_others(annyx):
    rest = annyx(annyx.default_params()).vertices
    descendants = {j: {j} for j in range(55)}
    for joint in reversed(range(1, 55)):
        descendants[PARENTS[joint]] |= descendants[joint]
    for joint in range(1, 55):
        pose = torch.zeros(55, 3)
        pose[joint] = torch.tensor([0.2, 0.3, 0.25])
        moved = (annyx(annyx.default_params().replace(pose=pose)).vertices - rest).norm(dim=-1)
        below = annyx.weights[:, sorted(descendants[joint])].sum(-1)
        name = JOINT_NAMES[joint]
        assert moved.max() > 0.001, f"{name} moves nothing"
        assert moved[below == 0].max() < 1e-5, f"{name} moves what it does not carry"


def test_float32_under_autocast_and_after_a_cast(annyx, random_params):
    params = random_params(2)
    expected = annyx(params).vertices
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = annyx(params)
    assert under.vertices.dtype == torch.float32
    torch.testing.assert_close(under.vertices, expected, atol=1e-6, rtol=0)
    from presence.bodies import load_body

    cast = load_body("annyx").to(torch.bfloat16)
    torch.testing.assert_close(cast(params).vertices, expected, atol=1e-6, rtol=0)


def test_gradients_reach_every_parameter(annyx, random_params):
    params = random_params(1).map(lambda value: value.clone().requires_grad_(True))
    annyx(params).vertices.square().mean().backward()
    for name in ("betas", "expression", "pose", "translation"):
        gradient = getattr(params, name).grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0, name
    for name in ("betas", "translation"):
        assert (getattr(params, name).grad != 0).all(), name


def test_gradient_of_pose_by_finite_differences(annyx):
    base = annyx.default_params()
    target = torch.randn(55, 3, generator=torch.Generator().manual_seed(1)) * 0.3
    pose = target.clone().requires_grad_(True)
    probe = torch.randn(annyx.num_vertices, 3, generator=torch.Generator().manual_seed(2))

    def value(at: torch.Tensor) -> torch.Tensor:
        return (annyx(base.replace(pose=at)).vertices.double() * probe).sum()

    value(pose).backward()
    for joint, axis in ((1, 0), (16, 2), (22, 0), (30, 1)):
        step = torch.zeros(55, 3)
        step[joint, axis] = 2e-3
        numeric = (value(target + step) - value(target - step)) / 4e-3
        assert pose.grad[joint, axis].item() == pytest.approx(numeric.item(), rel=2e-2, abs=0.05)


def test_fewer_coefficients_stand_for_zeros_and_more_are_refused(annyx):
    params = annyx.default_params()
    short = params.replace(betas=torch.ones(10), expression=torch.zeros(0))
    full = params.replace(betas=torch.cat([torch.ones(10), torch.zeros(annyx.num_betas - 10)]))
    torch.testing.assert_close(annyx(short).vertices, annyx(full).vertices)
    with pytest.raises(ValueError, match="annyx has 80 betas, got 81"):
        annyx(params.replace(betas=torch.zeros(81)))


def test_offsets_move_rest_vertices_and_leave_the_joints(annyx, random_params):
    params = random_params(3)
    generator = torch.Generator().manual_seed(5)
    offsets = 0.02 * torch.randn(3, annyx.num_vertices, 3, generator=generator)
    plain, moved = annyx(params), annyx(params.replace(offsets=offsets))
    zero = annyx(params.with_offsets(annyx.num_vertices))
    assert torch.equal(zero.vertices, plain.vertices)
    assert torch.equal(moved.joints, plain.joints)
    assert torch.equal(moved.skin_rotations, plain.skin_rotations)
    close = dict(atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.rest_vertices - plain.rest_vertices, offsets, **close)
    turned = torch.einsum("...vij,...vj->...vi", plain.skin_rotations, offsets)
    torch.testing.assert_close(moved.vertices - plain.vertices, turned, **close)
    with pytest.raises(ValueError, match="annyx has 13718 vertices, got 7 offsets"):
        annyx(params.replace(offsets=offsets[..., :7, :]))


def test_joint_tree_is_smplx_order():
    names = pytest.importorskip("smplx.joint_names", reason="smplx is an optional extra")
    theirs = [n.replace("_eye_smplhf", "_eye") for n in names.JOINT_NAMES[:55]]
    assert list(JOINT_NAMES) == theirs
    for name in JOINT_NAMES:
        assert mirror_joint(mirror_joint(name)) == name
