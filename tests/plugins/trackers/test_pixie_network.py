"""PIXIE's networks and fusion against outputs of the public code, and its loader."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from official_weights import Golden
from scipy.spatial.transform import Rotation

from presence.bodies.joints import PARENTS
from presence.errors import AssetError
from presence.estimation.networks.pixie import Pixie, PixieOutput, load_pixie
from presence.estimation.networks.pixie_pose import (
    HEAD_LIMITS,
    PART_BODY,
    euler_to_matrix,
    limited,
    smplx_pose,
)
from presence.estimation.networks.rotations import matrix_from_rows, mirrored
from presence.geometry import axis_angle_to_matrix

pytest.importorskip("timm", reason="timm holds PIXIE's HRNet")
NAMES = dict(
    body_cam="camera",
    global_pose="root",
    partbody_pose="body",
    neck_pose="neck",
    shape="shape",
    exp="expression",
    head_pose="head",
    jaw_pose="jaw",
    left_wrist_pose="left_wrist",
    right_wrist_pose="right_wrist",
    left_hand_pose="left_hand",
    right_hand_pose="right_hand",
)
WEIGHTS = dict(head="head_weight", left_hand="left_weight", right_hand="right_weight")


@pytest.fixture(scope="module")
def golden():
    return Golden("pixie", kind="estimators")


@pytest.fixture(scope="module")
def net(golden):
    file = golden.checkpoint(0, golden.weights())
    flat = {f"{entry}.{k}": v for entry, part in file.items() for k, v in part.items()}
    return load_pixie(flat, "golden")


@pytest.fixture(scope="module")
def crops(golden):
    images = {name: golden.image("a", name) for name in golden.manifest["inputs"]["a"]}
    return {**images, "left_hand": images["left_hand"].flip(-1)}


def test_outputs_equal_the_public_network(golden, net, crops):
    with torch.no_grad():
        encoder = net.Encoder_body
        branches = encoder.encoder.branches((crops["body"] - encoder.MEAN) / encoder.STD)
        for number, branch in enumerate(branches, 1):
            assert golden.excess(f"a.hrnet_layer{number}", branch) < 1
        assert golden.excess("a.body_features", encoder(crops["body"])) < 1
        assert golden.excess("a.head_features", net.Encoder_head(crops["head"])) < 1
        hands = [net.Encoder_hand(crops[f"{side}_hand"]) for side in ("left", "right")]
        assert golden.excess("a.hand_features", torch.stack(hands)) < 1
        output = net(**crops)
    for official, name in NAMES.items():
        value = getattr(output, name).flatten(1)
        assert golden.excess(f"a.keep_local.{official}", value) < 1, official
    for official, name in WEIGHTS.items():
        assert golden.excess(f"a.moderator_weight.{official}", getattr(output, name)) < 1
    assert (output.left_weight[:, 1] > 0.7).all() and (output.right_weight[:, 1] < 0.7).all()

    rotations = dict(
        global_pose=matrix_from_rows(output.root)[:, None],
        partbody_pose=matrix_from_rows(output.body),
        neck_pose=matrix_from_rows(output.neck)[:, None],
        jaw_pose=euler_to_matrix(output.jaw)[:, None],
        abs_head_pose=matrix_from_rows(output.head)[:, None],
        abs_right_wrist_pose=matrix_from_rows(output.right_wrist)[:, None],
        left_wrist_pose=mirrored(matrix_from_rows(output.left_wrist))[:, None],
        left_hand_pose=mirrored(matrix_from_rows(output.left_hand)),
        right_hand_pose=matrix_from_rows(output.right_hand),
    )
    for name, value in rotations.items():
        assert golden.excess(f"a.rotmat.{name}", value) < 1, name


def test_fused_features_equal_the_public_networks(golden, net, crops):
    with torch.no_grad():
        whole = net.Encoder_body(crops["body"])
        _, fused, _ = net.fuse("head", whole, crops["head"])
        assert golden.excess("a.shared.exp", net.head(fused)["expression"]) < 1
        for part in ("left_hand", "right_hand"):
            _, fused, _ = net.fuse(part, whole, crops[part])
            assert golden.excess(f"a.shared.{part}_pose", net.hand(fused)["hand"]) < 1


def test_parts_without_crops_equal_the_public_network_on_the_body_alone(golden, net, crops):
    with torch.no_grad():
        output = net(crops["body"])
    for official, name in NAMES.items():
        value = getattr(output, name).flatten(1)
        assert golden.excess(f"a.body_only.{official}", value) < 1, official
    assert output.head_weight.tolist() == [[1, 0], [1, 0]]


def test_the_network_has_the_released_names_and_shapes(golden):
    with torch.device("meta"):
        ours = {name: list(value.shape) for name, value in Pixie().state_dict().items()}
    assert ours == {key: shape for key, (shape, _) in golden.manifest["keys"].items()}


def test_missing_misshapen_and_unknown_weights_are_named(golden):
    # Expanded zeros take no memory: what differs is found before anything is copied.
    rules = golden.manifest["keys"].items()
    zeros = {key: torch.zeros(()).expand(shape) for key, (shape, _) in rules}
    name = "Moderator_hand_share.temperature"
    with pytest.raises(AssetError, match=f"golden does not fit Pixie. missing: {name}"):
        load_pixie({k: v for k, v in zeros.items() if k != name}, "golden")
    with pytest.raises(AssetError, match=r"temperature is \[2\], not \[1\]"):
        load_pixie({**zeros, name: torch.zeros(2)}, "golden")
    with pytest.raises(AssetError, match="left over: Regressor_feet.layers.0.bias"):
        load_pixie({**zeros, "Regressor_feet.layers.0.bias": torch.zeros(1)}, "golden")


def test_three_people_are_estimated_as_one_by_one(net, crops):
    three = {name: torch.cat([crop, crop[:1].flip(-2)]) for name, crop in crops.items()}
    with torch.no_grad():
        together = dataclasses.asdict(net(**three))
        alone = [
            dataclasses.asdict(net(**{k: v[i : i + 1] for k, v in three.items()})) for i in range(3)
        ]
    for name, value in together.items():
        single = torch.cat([output[name] for output in alone])
        assert value.std(0).max() > 0
        torch.testing.assert_close(value, single, rtol=1e-4, atol=3e-5)


def _six(matrix):
    return matrix[..., :2].flatten(-2)


def test_known_poses_come_back_from_pixies_form():
    """Absolute head and wrists, mirrored left hands: made by chaining the joints one by one."""
    generator = torch.Generator().manual_seed(3)
    pose = 0.5 * torch.randn(2, 55, 3, generator=generator)
    pose[:, 15] *= 0.2  # a head that turns as heads do
    pose[:, 23:25] = 0
    local = axis_angle_to_matrix(pose)
    chain = [local[:, 0]]
    for joint, parent in enumerate(PARENTS[1:22], 1):
        chain.append(chain[parent] @ local[:, joint])
    chain = torch.stack(chain, 1)
    output = PixieOutput(
        camera=torch.ones(2, 3),
        root=_six(local[:, 0]),
        body=_six(local[:, PART_BODY]),
        neck=_six(local[:, 12]),
        shape=torch.zeros(2, 200),
        expression=torch.zeros(2, 50),
        head=_six(chain[:, 15]),
        jaw=torch.from_numpy(Rotation.from_rotvec(pose[:, 22]).as_euler("XYZ")).float(),
        left_wrist=_six(mirrored(chain[:, 20])),
        right_wrist=_six(chain[:, 21]),
        left_hand=_six(mirrored(local[:, 25:40])),
        right_hand=_six(local[:, 40:]),
        head_weight=torch.ones(2, 2),
        left_weight=torch.ones(2, 2),
        right_weight=torch.ones(2, 2),
    )
    found = axis_angle_to_matrix(smplx_pose(output))
    torch.testing.assert_close(found, local, rtol=0, atol=3e-6)


def test_euler_angles_are_scipys_and_impossible_heads_are_straightened():
    angles = torch.tensor([[0.3, -0.5, 0.1], [0.4, 1.0, 0.1], [0.3, -1.3, 0.2]])
    expected = torch.from_numpy(Rotation.from_euler("XYZ", angles.numpy()).as_matrix()).float()
    torch.testing.assert_close(euler_to_matrix(angles), expected, rtol=0, atol=1e-6)
    inside = angles.abs() <= torch.tensor(HEAD_LIMITS)
    kept = torch.from_numpy(
        Rotation.from_euler("XYZ", torch.where(inside, angles, 0.0).numpy()).as_matrix()
    ).float()
    assert inside.tolist() == [[True, True, True], [False, True, True], [True, False, False]]
    torch.testing.assert_close(limited(expected), kept, rtol=0, atol=1e-6)
