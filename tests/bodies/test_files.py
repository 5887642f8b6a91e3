"""Body files: the SMPL-X layouts that exist, pickles with foreign classes, and bad files."""

from __future__ import annotations

import pickle
import sys
import types

import numpy as np
import pytest
import torch

from presence.bodies import PARENTS, load_body
from presence.bodies.pickles import Inert, load_pickle
from presence.errors import AssetError

VERTICES = 60


def _smplx_arrays(columns: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    parents = np.array(PARENTS)
    parents[0] = 2**32 - 1
    weights = rng.uniform(0, 1, (VERTICES, 55))
    regressor = rng.uniform(0, 1, (55, VERTICES))
    return {
        "v_template": rng.normal(0, 0.5, (VERTICES, 3)),
        "f": rng.integers(0, VERTICES, (100, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 0.01, (VERTICES, 3, columns)),
        "posedirs": rng.normal(0, 0.001, (VERTICES, 3, 486)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(55)]),
        "vt": rng.uniform(0, 1, (80, 2)),
        "ft": rng.integers(0, 80, (100, 3)).astype(np.uint32),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.tile([1.0, 0.0, 0.0], (51, 1)),
    }


def test_a_users_smplx_file_with_pose_correctives_agrees_with_the_smplx_package(tmp_path):
    smplx = pytest.importorskip("smplx", reason="the smplx package is an optional extra")
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, **_smplx_arrays())
    body = load_body(path)
    assert (body.name, body.num_betas, body.num_expression) == ("SMPLX_NEUTRAL", 300, 100)
    # Its picked vertices exceed this toy's count, so the parts are called by themselves.
    from smplx.lbs import lbs

    generator = torch.Generator().manual_seed(0)
    params = body.default_params((3,))
    params = params.replace(
        betas=torch.randn(3, 300, generator=generator),
        expression=torch.randn(3, 100, generator=generator),
        pose=torch.randn(3, 55, 3, generator=generator) * 0.5,
    )
    arrays = {k: torch.as_tensor(v).float() for k, v in np.load(path).items() if k != "f"}
    vertices, joints = lbs(
        torch.cat([params.betas, params.expression], 1),
        params.pose.flatten(1),
        arrays["v_template"],
        arrays["shapedirs"],
        arrays["posedirs"].reshape(-1, 486).T,
        arrays["J_regressor"],
        torch.tensor(PARENTS),
        arrays["weights"],
    )
    mesh = body(params)
    assert smplx is not None
    torch.testing.assert_close(mesh.vertices, vertices, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mesh.joints, joints, atol=1e-5, rtol=1e-5)


def test_small_files_hold_ten_and_ten_components(tmp_path):
    arrays = _smplx_arrays(columns=20)
    np.savez(tmp_path / "small.npz", **arrays)
    body = load_body(tmp_path / "small.npz")
    assert (body.num_betas, body.num_expression) == (10, 10)
    expected = arrays["shapedirs"][:, :, 13].reshape(-1)
    np.testing.assert_allclose(body.exprdirs[3].numpy(), expected, rtol=1e-6)


def _foreign(name: str, module: str) -> type:
    """A class that pickles under another module's name."""
    kind = type(name, (), {"__module__": module})
    for part in range(1, module.count(".") + 2):
        sys.modules.setdefault(
            ".".join(module.split(".")[:part]), types.ModuleType(".".join(module.split(".")[:part]))
        )
    setattr(sys.modules[module], name, kind)
    return kind


@pytest.fixture
def forget_fake_modules():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("chumpy", "evil")):
            del sys.modules[name]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_pickles_with_chumpy_and_scipy_objects_load_without_them(
    tmp_path, protocol, forget_fake_modules
):
    from scipy import sparse

    arrays = _smplx_arrays()
    chumpy = _foreign("Ch", "chumpy.ch")
    wrapped = chumpy()
    wrapped.__dict__ = {"x": arrays["shapedirs"], "_dirty_vars": set()}
    content = {
        **arrays,
        "shapedirs": wrapped,
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        "note": "text",
        "sizes": {1, 2},
    }
    path = tmp_path / "SMPLX_MALE.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    del sys.modules["chumpy.ch"], sys.modules["chumpy"]
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["shapedirs"], arrays["shapedirs"])
    np.testing.assert_allclose(loaded["J_regressor"], arrays["J_regressor"])
    np.savez(tmp_path / "same.npz", **arrays)
    from_pickle, from_npz = load_body(path), load_body(tmp_path / "same.npz")
    params = from_npz.default_params().replace(pose=torch.full((55, 3), 0.1))
    torch.testing.assert_close(from_pickle(params).vertices, from_npz(params).vertices)
    assert "chumpy" not in sys.modules


def test_csr_matrices_load_too(tmp_path):
    from scipy import sparse

    dense = np.random.default_rng(0).normal(size=(5, 9)) * (np.arange(9) % 2)
    path = tmp_path / "sparse.pkl"
    path.write_bytes(pickle.dumps({"m": sparse.csr_matrix(dense)}))
    np.testing.assert_allclose(load_pickle(path)["m"], dense)


def test_pickled_code_does_not_run(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return print, ("this must not be printed",)

    class Shell:
        def __reduce__(self):
            import os

            return os.system, (f"touch {tmp_path / 'owned'}",)

    path = tmp_path / "attack.pkl"
    path.write_bytes(pickle.dumps({"a": Attack(), "b": Shell(), "c": eval}))
    loaded = load_pickle(path)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "owned").exists()
    assert isinstance(loaded["a"], Inert) and loaded["b"].origin.endswith(".system")
    assert issubclass(loaded["c"], Inert)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.ones((VERTICES, 24)) / 24}, "has 24 joints, but SMPL-X has 55"),
        ({"kintree_table": np.zeros((2, 55), np.int64)}, "the joint tree is not SMPL-X's"),
        ({"posedirs": None}, "it has no `posedirs`"),
        ({"vt": None}, "no texture coordinates"),
    ],
)
def test_files_that_do_not_fit_say_why(tmp_path, change, message):
    arrays = {**_smplx_arrays(), **change}
    np.savez(tmp_path / "wrong.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(AssetError, match=message):
        load_body(tmp_path / "wrong.npz")


@pytest.mark.parametrize("name", ["empty.npz", "empty.pkl", "noise.npz", "noise.pkl", "list.pkl"])
def test_broken_files_are_one_clear_error(tmp_path, name):
    content = {"empty": b"", "noise": b"\x80\x04not a body", "list": pickle.dumps([1, 2])}
    path = tmp_path / name
    path.write_bytes(content[path.stem])
    with pytest.raises(AssetError, match=name):
        load_body(path)


def test_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(AssetError, match="unknown body `annix`. Available: annyx"):
        load_body("annix")
    with pytest.raises(AssetError, match="does not exist"):
        load_body(tmp_path / "nothing.npz")


def test_smplx_by_name_is_the_users_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    with pytest.raises(AssetError, match="SMPL-X, neutral is missing.*Get it: account at"):
        load_body("smplx")
