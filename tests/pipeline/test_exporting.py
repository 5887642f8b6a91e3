"""tools/export.py and tools/view.py: files with the avatar in the pose that was asked for."""

import base64
import http.client
import json
import re
import struct
import threading
import zlib

import numpy as np
import pytest
import torch
from known_person import KnownTracker

from presence.errors import InputError
from presence.geometry import quaternion_to_matrix
from presence.io.avatar import load_avatar
from presence.io.images import save_png
from presence.io.motion import save_motion
from presence.motion import Motion, builtin_motion, retarget
from presence.pipeline import Reconstructor
from presence.pipeline.exporting import export_avatar, posed_gaussians, turn_axes
from presence.viewer.server import make_server


@pytest.fixture(scope="module")
def avatar_file(model, scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    save_png(folder / "me.png", scene.portrait.rgb)
    run = Reconstructor(model, KnownTracker(scene), size=128, turntable=2, progress=False)
    run(folder / "me.png", folder / "me")
    return folder / "me" / "avatar.safetensors"


def ply_positions(path) -> np.ndarray:
    head, _, body = path.read_bytes().partition(b"end_header\n")
    return np.frombuffer(body, "<f4").reshape(-1, head.count(b"property"))[:, :3]


def one_error_line(result) -> str:
    code, out, err = result
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and out == "" and len(lines) == 1 and "Traceback" not in err, result
    return lines[0]


def test_the_portraits_pose_is_the_default(avatar_file, body, tool, tmp_path):
    out = tmp_path / "new" / "a.ply"
    code, said, _ = tool("export", avatar_file, "--out", out)
    avatar, _ = load_avatar(avatar_file)
    posed = avatar.pose(body(avatar.body))
    assert code == 0 and f"{len(posed.means)} Gaussians as ply" in said
    assert np.array_equal(ply_positions(out), posed.means.numpy())
    px, _ = avatar.camera.project(torch.from_numpy(ply_positions(out).copy()))
    assert avatar.camera.contains(px).float().mean() > 0.5


def test_the_rest_pose_is_a_t_at_the_origin(avatar_file, body, tool, tmp_path):
    code, _, err = tool("export", avatar_file, "--pose", "rest", "--out", tmp_path / "a.ply")
    assert code == 0, err
    avatar, _ = load_avatar(avatar_file)
    joints = body(body.default_params()).joints
    points = ply_positions(tmp_path / "a.ply")
    span = np.ptp(points, axis=0)
    assert span[0] > 1.3 and abs(points[:, 0].max() + points[:, 0].min()) < 0.1  # both arms out
    assert span[2] < 0.5 and abs(points[:, 2].mean() - float(joints[0, 2])) < 0.1
    # The canonical offsets are in these axes already.
    surface = avatar.binding.interpolate(body(body.default_params()).vertices)
    wanted = surface + avatar.canonical.means
    same_shape = not avatar.body.betas.any() and not avatar.body.expression.any()
    assert same_shape and np.abs(points - wanted.numpy()).max() < 1e-4


def test_y_down_is_a_half_turn(avatar_file, body, tool, tmp_path):
    for axes in ("y-up", "y-down"):
        tool("export", avatar_file, "--axes", axes, "--out", tmp_path / f"{axes}.ply")
    up, down = (ply_positions(tmp_path / f"{axes}.ply") for axes in ("y-up", "y-down"))
    assert np.array_equal(down, up * [1, -1, -1])
    avatar, _ = load_avatar(avatar_file)
    upright = posed_gaussians(avatar, body)
    turned = turn_axes(upright, "y-down")
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    expected = half_turn @ quaternion_to_matrix(upright.quaternions)
    assert (quaternion_to_matrix(turned.quaternions) - expected).abs().max() < 1e-5


def test_splat_and_page_hold_the_same_rows(avatar_file, tool, tmp_path):
    code, said, _ = tool("export", avatar_file, "--format", "splat", "--out", tmp_path / "a.bin")
    assert code == 0 and "as splat" in said
    rows = (tmp_path / "a.bin").read_bytes()
    avatar, _ = load_avatar(avatar_file)
    assert len(rows) == 32 * len(avatar.canonical.means)
    code, _, _ = tool("export", avatar_file, "--out", tmp_path / "a.html", "--background", "grey")
    page = (tmp_path / "a.html").read_text()
    held = base64.b64decode(re.search(r'id="rows">([^<]*)<', page)[1])
    assert code == 0 and held == rows and "background: #808080" in page
    volumes = [s0 * s1 * s2 * a for *_, s0, s1, s2, _, _, _, a, _ in struct.iter_unpack(
        "<3f3f4BI", rows)]  # fmt: skip
    assert np.mean(volumes[: len(volumes) // 2]) > np.mean(volumes[len(volumes) // 2 :])


def test_a_page_can_play_a_motion(avatar_file, body, tool, tmp_path):
    code, said, err = tool("export", avatar_file, "--motion", "talk", "--out", tmp_path / "a.html")
    assert code == 0 and "as html" in said, err
    page = (tmp_path / "a.html").read_text()
    blocks = dict(re.findall(r'id="(\w+)">([^<]*)</script>', page))
    facts = json.loads(blocks["scene"])
    clip, (avatar, _) = builtin_motion("talk"), load_avatar(avatar_file)
    vertices = len(avatar.binding.vertex_ids.unique())
    assert (facts["motion"]["length"], facts["motion"]["vertices"]) == (len(clip), vertices)
    assert facts["motion"]["fps"] == 24
    values = zlib.decompress(base64.b64decode(blocks["frames"]))
    assert len(values) == len(clip) * vertices * 7 * 2
    assert len(base64.b64decode(blocks["binding"])) == 12 * len(avatar.canonical.means)
    first = np.frombuffer(values, "<u2").reshape(len(clip), vertices, 7)[0, :, :3] / 65535
    low, high = (np.array(facts["motion"][name]) for name in ("low", "high"))
    start = retarget(clip, avatar.body, body.expression_names)[0]
    used = body(start).vertices[avatar.binding.vertex_ids.unique()]
    np.testing.assert_allclose(low + first * (high - low), used, atol=3e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["{folder}/none.safetensors", "--out", "{out}/a.ply"], "none.safetensors does not exist"),
        (["{folder}/me.png", "--out", "{out}/a.ply"], "not an avatar file"),
        (["{avatar}", "--out", "{out}/a.obj"], "name one of ply, splat, html"),
        (["{avatar}", "--format", "plyy", "--out", "{out}/a"], "Did you mean `ply`?"),
        (["{avatar}", "--pose", "rset", "--out", "{out}/a.ply"], "Did you mean `rest`?"),
        (["{avatar}", "--axes", "z-up", "--out", "{out}/a.ply"], "unknown axes `z-up`"),
        (["{avatar}", "--axes", "y-down", "--out", "{out}/a.html"], "axes are for ply and splat"),
        (["{avatar}", "--motion", "wave", "--out", "{out}/a.ply"], "a motion is for html"),
        (["{avatar}", "--motion", "wavy", "--out", "{out}/a.html"], "Did you mean `wave`?"),
        (
            ["{avatar}", "--motion", "wave", "--pose", "rest", "--out", "{out}/a.html"],
            "starts from the portrait's pose",
        ),
        (["{avatar}", "--motion", "{folder}/long.npz", "--out", "{out}/a.html"], "holds 10 s"),
        (["{avatar}", "--background", "pink", "--out", "{out}/a.html"], "unknown colour `pink`"),
        (["{avatar}", "--format", "ply", "--out", "{out}"], "is a folder"),
        (["{avatar}", "--out", "{folder}/me.png/a.ply"], "a file is in the way"),
        (["{avatar}", "--out", "/proc/none/a.ply"], "/proc/none"),
    ],
)
def test_bad_input_is_one_line(avatar_file, body, tool, tmp_path, options, says):
    long = Motion(body.default_params((241,)), fps=24.0)
    save_motion(avatar_file.parents[1] / "long.npz", long)
    places = dict(avatar=avatar_file, folder=avatar_file.parents[1], out=tmp_path)
    result = tool("export", *(text.format(**places) for text in options))
    assert says in one_error_line(result)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_old_file(avatar_file, tmp_path, monkeypatch):
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")
    monkeypatch.setattr("presence.io.splats.ply_bytes", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_avatar(avatar_file, path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read().decode("utf-8")


def test_view_serves_the_page_until_ctrl_c(avatar_file, tool, monkeypatch):
    answers = []

    def serve(server):
        """Answers two requests and is interrupted then."""
        for path in ("/", "/etc/passwd"):
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            answers.append(get(server.server_port, path))
            thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr("presence.viewer.server.ThreadingHTTPServer.serve_forever", serve)
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail("opened a browser"))
    code, out, err = tool("view", avatar_file, "--port", "0", "--no-browser")
    assert code == 0 and re.match(r"http://127\.0\.0\.1:\d+/ shows \d+ Gaussians", out), err
    assert answers[0][0] == 200 and 'id="rows"' in answers[0][1]
    assert answers[1][0] == 404


def test_a_taken_port_is_one_line(avatar_file, tool):
    with make_server("hello", 0) as server:
        taken = str(server.server_port)
        result = tool("view", avatar_file, "--no-browser", "--port", taken)
        assert f"port {taken} cannot be used" in one_error_line(result)
    with pytest.raises(InputError, match="port 70000"):
        make_server("hello", 70000)
