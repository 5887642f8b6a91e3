"""MANO beside a body: a hand model cut out of a known body is seen where the body's hand is."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from flame_people import hand_model

from presence.bodies.mano import load_mano
from presence.errors import AssetError
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import Camera
from presence.testing.toy_bodies import toy_flame_arrays
from presence.tracking.fusing.chains import WRISTS
from presence.tracking.fusing.dense_models import DenseModels, correspondences, hand_pixels
from presence.tracking.relaxed import relaxed_pose
from presence.tracking.video.part_models import PartModels


@pytest.mark.parametrize("side", ["right_hand", "left_hand"])
def test_a_hand_is_seen_where_the_bodys_own_hand_is(body, hand, side, tmp_path):
    arrays, chosen = hand
    np.savez(tmp_path / "MANO_RIGHT.npz", **arrays)
    mano = load_mano(tmp_path / "MANO_RIGHT.npz")
    if side == "left_hand":
        assert body.mirror_vertices is not None
        chosen = body.mirror_vertices[chosen]
    generator = torch.Generator().manual_seed(2)
    pose = relaxed_pose() + 0.3 * torch.randn(55, 3, generator=generator)
    pose[0] = matrix_to_axis_angle(
        axis_angle_to_matrix(torch.tensor([math.pi, 0, 0]))
        @ axis_angle_to_matrix(torch.tensor([0.2, 0.4, 0.0]))
    )
    params = body.default_params().replace(pose=pose, translation=torch.tensor([0.1, 0.3, 3.0]))
    mesh = body(params)
    K = torch.tensor([[700.0, 0, 200], [0, 700, 150], [0, 0, 1]])
    model = hand_model(body, pose, mesh.joints[WRISTS[side]], side, K)
    camera = Camera(model.K, torch.eye(4), 400, 300)
    expected = camera.project(mesh.vertices[chosen])[0]
    # The template's two hands mirror each other to a tenth of a mm.
    torch.testing.assert_close(hand_pixels(mano, model), expected, rtol=0, atol=0.15)
    dense = DenseModels(None, mano, {side: chosen})
    (target,) = dense.targets([{side: model, "face": model}], 0.5)
    assert target.stage == "hands" and torch.equal(target.vertices, chosen)
    torch.testing.assert_close(target.pixels[0], expected / 2, rtol=0, atol=0.1)
    # Of a video's chunk, frames without the hand weigh nothing.
    parts = PartModels(body, ["hamer"])
    assert parts.names == []  # the files are not there
    parts.models = dense
    assert parts.names == ["mano"]
    flame, (target,) = parts.of_chunk({2: {side: model}, 3: {}}, 4, None)
    assert flame is None and target.valid.tolist() == [0, 0, 1, 0]
    torch.testing.assert_close(target.pixels[2], expected, rtol=0, atol=0.15)
    assert parts.of_chunk({}, 4, None) == (None, [])


def test_files_are_found_for_smplx_bodies_alone(body, tmp_path, hand, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    folder = tmp_path / "body_models"
    for name in ("smplx", "flame", "mano"):
        (folder / name).mkdir(parents=True)
    np.savez(folder / "flame" / "FLAME_NEUTRAL.npz", **toy_flame_arrays(8, 12))
    np.savez(folder / "mano" / "MANO_RIGHT.npz", **hand[0])
    np.save(folder / "smplx" / "SMPL-X__FLAME_vertex_ids.npy", np.arange(5))
    assert DenseModels.find(body) == DenseModels(None, None, {})
    monkeypatch.setattr(body, "name", "SMPLX_NEUTRAL")
    found = DenseModels.find(body)
    assert found.flame is not None and found.mano is None and list(found.vertices) == ["face"]
    table = {side: np.arange(3) for side in WRISTS}
    (folder / "smplx" / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps(table))
    assert DenseModels.find(body).mano is not None
    (folder / "smplx" / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps({"left": 1}))
    with pytest.raises(AssetError, match="correspondences"):
        correspondences(folder / "smplx")


def test_files_that_are_no_hand_are_one_line(tmp_path, hand):
    arrays, _ = hand
    np.savez(tmp_path / "no.npz", **{k: v for k, v in arrays.items() if k != "weights"})
    with pytest.raises(AssetError, match="no `weights`"):
        load_mano(tmp_path / "no.npz")
    np.savez(tmp_path / "tree.npz", **{**arrays, "kintree_table": np.zeros((2, 16))})
    with pytest.raises(AssetError, match="joints hang on"):
        load_mano(tmp_path / "tree.npz")
