from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from presence.benchmark.tracking_accuracy import TrackingAccuracy, markdown, summarize
from presence.benchmark.tracking_video import compare_clip
from presence.bodies import load_body
from presence.errors import ConfigError
from presence.io.motion import save_motion
from presence.motion import Motion
from presence.structures import Camera, stack
from presence.tracking.measuring.known_people import KnownPerson, _read, _write, shares
from presence.tracking.measuring.scores import procrustes_error, visible_shares


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


def row(name, framing, hand=0.9, forearm=10.0, hangs=10.0, **others):
    scores = dict(iou=0.9, vertices=50.0, keypoints=1.0, reprojection=0.8, face=1.5, seconds=2.0)
    sides = {
        f"{side}_{key}": value
        for side in ("left", "right")
        for key, value in (("hand", hand), ("forearm", forearm), ("hangs", hangs))
    }
    return dict(name=name, framing=framing, **(scores | sides | others))


def test_summary_counts_failures_hands_and_forearms():
    rows = [
        row("half_0", "half"),
        row("half_1", "half", hand=0.0, iou=0.5),
        row("half_2", "half", hand=0.0, forearm=80.0, hangs=90.0),
        dict(name="head_0", framing="head", failed="nobody was found in the picture"),
    ]
    summary = summarize(rows)
    assert summary["failures"] == 0.25
    assert summary["hidden_forearms"] == 4 and summary["hidden_forearms_within_45"] == 0.5
    assert summary["hanging_forearms"] == 2 and summary["hanging_forearms_within_45"] == 1.0
    regimes = summary["regimes"]
    assert set(regimes) == {"half", "half, a hand seen", "half, hands hidden", "all"}
    assert regimes["half, hands hidden"]["iou"] == pytest.approx(0.7)
    assert regimes["half"]["number"] == 3
    assert "| half | 3 | 0.80 | 1.00 |" in markdown(rows)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    names = [f"{f}_{i}" for f, count in shares(6).items() for i in range(count)]
    lines = [json.dumps(row(name, name.split("_")[0])) for name in names]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    report = TrackingAccuracy(people=6).run(tmp_path)  # nothing is left to measure
    assert "| all | 6 |" in report.table
    assert json.loads((tmp_path / "summary.json").read_text())["people"] == 6
    with pytest.raises(ConfigError, match="at least 1"):
        TrackingAccuracy(people=0)


def test_aligned_error_is_scipys():
    generator = np.random.default_rng(0)
    target = generator.standard_normal((30, 3))
    turn = Rotation.from_rotvec([0.4, -1.0, 0.3]).as_matrix()
    points = 1.7 * target @ turn.T + [1.0, -2.0, 0.5] + 0.05 * generator.standard_normal((30, 3))
    first, second, _ = procrustes(target, points)
    scale = np.linalg.norm(target - target.mean(0))
    expected = np.linalg.norm(first - second, axis=-1).mean() * scale
    found = procrustes_error(torch.from_numpy(points), torch.from_numpy(target))
    assert found == pytest.approx(expected, rel=1e-6)
    mirrored = torch.from_numpy(target * [-1.0, 1.0, 1.0])
    assert procrustes_error(mirrored, torch.from_numpy(target)) > 0.1


def test_hands_outside_the_picture_and_behind_the_body_are_hidden(body):
    params = body.default_params()
    vertices = body(params).vertices
    target = torch.tensor([0.0, 0.2, 0.0])
    front = Camera.look_at(target + torch.tensor([0, 0, 8.0]), target, math.radians(16), 160, 160)
    seen = visible_shares(body, vertices, front)
    assert seen["left_hand"] > 0.95 and seen["right_hand"] > 0.95
    narrow = front.cropped(60, 0, 100, 160)
    assert visible_shares(body, vertices, narrow)["right_hand"] < 0.05
    side = Camera.look_at(target + torch.tensor([8.0, 0, 0]), target, math.radians(16), 160, 160)
    seen = visible_shares(body, vertices, side)
    assert seen["left_hand"] > 0.9 and seen["right_hand"] < 0.1


def test_rendered_people_survive_their_file(body, tmp_path):
    from presence.structures import Portrait

    params = body.default_params()
    target = torch.zeros(3)
    camera = Camera.look_at(torch.tensor([0, 0, 6.0]), target, math.radians(20), 32, 24)
    portrait = Portrait(torch.rand(3, 24, 32), torch.ones(1, 24, 32))
    person = KnownPerson("half_7", "half", portrait, params, camera)
    _write(tmp_path / "half_7.npz", person)
    again = _read(tmp_path / "half_7.npz", "half")
    assert again.name == "half_7" and torch.equal(again.body.pose, params.pose)
    assert torch.allclose(again.portrait.rgb, portrait.rgb, atol=0.002)
    assert torch.equal(again.camera.K, camera.K)


def test_jitter_is_that_of_the_truth_where_the_tracking_is(body, tmp_path):
    frames = []
    for number in range(5):
        pose = body.default_params().pose
        pose[16, 2] = -0.02 * number**2
        frames.append(body.default_params().replace(pose=pose))
    params = stack(frames)
    camera = Camera.look_at(torch.tensor([0, 0, 6.0]), torch.zeros(3), math.radians(25), 64, 64)
    facts = dict(K=camera.K.numpy(), cam_from_world=camera.cam_from_world.numpy())
    np.savez(
        tmp_path / "truth.npz",
        **facts,
        **{n: getattr(params, n).numpy() for n in ("betas", "expression", "pose", "translation")},
    )

    def track(moved):
        save_motion(tmp_path / "m.npz", Motion(moved, fps=25.0))
        with np.load(tmp_path / "m.npz") as file:
            arrays = dict(file)
        np.savez(tmp_path / "t.npz", image_size=np.array([64, 64]), **facts, **arrays)
        return compare_clip(body, tmp_path / "truth.npz", tmp_path / "t.npz")

    same = track(params)
    assert same["jitter"] == pytest.approx(1.0, abs=0.02)
    assert same["vertices from true ones, % of picture height"] < 0.01
    shaken = params.translation.clone()
    shaken[::2, 0] += 0.01
    assert track(params.replace(translation=shaken))["jitter"] > 3
