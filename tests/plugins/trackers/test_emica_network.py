"""EMICA's network against outputs of the public code, and its loader on both layouts."""

from __future__ import annotations

import argparse
import re

import pytest
import torch
from official_weights import Golden

from presence.errors import AssetError
from presence.estimation.checkpoints import read_released
from presence.estimation.networks.emica import Emica, load_emica, official_name

SHALLOW = (1, 1, 1, 1)
NAMES = dict(
    shapecode="shape",
    expcode="expression",
    globalpose="head",
    jawpose="jaw",
    cam="camera",
    texcode="texture",
    lightcode="light",
)


@pytest.fixture(scope="module")
def golden():
    return Golden("emica", kind="estimators")


@pytest.fixture(scope="module")
def shallow(golden):
    return golden.weights(lambda key: not re.search(r"arcface\.layer\d\.[1-9]", key))


def test_outputs_equal_the_public_networks(golden):
    net = load_emica(golden.weights(), "golden")
    images = {name: golden.image("a", name) for name in golden.manifest["inputs"]["a"]}
    with torch.no_grad():
        deca, faces = net.deca.encoder, images["face_224"]
        assert golden.excess("a.deca_layer1", deca.layer1(deca.stem(faces))) < 1
        assert golden.excess("a.deca_features", deca(faces)) < 1
        assert golden.excess("a.expression_features", net.expression.encoder(faces)) < 1
        assert golden.excess("a.arcface_embedding", net.identity(images["face_112"])) < 1
        output = net(faces, images["face_112"])
    for official, name in NAMES.items():
        assert golden.excess(f"a.{official}", getattr(output, name)) < 1


def test_the_network_has_the_released_names_and_shapes(golden):
    with torch.device("meta"):
        net = Emica()
    ours = {official_name(name): list(value.shape) for name, value in net.state_dict().items()}
    assert ours == {key: shape for key, (shape, _) in golden.manifest["keys"].items()}


@pytest.mark.parametrize("layout", [0, 1])
def test_both_layouts_give_the_same_network(golden, shallow, layout):
    file = golden.checkpoint(layout, shallow)
    tensors = file.get("state_dict", file)
    if layout:  # training also keeps the body model and the losses
        inside = "face_encoder.mica_deca_encoder.mica_encoder.E_mica.flameModel.generator.shapedirs"
        tensors |= {inside: torch.zeros(1), "renderer.grid": torch.zeros(1)}
    loaded = load_emica(tensors, "golden", SHALLOW).state_dict()
    assert len(loaded) == len(shallow)
    for name, value in loaded.items():
        assert torch.equal(value, shallow[official_name(name)])
        assert value.dtype == shallow[official_name(name)].dtype


def test_a_lightning_file_is_read_without_making_its_settings(golden, shallow, tmp_path):
    path = tmp_path / "last.ckpt"
    settings = dict(hyper_parameters=argparse.Namespace(cfg={"model": "emica"}))
    torch.save({**golden.checkpoint(1, shallow), **settings}, path)
    net = load_emica(read_released(path), path.name, SHALLOW)
    expected = shallow["expression_encoder.encoder.layers.2.weight"]
    assert torch.equal(net.expression.layers[2].weight, expected)


def test_missing_misshapen_and_unknown_weights_are_named(golden, shallow):
    name = "deca_encoder.encoder.layers.2.bias"
    with pytest.raises(AssetError, match=f"golden does not fit Emica. missing: {name}"):
        load_emica({k: v for k, v in shallow.items() if k != name}, "golden", SHALLOW)
    with pytest.raises(AssetError, match=r"layers.2.bias is \[85\], not \[86\]"):
        load_emica({**shallow, name: shallow[name][1:]}, "golden", SHALLOW)
    with pytest.raises(AssetError, match="left over: mica_encoder.E_mica.arcface.layer1.1.bn1"):
        extra = {"mica_encoder.E_mica.arcface.layer1.1.bn1.bias": torch.zeros(64)}
        load_emica({**shallow, **extra}, "golden", SHALLOW)


def test_three_faces_are_estimated_as_one_by_one(golden, shallow):
    weights = golden.weights(lambda key: key in shallow, salt="another")
    net = load_emica(weights, "golden", SHALLOW)
    generator = torch.Generator().manual_seed(4)
    crops = torch.rand(3, 3, 224, 224, generator=generator)
    aligned = torch.rand(3, 3, 112, 112, generator=generator) * 2 - 1
    with torch.no_grad():
        together = net(crops, aligned)
        alone = [net(crops[i : i + 1], aligned[i : i + 1]) for i in range(3)]
    for name in NAMES.values():
        value = torch.cat([getattr(output, name) for output in alone])
        assert value.isfinite().all() and value.std(0).min() > 0
        torch.testing.assert_close(getattr(together, name), value, rtol=1e-5, atol=2e-5)
