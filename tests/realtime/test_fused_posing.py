"""Posing by kernels beside the body model and `Avatar.pose_reference`."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from presence.bodies import load_body
from presence.geometry import matrix_to_quaternion
from presence.realtime.posing import BodyPoser, can_fuse, jump_table, pose_fused
from presence.structures import Avatar, Camera, Gaussians, SurfaceBinding
from presence.testing.toy_bodies import SphereBody

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def check_body(device):
    """Vertices, quaternions and joints of strong poses, bodies of one shape."""
    torch.manual_seed(0)
    body = load_body("annyx").to(device)
    params = body.default_params((2,))
    pose = torch.randn(2, 55, 3) * 0.5
    pose[0, :5] = torch.tensor([[0.0] * 3, [3.1, 0, 0], [0, 3.1, 0], [0, 0, 3.1], [1e-6, 0, 0]])
    betas = torch.randn(body.num_betas).expand(2, -1)
    params = dataclasses.replace(
        params,
        betas=betas.to(device),
        expression=torch.rand(2, body.num_expression).to(device) * 0.5,
        pose=pose.to(device),
        translation=torch.randn(2, 3).to(device),
    )
    check_poser(body, params)
    offsets = 0.02 * torch.randn(body.num_vertices, 3).to(device)
    check_poser(body, params.replace(offsets=offsets.expand(2, -1, -1)))


def check_poser(body, params):
    """The kernels beside the plain body, for one person in several poses."""
    person = params[0]
    mesh = body(params)
    rows, joints = BodyPoser(body, person.betas, person.offsets)(params)
    close = dict(atol=5e-6, rtol=0)
    torch.testing.assert_close(rows[..., :3], mesh.vertices, **close)
    torch.testing.assert_close(joints, mesh.joints, **close)
    wanted, found = matrix_to_quaternion(mesh.skin_rotations), rows[..., 4:]
    # Strongly blended matrices lie between two formulas, and q and -q are one rotation.
    alike = (wanted * found).sum(-1).abs() > 1 - 1e-5
    assert alike.float().mean() > 0.999


def make_avatar(batch, points, device, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*batch, *shape, generator=generator).to(device)

    body = SphereBody(rings=12, segments=20).to(device)
    vertices = body.topology.num_vertices
    binding = SurfaceBinding(
        torch.randint(vertices, (points, 3), generator=generator).to(device),
        torch.softmax(torch.randn(points, 3, generator=generator), -1).to(device),
        torch.zeros(points, 2, device=device),
    )
    gaussians = Gaussians(
        0.1 * normal(points, 3),
        F.normalize(normal(points, 4), dim=-1),
        normal(points, 3).exp(),
        normal(points).sigmoid(),
        normal(points, 3).sigmoid(),
    )
    params = body.default_params(batch)
    camera = Camera(
        torch.eye(3, device=device).expand(*batch, 3, 3),
        torch.eye(4, device=device).expand(*batch, 4, 4),
    )
    mesh = body(params)
    turns = torch.linalg.qr(normal(vertices, 3, 3))[0]
    turns = turns * torch.linalg.det(turns)[..., None, None]
    return Avatar(gaussians, params, camera, binding), mesh.replace(skin_rotations=turns)


def check_points(batch, points, device):
    """Gaussians on meshes whose vertices turn at random, so that blends are far from trivial."""
    avatar, mesh = make_avatar(batch, points, device)
    for chosen in (avatar, avatar.replace(rotate_with_skin=False)):
        wanted, found = chosen.pose_reference(mesh), pose_fused(chosen, mesh)
        assert found.batch_shape == batch
        torch.testing.assert_close(found.means, wanted.means, atol=2e-5, rtol=1e-4)
        error = (found.quaternions - wanted.quaternions).abs().amax(-1)
        assert (error < 1e-4).float().mean() > 0.999  # blends near zero lose their digits
        assert torch.equal(found.colors, wanted.colors)


@torch.no_grad()
def check_kept(device):
    """Gaussians that keep their orientation still turn their offset."""
    avatar, mesh = make_avatar((2,), 60, device)
    keep = (torch.arange(60) % 3 == 0).to(device)

    class Kept:  # an avatar with one field more
        canonical, binding, rotate_with_skin = avatar.canonical, avatar.binding, True
        batch_shape, keep_orientation = avatar.batch_shape, keep

    found, turned = pose_fused(Kept, mesh), pose_fused(avatar, mesh)
    assert torch.equal(found.means, turned.means)
    assert torch.equal(found.quaternions[:, ~keep], turned.quaternions[:, ~keep])
    torch.testing.assert_close(
        found.quaternions[:, keep], avatar.canonical.quaternions[:, keep], atol=1e-6, rtol=0
    )


def check_gradients(batch, points, device):
    """Gradients to offsets, orientations and what is passed on, for own and shared avatars."""
    avatar, mesh = make_avatar(batch, points, device)
    names = ("means", "quaternions", "scales")

    def gradients(pose, avatar, weights):
        leaves = {n: getattr(avatar.canonical, n).clone().requires_grad_() for n in names}
        posed = pose(avatar.replace(canonical=avatar.canonical.replace(**leaves)), mesh)
        total = sum((getattr(posed, n) * weights[n]).sum() for n in names)
        return torch.autograd.grad(total, list(leaves.values()))

    weights = {n: torch.randn_like(getattr(avatar.canonical, n)) for n in names}
    shared = avatar[(0,) * len(batch)] if batch else avatar
    many = shared.map(lambda value: value.expand(*batch, *value.shape))
    for fused, plain in ((avatar, avatar), (shared, many)):
        for rotate in (True, False):
            given = [a.replace(rotate_with_skin=rotate) for a in (fused, plain)]
            found = gradients(pose_fused, given[0], weights)
            wanted = gradients(Avatar.pose_reference, given[1], weights)
            for got, right, name in zip(found, wanted, names, strict=True):
                if plain is many and batch:
                    right = right.flatten(0, len(batch) - 1).sum(0)
                error = (got - right).abs().flatten(0, -2).amax(-1)
                assert got.shape == right.shape
                assert (error < 1e-3).float().mean() > 0.99, name  # blends near zero
                assert (right != 0).any()


CASES = [((), 130), ((1,), 1), ((2, 2), 77)]


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "points"), [*CASES, ((8,), 20_011)])
def test_points_on_the_gpu(batch, points):
    check_points(batch, points, "cuda")


@needs_gpu
@pytest.mark.gpu
def test_body_on_the_gpu():
    check_body("cuda")
    check_kept("cuda")


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "points"), CASES)
def test_gradients_on_the_gpu(batch, points):
    check_gradients(batch, points, "cuda")


@needs_gpu
@pytest.mark.gpu
def test_pose_takes_the_kernel_unless_gradients_reach_the_mesh():
    avatar, mesh = make_avatar((2,), 50, "cuda")
    assert can_fuse(avatar, mesh)
    vertices = mesh.vertices.clone().requires_grad_()
    moved = mesh.replace(vertices=vertices)
    assert not can_fuse(avatar, moved)
    avatar.pose(moved).means.square().sum().backward()
    assert (vertices.grad != 0).any()


def test_in_the_interpreter(run_interpreted):
    run_interpreted(
        "import test_fused_posing as tests\n"
        "from presence.realtime import posing\n"
        "for case in tests.CASES: tests.check_points(*case, 'cpu')\n"
        "for case in tests.CASES: tests.check_gradients(*case, 'cpu')\n"
        "tests.check_kept('cpu')\n"
        "posing.BLOCK = 2048  # fewer programs: the interpreter runs one after another\n"
        "tests.check_body('cpu')"
    )


def test_jumps_double():
    chain = [-1, *range(12)]
    table = jump_table(chain, 16)
    assert table.shape == (4, 16)
    for step, row in enumerate(table.tolist()):
        assert row == [max(j - 2**step, -1) if j < 13 else -1 for j in range(16)]
    with pytest.raises(ValueError, match="13 joints"):
        jump_table(chain, 8)
