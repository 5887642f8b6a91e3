"""Runs pages: their script in node, the whole of them in Chromium, where these are installed."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from presence.rendering import build_renderer
from presence.structures import Camera, Gaussians

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
HEADLESS = (
    "--headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader "
    "--force-prefers-reduced-motion "  # motions wait to be played
    "--enable-unsafe-swiftshader --disable-background-networking --dump-dom "
    "--virtual-time-budget=10000"
).split()
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def block(page: str, name: str) -> str:
    return re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1]


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


def loaded(page: str, code: str, folder) -> str:
    """Returns the document in Chromium after some code ran at the end of the page."""
    path = folder / "probe.html"
    path.write_text(page.replace("</body>", f"<script>{code}</script></body>"))
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={folder / 'profile'}", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "cannot show the avatar: this browser" in done.stdout:
        pytest.skip("this Chromium does not offer WebGL 2")
    assert done.stdout, done.stderr[-1000:]
    return done.stdout


def screenshot(page: str, code: str, folder) -> np.ndarray:
    """Returns [H W 4] of a canvas of 480 x 400 pixels, drawn by Chromium after some code."""
    document = loaded(
        page,
        'canvas.style.width = "480px"; canvas.style.height = "400px";'
        f"{code};"
        "(async () => { makeDraw(scene.motion && await readMotion(scene.motion))();"
        "document.body.textContent = canvas.toDataURL(); })();",
        folder,
    )
    found = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", document)
    assert found, document[-1000:]
    picture = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGBA")
    return np.asarray(picture).astype(np.float64) / 255


def psnr_over_white(drawn: np.ndarray, gaussians: Gaussians, seen: Camera) -> float:
    """dB between a picture [H W 4] and what the CPU renderer draws."""
    assert drawn.shape == (seen.height, seen.width, 4) and drawn[..., 3].mean() > 0.02
    over_white = drawn[..., :3] * drawn[..., 3:] + 1 - drawn[..., 3:]
    ours = build_renderer("cpu")(gaussians, seen, torch.ones(3)).rgb.permute(1, 2, 0).numpy()
    return float(-10 * np.log10(np.mean((over_white - ours) ** 2)))
