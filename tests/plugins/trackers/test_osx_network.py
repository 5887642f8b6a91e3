"""OSX's variants against outputs of the public code, and their loader on both layouts."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from official_weights import Golden

from presence.errors import AssetError
from presence.estimation.networks.heatmaps import sample_cells, soft_argmax
from presence.estimation.networks.osx import (
    IMAGE,
    Osx,
    camera_translation,
    load_osx,
    official_name,
)
from presence.estimation.networks.osx_parts import square_boxes
from presence.estimation.networks.rotations import matrix_from_rows, mirrored

VARIANTS = {"wo_decoder": "osx_wo_decoder", "normal": "osx_normal"}


def _shallow(key):
    return not re.match(r"encoder\.blocks\.[1-9]", key)


@pytest.fixture(scope="module")
def files():
    """Golden folder of each variant, and its weights with one transformer block."""
    goldens = {variant: Golden(name, kind="estimators") for variant, name in VARIANTS.items()}
    return {variant: (golden, golden.weights(_shallow)) for variant, golden in goldens.items()}


@pytest.fixture(scope="module")
def encoder(files):
    """The transformer, which both variants have: same names, same rule, so same weights."""
    golden, _ = files["wo_decoder"]
    tensors = golden.weights(lambda key: key.startswith("encoder."))
    return load_osx({**files["wo_decoder"][1], **tensors}, "golden").encoder


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_equal_the_public_network(files, encoder, variant):
    golden, weights = files[variant]
    net = load_osx(weights, "golden", depth=1)
    assert net.variant == variant
    image = golden.image("a")
    with torch.no_grad():
        (first,) = net.encoder.tokens(image[..., ::2, ::2], [0])
        net.encoder = encoder
        _check_steps(golden, net, image, first)
        output = net(image)
    six = dict(
        root_6d=output.root,
        body_6d=output.body.flatten(1),
        hand_6d=torch.cat([output.left_hand, output.right_hand]).flatten(1),
        jaw_6d=output.jaw,
        cam_raw=output.camera,
        shape=output.shape,
        expr=output.expression,
        cam_trans=camera_translation(output.camera),
    )
    matrices = dict(
        root_rotmat=matrix_from_rows(output.root)[:, None],
        body_rotmat=matrix_from_rows(output.body),
        lhand_rotmat=mirrored(matrix_from_rows(output.left_hand)),
        rhand_rotmat=matrix_from_rows(output.right_hand),
        jaw_rotmat=matrix_from_rows(output.jaw)[:, None],
    )
    boxes = {f"{n}_bbox": output.boxes[:, i] for i, n in enumerate(("lhand", "rhand", "face"))}
    for name, value in {**six, **matrices, **boxes}.items():
        assert golden.excess(f"a.{name}", value) < 1, name
    _check_parts_of_given_boxes(golden, net, image)


def _check_parts_of_given_boxes(golden, net, image):
    """With the reference's own boxes, 2e-3 px from ours, hands and jaw agree to 1e-4."""
    boxes = [torch.from_numpy(golden.expected[f"a.{n}_bbox"]) for n in ("lhand", "rhand", "face")]
    boxes = torch.stack(boxes, 1)
    with torch.no_grad():
        tokens, maps = net.encode(image)
        left, right = net.hands(maps, boxes[:, :2], IMAGE)
        _, jaw = net.face(maps, tokens, boxes[:, 2], IMAGE)
    for name, value in (
        ("lhand_rotmat", mirrored(matrix_from_rows(left.unflatten(-1, (15, 6))))),
        ("rhand_rotmat", matrix_from_rows(right.unflatten(-1, (15, 6)))),
        ("jaw_rotmat", matrix_from_rows(jaw)[:, None]),
    ):
        print("with the reference's boxes:")
        golden.excess(f"a.{name}", value)
        assert (value - torch.from_numpy(golden.expected[f"a.{name}"])).abs().max() < 1e-4, name


