from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.io.motion import load_motion, save_motion
from presence.rasterize import build_rasterizer
from presence.structures import Portrait, Tracking
from presence.tracking.files import load_tracking, save_tracking
from presence.tracking.overlay import draw_overlay
from presence.tracking.shading import eyeball


@pytest.fixture
def tracking(seen):
    params = seen.params(0)
    camera = seen.camera(params, "half", size=160)
    detection = seen.detect(params, camera, ("pose", "face"))
    return Tracking(params, camera, {"head": 0.9}, detection.keypoints, ("a note",))


def test_tracking_survives_its_file(tracking, tmp_path):
    save_tracking(tmp_path / "t.npz", tracking, body_name="annyx")
    again = load_tracking(tmp_path / "t.npz")
    for field in ("betas", "expression", "pose", "translation"):
        assert torch.equal(getattr(again.body, field), getattr(tracking.body, field))
    assert torch.equal(again.camera.K, tracking.camera.K)
    assert torch.equal(again.camera.cam_from_world, tracking.camera.cam_from_world)
    assert (again.camera.width, again.camera.height) == (160, 160)
    assert again.visibility["head"] == pytest.approx(0.9)
    assert again.notes == ("a note",)
    assert torch.equal(again.keypoints["face"], tracking.keypoints["face"])


def test_offsets_are_stored_where_a_person_has_them(body, tracking, tmp_path):
    offsets = 0.01 * torch.randn(body.num_vertices, 3)
    bare, full = tmp_path / "bare.npz", tmp_path / "full.npz"
    save_tracking(bare, tracking)
    save_tracking(full, tracking.replace(body=tracking.body.replace(offsets=offsets)))
    assert load_tracking(bare).body.offsets is None
    assert torch.equal(load_tracking(full).body.offsets, offsets)
    with np.load(bare) as one, np.load(full) as other:
        assert set(other.files) - set(one.files) == {"offsets"}
    motion = load_motion(full)  # a driver's head is not the avatar's
    assert motion.body.offsets is None
    save_motion(tmp_path / "m.npz", motion)
    assert load_motion(tmp_path / "m.npz").body.offsets is None


def test_a_tracking_of_another_body_is_refused(tracking, tmp_path):
    path = tmp_path / "t.npz"
    save_tracking(path, tracking, body_name="annyx")
    assert torch.equal(load_tracking(path, body_name="annyx").body.betas, tracking.body.betas)
    with pytest.raises(InputError, match="t.npz is a tracking of the body `annyx`, but `SMPLX_N"):
        load_tracking(path, body_name="SMPLX_NEUTRAL")
    save_tracking(path, tracking)  # of a body that is not named: taken on trust
    load_tracking(path, body_name="SMPLX_NEUTRAL")


def test_tracking_is_a_motion_of_one_frame(tracking, tmp_path):
    save_tracking(tmp_path / "t.npz", tracking)
    motion = load_motion(tmp_path / "t.npz")
    assert torch.allclose(motion.body.pose[0], tracking.body.pose)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"text"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match="not a tracking file"):
        load_tracking(tmp_path / "t.npz")
    np.savez(tmp_path / "u.npz", a=np.zeros(2))
    with pytest.raises(InputError, match="not a tracking file"):
        load_tracking(tmp_path / "u.npz")
    with pytest.raises(InputError, match="does not exist"):
        load_tracking(tmp_path / "none.npz")


def test_overlay_marks_the_body_and_nothing_else(body, tracking):
    camera = tracking.camera
    rgb = torch.full((3, 160, 160), 0.5)
    portrait = Portrait(rgb, torch.ones(1, 160, 160))
    mesh = body(tracking.body)
    rasterizer = build_rasterizer("cpu")
    drawn = draw_overlay(portrait, mesh, camera, body.topology, rasterizer)
    fragments = rasterizer(camera.screen(mesh.vertices)[None], body.topology.faces, 160, 160)[0]
    hit = fragments.face_ids >= 0
    changed = (drawn - rgb).abs().amax(0) > 1e-4
    assert not changed[~hit].any()
    assert changed[hit].float().mean() > 0.95
    plain = draw_overlay(portrait, mesh, camera, body.topology, rasterizer, opacity=0.0, wire=0.0)
    assert torch.allclose(plain, rgb)
    with pytest.raises(ValueError, match="80 x 80"):
        small = camera.resized(80, 80)
        draw_overlay(portrait, mesh, small, body.topology, rasterizer)


def test_eyeballs_are_round_and_of_human_size(body):
    for side in ("left", "right"):
        centre, radius = eyeball(body, body.v_template, side)
        assert 0.009 < radius < 0.02
        joint = body(body.default_params()).joints[23 if side == "left" else 24]
        assert (centre - joint).norm() < 0.006
