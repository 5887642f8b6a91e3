"""PIXIE's networks and fusion against outputs of the public code, and its loader."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from golden_networks import GoldenNetwork

from presence.errors import AssetError
from presence.estimation.networks.pixie import Pixie, load_pixie

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
    return GoldenNetwork("pixie")


@pytest.fixture(scope="module")
def net(golden):
    file = golden.file(0, golden.weights())
    flat = {f"{entry}.{k}": v for entry, part in file.items() for k, v in part.items()}
    return load_pixie(flat, "golden")


@pytest.fixture(scope="module")
def crops(golden):
    images = golden.images()
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


def test_fused_features_equal_the_public_networks(golden, net, crops):
    with torch.no_grad():
        whole = net.Encoder_body(crops["body"])
        fused, _ = net.fuse_head(whole, net.Encoder_head(crops["head"]))
        assert golden.excess("a.shared.exp", net.head(fused)["expression"]) < 1
        for side in ("left", "right"):
            own = net.Encoder_hand(crops[f"{side}_hand"])
            body = net.get_submodule(f"Extractor_{side}_hand_share")(whole)
            fused, _ = net.fuse_hand(body, own)
            assert golden.excess(f"a.shared.{side}_hand_pose", net.hand(fused)["hand"]) < 1


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