def _check_steps(golden, net, image, first):
    """Compares what lies between, in order: the first that differs is the place."""
    tokens, maps = net.encode(image)
    joints, heat = net.body_position_net(maps)
    centres, sizes = net.box_net(maps, heat)
    steps = dict(block0=first, features=maps, task_tokens=tokens, body_joint_xyz=joints)
    for i, name in enumerate(("lhand", "rhand", "face")):
        steps |= {f"{name}_center": centres[:, i], f"{name}_size": sizes[:, i]}
    boxes = square_boxes(centres, sizes, IMAGE)
    crops = net.hands.crops(maps, boxes[:, :2], IMAGE)
    if net.variant == "wo_decoder":
        steps |= dict(hand_roi0=crops, hand_joint_xyz=net.hands.position_net(crops)[0])
    else:
        faces = net.face.crops(maps, boxes[:, 2], IMAGE)
        steps |= {f"hand_roi{i}": crop for i, crop in enumerate(crops)}
        steps |= {f"face_roi{i}": crop for i, crop in enumerate(faces)}
        steps["hand_decoder"], steps["hand_joint_xyz"] = net.hands.refine(crops)
        steps["face_decoder"], steps["face_joint_xyz"] = net.face.refine(faces)
    for name, value in steps.items():
        assert golden.excess(f"a.{name}", value) < 1, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_has_the_released_names_and_shapes(files, variant):
    with torch.device("meta"):
        net = Osx(variant)
    ours = {official_name(name): list(value.shape) for name, value in net.state_dict().items()}
    ours["encoder.pos_embed"][1] += 1  # the class token's row, added to the others when read
    assert ours == {key: shape for key, (shape, _) in files[variant][0].manifest["keys"].items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", [0, 1])
def test_both_layouts_load_and_what_is_not_needed_is_dropped(files, variant, layout):
    golden, weights = files[variant]
    unused = {key: torch.zeros(1) for key in golden.manifest["unused_keys"]}
    tensors = golden.checkpoint(layout, {**weights, **unused})["network"]
    loaded = load_osx(tensors, "golden", depth=1).state_dict()
    assert len(loaded) == len(weights)
    for name, value in loaded.items():
        if not name.endswith("encoder.position"):
            assert torch.equal(value, weights[official_name(name)]), name


def test_missing_misshapen_and_unknown_weights_are_named(files):
    golden, weights = files["normal"]
    name = "hand_decoder.keypoint_head.transformer.decoder.layers.3.norms.1.bias"
    with pytest.raises(AssetError, match=f"golden does not fit Osx. missing: {name}"):
        load_osx({k: v for k, v in weights.items() if k != name}, "golden", depth=1)
    with pytest.raises(AssetError, match=r"norms.1.bias is \[255\], not \[256\]"):
        load_osx({**weights, name: weights[name][1:]}, "golden", depth=1)
    with pytest.raises(AssetError, match="left over: hand_decoder.neck.extra.weight"):
        load_osx({**weights, "hand_decoder.neck.extra.weight": torch.zeros(1)}, "x", depth=1)
    with pytest.raises(AssetError, match=r"missing: encoder.blocks.{1-23}.norm1.weight"):
        load_osx(weights, "golden")
    with pytest.raises(AssetError, match="missing: encoder.pos_embed of an OSX encoder"):
        load_osx({"state": torch.zeros(1)}, "golden")


@pytest.fixture(scope="module")
def mixed(files):
    """The third variant, decoders for hands only, with weights of another salt."""
    (normal, _), (plain, _) = files["normal"], files["wo_decoder"]
    parts = normal.weights(lambda k: _shallow(k) and not k.startswith("face_"), salt="another")
    return {**parts, **plain.weights(lambda k: k.startswith("face_"), salt="another")}


@pytest.mark.parametrize("variant", ["wo_decoder", "wo_face_decoder", "normal"])
def test_three_people_are_estimated_as_one_by_one(files, mixed, variant):
    weights = mixed if variant == "wo_face_decoder" else files[variant][1]
    net = load_osx(weights, "golden", depth=1)
    assert net.variant == variant
    crops = torch.rand(3, 3, *IMAGE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        together = dataclasses.asdict(net(crops))
        alone = [dataclasses.asdict(net(crop[None])) for crop in crops]
    for name, value in together.items():
        single = torch.cat([output[name] for output in alone])
        assert value.isfinite().all() and value.std(0).max() > 0
        tolerance = 2e-2 if name == "boxes" else 2e-3  # sharp heat maps, see float32_noise
        torch.testing.assert_close(value, single, rtol=1e-3, atol=tolerance)


def test_soft_argmax_finds_a_lone_cell_and_sampling_reads_it():
    logits = torch.full((1, 2, 3, 4, 5), -1e4)
    logits[0, 0, 2, 1, 4] = logits[0, 1, 0, 3, 2] = 1e4
    cells, probability = soft_argmax(logits)
    assert cells.tolist() == [[[4, 1, 2], [2, 3, 0]]]
    assert probability.shape == logits.shape
    maps = torch.arange(20.0).view(1, 1, 4, 5)
    assert sample_cells(maps, cells[..., :2]).flatten().tolist() == pytest.approx([9, 17])
    between = torch.tensor([[[1.5, 2.0], [-1.0, 0.0]]])
    assert sample_cells(maps, between).flatten().tolist() == pytest.approx([11.5, 0])
