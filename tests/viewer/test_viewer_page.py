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

from presence.bodies import load_body
from presence.geometry import quaternion_to_matrix
from presence.io.splats import write_splat
from presence.motion import builtin_motion, retarget
from presence.pipeline.views import orbit
from presence.rendering import build_renderer
from presence.structures import Avatar, Camera, Gaussians, SurfaceBinding
from presence.viewer import MovingGaussians, Shot, build_page, front_shot, portrait_shot

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
HEADLESS = (
    "--headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader "
    "--force-prefers-reduced-motion "  # motions wait to be played
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
    blocks = {name: block(page, name) for name in ("rows", "scene", "binding", "frames")}
    script = re.findall(r"<script>\n(.*?)</script>", page, re.DOTALL)[-1]
    stub = (
        f"const blocks = {json.dumps(blocks)};"
        "var window = {}, document = { getElementById: (id) => ({ textContent: blocks[id],"
        "getContext: () => null }) };"
    )
    program = f"{stub}\n{script}\n(async () => console.log(JSON.stringify({code})))();"
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
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
        f"{code};"
        "(async () => { makeDraw(scene.motion && await readMotion(scene.motion))();"
        "document.body.textContent = canvas.toDataURL(); })();</script></body>"
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
    seen = orbit(camera(), shot.target, -degrees).resized(480, 400)
    assert psnr_over_white(drawn, ball(), seen) > 45


def psnr_over_white(drawn: np.ndarray, gaussians: Gaussians, seen: Camera) -> float:
    """dB between a picture [H W 4] and what the CPU renderer draws."""
    assert drawn.shape == (seen.height, seen.width, 4) and drawn[..., 3].mean() > 0.02
    over_white = drawn[..., :3] * drawn[..., 3:] + 1 - drawn[..., 3:]
    ours = build_renderer("cpu")(gaussians, seen, torch.ones(3)).rgb.permute(1, 2, 0).numpy()
    return float(-10 * np.log10(np.mean((over_white - ours) ** 2)))


# ---- Motions ----


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


@pytest.mark.skipif(NODE is None, reason="node is not installed")
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


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("options", [{}, {"keep_orientation": None}, {"rotate_with_skin": False}])
def test_a_page_draws_the_frames_of_a_motion(body, meshes, options, tmp_path):
    avatar = riding(body, **options)
    page, shot = moving_page(avatar, meshes)
    drawn = screenshot(page, "moment = 7; view.yaw = 0.4", tmp_path)
    seen = orbit(avatar.camera, shot.target, -math.degrees(0.4))
    assert psnr_over_white(drawn, avatar.pose(meshes[7]), seen) > 45
    assert psnr_over_white(drawn, avatar.pose(meshes[8]), seen) < 35


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_hands_on_the_page(page, tmp_path):
    """Events turn, move and bring closer; what is nearer than the target follows the mouse."""
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
    path = tmp_path / "hands.html"
    path.write_text(page.replace("</body>", f"<script>{code}</script></body>"))
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={tmp_path / 'profile'}", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "cannot show the avatar: this browser" in done.stdout:
        pytest.skip("this Chromium does not offer WebGL 2")
    turned, moved, back = json.loads(re.search(r"VIEWS(\[.*\])END", done.stdout)[1])
    assert turned["yaw"] > 0 and turned["pitch"] > 0 and turned["closer"] > 1
    assert moved["right"] > 0 and moved["yaw"] == turned["yaw"]
    assert back == {"yaw": 0, "pitch": 0, "closer": 1, "right": 0, "down": 0}


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_near_side_follows_the_mouse(page, shot):
    straight = run_in_node(page, "cameraOf(480, 400)")
    dragged = run_in_node(page, "(orbit(20, 10), cameraOf(480, 400))")
    near = 0.8 * shot.target.numpy() + 0.2 * camera().position.numpy()
    before, after = (pixel(given, near) for given in (straight, dragged))
    assert after[0] > before[0] + 1 and after[1] > before[1] + 1


def pixel(given: dict, point: np.ndarray) -> np.ndarray:
    x, y, z = np.reshape(given["rotation"], (3, 3)) @ point + given["translation"]
    return np.array(given["focal"]) * [x / z, y / z] + given["centre"]
