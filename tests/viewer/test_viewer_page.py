"""The page: what is inside it, and, where node or Chromium is installed, what it does."""

import base64
import json
import math
import re

import numpy as np
import pytest
import torch
from browsers import (
    block,
    loaded,
    needs_chromium,
    needs_node,
    psnr_over_white,
    run_in_node,
    screenshot,
)

from presence.io.splats import write_splat
from presence.pipeline.views import orbit
from presence.structures import Camera, Gaussians
from presence.viewer import Shot, build_page, front_shot, portrait_shot


def ball(n: int = 2000) -> Gaussians:
    """A speckled ball of 0.3 m around (0.1, 0.2, -0.1)."""
    g = torch.Generator().manual_seed(2)
    means = torch.nn.functional.normalize(torch.randn(n, 3, generator=g), dim=-1) * 0.3
    return Gaussians(
        means=means + torch.tensor([0.1, 0.2, -0.1]),
        quaternions=torch.randn(n, 4, generator=g),
        scales=0.004 + 0.02 * torch.rand(n, 3, generator=g),
        opacities=torch.rand(n, generator=g),
        colors=torch.rand(n, 3, generator=g),
    )


def camera() -> Camera:
    eye, target = torch.tensor([0.4, 0.5, 2.0]), torch.tensor([0.1, 0.15, 0.0])
    seen = Camera.look_at(eye, target, math.radians(20), 240, 200)
    return seen.cropped(15.0, -10.0, 240, 200)  # its centre is not the picture's


@pytest.fixture(scope="module")
def shot() -> Shot:
    return portrait_shot(ball(), camera())


@pytest.fixture(scope="module")
def page(shot) -> str:
    return build_page(ball(), shot, background="#102030", title="<Ball> & Co")


def test_the_page_holds_the_rows_and_needs_nothing_else(page, tmp_path):
    write_splat(ball(), tmp_path / "ball.splat")
    assert base64.b64decode(block(page, "rows")) == (tmp_path / "ball.splat").read_bytes()
    assert "<title>&lt;Ball&gt; &amp; Co</title>" in page and "background: #102030" in page
    assert "http:" not in page and "https:" not in page and "{{" not in page
    assert " src=" not in page and "<link" not in page and "import(" not in page


def test_the_first_view_is_the_camera(page, shot):
    scene = json.loads(block(page, "scene"))
    seen = camera()
    assert (scene["width"], scene["height"]) == (240, 200)
    point = torch.tensor([[0.2, 0.3, -0.2]])
    rotation = np.reshape(scene["rotation"], (3, 3))
    x, y, z = rotation @ point[0].numpy() + scene["translation"]
    px = [scene["focal"][i] * v / z + scene["centre"][i] for i, v in enumerate((x, y))]
    np.testing.assert_allclose(px, seen.project(point)[0][0], atol=1e-3)
    middle, depth = seen.project(shot.target[None])
    np.testing.assert_allclose(middle[0], [120.0, 100.0], atol=1e-2)
    assert abs(depth - seen.to_cam(torch.tensor([[0.1, 0.2, -0.1]]))[0, 2]) < 0.31


def test_the_front_view_shows_all(shot):
    front = front_shot(ball())
    px, depth = front.camera.project(ball().means)
    assert front.camera.contains(px).all() and (depth > 0).all()
    assert (px.amax(0) - px.amin(0)).max() > 0.75 * 512
    above = front.target + torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.0, 0.0]])
    up, left = front.camera.project(above)[0] - 256
    assert up[1] < -10 and left[0] > 10  # +y is up, and +x right: seen from +z


@needs_node
def test_sorting_is_by_depth_from_the_back(page, tmp_path):
    forward = [0.36, -0.48, 0.8]
    order = run_in_node(
        page,
        "(() => { const rows = readRows(), order = new Uint32Array(rows.count);"
        "const depths = new Float32Array(rows.count);"
        f"standingDepths(rows, {forward}, depths); sortByDepth(depths, order);"
        "return [...order]; })()",
    )
    write_splat(ball(), tmp_path / "ball.splat")
    words = np.frombuffer((tmp_path / "ball.splat").read_bytes(), "<f4").reshape(-1, 8)
    depth = words[:, :3].astype(np.float64) @ forward
    assert sorted(order) == list(range(2000))
    bucket = np.ptp(depth) / 65535
    assert np.diff(depth[order]).max() <= 1.01 * bucket


@needs_node
@pytest.mark.parametrize("degrees", [0.0, -50.0, 200.0])
def test_turning_is_an_orbit_about_the_target(page, shot, degrees):
    yaw = math.radians(degrees)
    given = run_in_node(page, f"(view.yaw = {yaw}, cameraOf(480, 400))")
    expected = orbit(camera(), shot.target, -degrees)
    np.testing.assert_allclose(
        np.reshape(given["rotation"], (3, 3)), expected.cam_from_world[:3, :3], atol=1e-5
    )
    np.testing.assert_allclose(given["translation"], expected.cam_from_world[:3, 3], atol=1e-5)
    K = expected.resized(480, 400).K
    np.testing.assert_allclose(given["focal"], [K[0, 0], K[1, 1]], rtol=1e-5)
    np.testing.assert_allclose(given["centre"], [K[0, 2], K[1, 2]], rtol=1e-5)


@needs_chromium
@pytest.mark.parametrize("degrees", [0.0, 70.0])
def test_the_page_draws_what_our_renderer_draws(page, shot, degrees, tmp_path):
    drawn = screenshot(page, f"view.yaw = {math.radians(degrees)}", tmp_path)
    seen = orbit(camera(), shot.target, -degrees).resized(480, 400)
    assert psnr_over_white(drawn, ball(), seen) > 45


@needs_chromium
def test_hands_on_the_page(page, tmp_path):
    """Events turn, move and bring closer."""
    code = """
      const fire = (type, more) => canvas.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, clientX: 0, clientY: 0, buttons: 1, ...more }));
      canvas.setPointerCapture = () => {};
      setTimeout(() => {
        fire("pointerdown", {}); fire("pointermove", { clientX: 50, clientY: 20 });
        fire("pointerup", {});
        canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -100 }));
        const turned = { ...view };
        fire("pointerdown", { buttons: 2 }); fire("pointermove", { clientX: 10, buttons: 2 });
        fire("pointerup", {});
        const moved = { ...view };
        canvas.dispatchEvent(new MouseEvent("dblclick"));
        document.body.textContent = "VIEWS" + JSON.stringify([turned, moved, view]) + "END";
      }, 200);
    """
    found = re.search(r"VIEWS(\[.*\])END", loaded(page, code, tmp_path))
    turned, moved, back = json.loads(found[1])
    assert turned["yaw"] > 0 and turned["pitch"] > 0 and turned["closer"] > 1
    assert moved["right"] > 0 and moved["yaw"] == turned["yaw"]
    assert back == {"yaw": 0, "pitch": 0, "closer": 1, "right": 0, "down": 0}


@needs_node
def test_the_near_side_follows_the_mouse(page, shot):
    straight = run_in_node(page, "cameraOf(480, 400)")
    dragged = run_in_node(page, "(orbit(20, 10), cameraOf(480, 400))")
    near = 0.8 * shot.target.numpy() + 0.2 * camera().position.numpy()
    before, after = (pixel(given, near) for given in (straight, dragged))
    assert after[0] > before[0] + 1 and after[1] > before[1] + 1


def pixel(given: dict, point: np.ndarray) -> np.ndarray:
    x, y, z = np.reshape(given["rotation"], (3, 3)) @ point + given["translation"]
    return np.array(given["focal"]) * [x / z, y / z] + given["centre"]
