"""Pages that play a motion pose Gaussians as `Avatar.pose` does."""

import math

import numpy as np
import pytest
import torch
from browsers import needs_chromium, needs_node, psnr_over_white, run_in_node, screenshot

from presence.bodies import load_body
from presence.geometry import quaternion_to_matrix
from presence.motion import builtin_motion, retarget
from presence.pipeline.views import orbit
from presence.structures import Avatar, Camera, Gaussians, SurfaceBinding
from presence.viewer import MovingGaussians, Shot, build_page, portrait_shot


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


def riding(body, n: int = 4000, **options) -> Avatar:
    """Gaussians on and off the surface of AnnyX; a third of them keep their orientation."""
    g = torch.Generator().manual_seed(4)
    faces = body.topology.faces
    weights = torch.rand(n, 3, generator=g)
    options = {"keep_orientation": torch.arange(n) % 3 == 0, **options}
    return Avatar(
        canonical=Gaussians(
            means=0.03 * torch.randn(n, 3, generator=g),
            quaternions=torch.randn(n, 4, generator=g),
            scales=0.004 + 0.02 * torch.rand(n, 3, generator=g),
            opacities=torch.rand(n, generator=g),
            colors=torch.rand(n, 3, generator=g),
        ),
        body=body.default_params(),
        camera=Camera.look_at(
            torch.tensor([0.5, 0.5, 6.0]), torch.zeros(3), math.radians(20), 480, 400
        ),
        binding=SurfaceBinding(
            faces[torch.randint(len(faces), (n,), generator=g)],
            weights / weights.sum(-1, keepdim=True),
            torch.rand(n, 2, generator=g),
        ),
        **options,
    )


@pytest.fixture(scope="module")
def meshes(body):
    """A wave from another heading, six frames a second."""
    params = retarget(builtin_motion("wave", 6.0), body.default_params(), body.expression_names)
    turned = params.pose.clone()
    turned[:, 0] += torch.tensor([0.2, 0.7, 0.1])
    return [body(params.replace(pose=turned)[i]) for i in range(len(turned))]


def moving_page(avatar: Avatar, meshes) -> tuple[str, Shot]:
    shot = portrait_shot(avatar.pose(meshes[0]), avatar.camera)
    return build_page(MovingGaussians.from_meshes(avatar, meshes, 6.0), shot), shot


@needs_node
def test_a_page_poses_the_vertices_and_sorts_what_rides_them(body, meshes):
    avatar, forward = riding(body), [0.36, -0.48, 0.8]
    page, _ = moving_page(avatar, meshes)
    posed, between, depths, places = run_in_node(
        page,
        "await (async () => { const motion = await readMotion(scene.motion), rows = readRows();"
        "const depths = new Float32Array(rows.count); poseVertices(motion, 4.5);"
        "const between = [...motion.posed]; poseVertices(motion, 7);"
        f"ridingDepths(motion, rows, {forward}, depths);"
        "return [[...motion.posed], between, [...depths], [...rows.floats]]; })()",
    )
    used = avatar.binding.vertex_ids.unique()
    vertices = np.reshape(posed, (-1, 8))[: len(used)]
    np.testing.assert_allclose(vertices[:, :3], meshes[7].vertices[used], atol=3e-5)
    skin = meshes[7].skin_rotations[used]
    rigid = (skin.mT @ skin - torch.eye(3)).abs().amax((1, 2)) < 1e-4  # no blend of two joints
    rotations = quaternion_to_matrix(torch.from_numpy(vertices[:, 4:]))
    assert rigid.sum() > 1000 and (rotations - skin)[rigid].abs().max() < 3e-4
    middle = (meshes[4].vertices + meshes[5].vertices)[used] / 2
    np.testing.assert_allclose(np.reshape(between, (-1, 8))[: len(used), :3], middle, atol=3e-5)
    # Rows are sorted, so Gaussians are found by their offsets.
    rows = np.reshape(places, (-1, 8))[: len(avatar.canonical.means), :3]
    number = {tuple(mean): i for i, mean in enumerate(avatar.canonical.means.numpy().tolist())}
    order = [number[tuple(row)] for row in rows.tolist()]
    expected = avatar.pose(meshes[7]).means[order] @ torch.tensor(forward)
    off = np.abs(np.array(depths) - expected.numpy())  # where rotations blend, up to 12 cm away
    assert np.quantile(off, 0.98) < 1e-3 and off.max() < 2e-2


@needs_chromium
@pytest.mark.parametrize("options", [{}, {"keep_orientation": None}, {"rotate_with_skin": False}])
def test_a_page_draws_the_frames_of_a_motion(body, meshes, options, tmp_path):
    avatar = riding(body, **options)
    page, shot = moving_page(avatar, meshes)
    drawn = screenshot(page, "moment = 7; view.yaw = 0.4", tmp_path)
    seen = orbit(avatar.camera, shot.target, -math.degrees(0.4))
    assert psnr_over_white(drawn, avatar.pose(meshes[7]), seen) > 45
    assert psnr_over_white(drawn, avatar.pose(meshes[8]), seen) < 35
