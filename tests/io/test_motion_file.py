import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.io.motion import PARTS, load_motion, save_motion
from presence.motion import builtin_motion


@pytest.mark.parametrize("name", ["wave", "talk", "walk"])
def test_round_trip(tmp_path, name):
    motion = builtin_motion(name, 10)
    save_motion(tmp_path / "m.npz", motion)
    back = load_motion(tmp_path / "m.npz")
    for field in ("pose", "expression", "translation"):
        assert torch.equal(getattr(back.body, field), getattr(motion.body, field))
    for field in (
        "fps",
        "expression_names",
        "joints",
        "relative_joints",
        "relative_expression",
        "ease",
    ):
        assert getattr(back, field) == getattr(motion, field), field


def test_smplx_names_land_on_smplx_joints(tmp_path):
    """Each part is filled with its SMPL-X joint numbers, from the published joint order."""
    arrays = {
        name: np.tile(np.repeat(np.arange(part.start, part.stop), 3), (2, 1)).astype(np.float32)
        for name, part in PARTS.items()
    }
    np.savez(tmp_path / "m.npz", **arrays, transl=np.ones((2, 3)), mocap="extra")
    motion = load_motion(tmp_path / "m.npz")
    assert torch.equal(motion.body.pose[1, :, 0], torch.arange(55.0))
    assert motion.joints == tuple(range(55)) and motion.fps == 30
    assert not motion.relative_joints and not motion.relative_expression


def test_parts_that_are_missing_are_not_driven(tmp_path):
    np.savez(tmp_path / "m.npz", body_pose=np.zeros((4, 21, 3)))
    motion = load_motion(tmp_path / "m.npz")
    assert len(motion) == 4 and motion.joints == tuple(range(1, 22))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (dict(poses=np.zeros((3, 165))), "found poses"),
        (dict(), "found nothing"),
        (dict(body_pose=np.zeros((0, 63))), "no frames"),
        (dict(body_pose=np.zeros((3, 60))), r"should be \[3 63\]"),
        (dict(body_pose=np.zeros((3, 63)), transl=np.zeros((2, 3))), "`transl` should be"),
        (dict(body_pose=np.full((3, 63), np.nan)), "not finite"),
        (dict(body_pose=np.array(["a"] * 63).reshape(1, 63)), "numbers"),
        (dict(body_pose=np.zeros((3, 63)), fps=0.0), "`fps` is 0"),
        (dict(body_pose=np.zeros((3, 63)), fps=np.zeros(2)), "one number"),
        (dict(body_pose=np.array([Evil()], dtype=object)), "not a motion file"),
    ],
)
def test_unusable_arrays_are_refused_in_one_line(tmp_path, capsys, arrays, says):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(InputError, match=says) as caught:
        load_motion(tmp_path / "m.npz")
    assert "\n" not in str(caught.value) and "executed" not in capsys.readouterr().out


def test_files_that_are_no_npz_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    with pytest.raises(InputError, match="does not exist"):
        load_motion(path)
    for content in (b"", b"hello", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a motion file"):
            load_motion(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(path)
    with pytest.raises(InputError, match="not a motion file"):
        load_motion(path)
