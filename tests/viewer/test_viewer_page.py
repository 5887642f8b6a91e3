"""The page: what is inside it, and, where node or Chromium is installed, what it does."""

import base64
import io
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from presence.io.splats import write_splat
from presence.pipeline.views import orbit
from presence.rendering import build_renderer
from presence.structures import Camera, Gaussians
from presence.viewer import Shot, build_page, front_shot, portrait_shot

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
HEADLESS = (
    "--headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --disable-background-networking --dump-dom "
    "--virtual-time-budget=10000"
).split()


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


def block(page: str, name: str) -> str:
    return re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1]


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


def run_in_node(page: str, code: str):
    """Evaluates an expression after the page's script, without a canvas to draw on."""
    blocks = {"rows": block(page, "rows"), "scene": block(page, "scene")}
    script = re.findall(r"<script>\n(.*?)</script>", page, re.DOTALL)[-1]
    stub = (
        f"const blocks = {json.dumps(blocks)};"
        "var window = {}, document = { getElementById: (id) => ({ textContent: blocks[id],"
        "getContext: () => null }) };"
    )
    program = f"{stub}\n{script}\nconsole.log(JSON.stringify({code}));"
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_sorting_is_by_depth_from_the_back(page, tmp_path):
    forward = [0.36, -0.48, 0.8]
    order = run_in_node(
        page,
        "(() => { const rows = readRows(), order = new Uint32Array(rows.count);"
        f"sortByDepth(rows, {forward}, order); return [...order]; }})()",
    )
    write_splat(ball(), tmp_path / "ball.splat")
    words = np.frombuffer((tmp_path / "ball.splat").read_bytes(), "<f4").reshape(-1, 8)
    depth = words[:, :3].astype(np.float64) @ forward
    assert sorted(order) == list(range(2000))
    bucket = np.ptp(depth) / 65535
    assert np.diff(depth[order]).max() <= 1.01 * bucket


@pytest.mark.skipif(NODE is None, reason="node is not installed")
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


def screenshot(page: str, code: str, folder) -> np.ndarray:
    """Returns [H W 4] of a canvas of 480 x 400 pixels, drawn by Chromium after some code."""
    probe = (
        '<script>canvas.style.width = "480px"; canvas.style.height = "400px";'
        f"{code}; makeDraw()(); const url = canvas.toDataURL();"
        "document.body.textContent = url;</script></body>"
    )
    path = folder / "probe.html"
    path.write_text(page.replace("</body>", probe))
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={folder / 'profile'}", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", done.stdout)
    if "cannot show the avatar: this browser" in done.stdout:
        pytest.skip("this Chromium does not offer WebGL 2")
    assert found, done.stdout[-500:] + done.stderr[-500:]
    picture = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGBA")
    return np.asarray(picture).astype(np.float64) / 255


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("degrees", [0.0, 70.0])
def test_the_page_draws_what_our_renderer_draws(page, shot, degrees, tmp_path):
    drawn = screenshot(page, f"view.yaw = {math.radians(degrees)}", tmp_path)
    assert drawn.shape == (400, 480, 4)
    over_white = drawn[..., :3] * drawn[..., 3:] + 1 - drawn[..., 3:]
    seen = orbit(camera(), shot.target, -degrees).resized(480, 400)
    ours = build_renderer("cpu")(ball(), seen, torch.ones(3)).rgb.permute(1, 2, 0).numpy()
    psnr = -10 * np.log10(np.mean((over_white - ours) ** 2))
    assert psnr > 45, psnr
