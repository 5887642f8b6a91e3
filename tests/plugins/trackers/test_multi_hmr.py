"""Multi-HMR against outputs of the official code; padding, cameras and joint order."""

from __future__ import annotations

import argparse

import pytest
import torch
from official_weights import Golden

from presence.errors import AssetError
from presence.estimation.anchors import resolve_anchor
from presence.estimation.networks.multi_hmr import (
    IGNORED,
    MultiHmr,
    MultiHmrOutput,
    load_multi_hmr,
    official_name,
)
from presence.estimation.weak_perspective import picture_camera
from presence.geometry import axis_angle_to_matrix
from presence.structures import Cues, Portrait
from presence_plugins.trackers import multi_hmr as plugin
from presence_plugins.trackers.multi_hmr import MultiHmrEstimator


@pytest.fixture(scope="module")
def golden():
    return Golden("multihmr_s672", "estimators")


@pytest.fixture(scope="module")
def network(golden):
    return load_multi_hmr(golden.weights(), "golden")


def _close(golden, name, value):
    """Within 20 times the reference's own float32 noise, or 1e-5 of the largest value."""
    error = golden.error(name, value)
    noise = golden.manifest["float32_noise"].get(name, 0.0)
    largest = abs(golden.expected.get(name, golden.expected.get(f"{name}.probe"))).max()
    return error < max(1e-5, 20 * noise / largest)


@pytest.mark.parametrize("case", ["one", "two"])
def test_the_network_equals_the_official_one(golden, network, case):
    threshold = golden.manifest["cases"][case]["det_thresh"]
    K = golden.value(case, "K")
    with torch.no_grad():
        features = network.backbone(golden.image(case)).permute(0, 2, 3, 1)
        output = network.find(features, K, threshold=threshold, kernel=3)
        tokens = network.tokens(features, K, output.image, *output.cell.unbind(-1))
        depth = network.decode(tokens, K[output.image, 0, 0])[2]
    assert _close(golden, f"{case}.tokens", features.flatten(1, 2))
    assert _close(golden, f"{case}.score_map", network.scores(features))
    assert (output.image.numpy() == golden.expected[f"{case}.person_image"]).all()
    assert (output.cell.numpy() == golden.expected[f"{case}.person_cell"]).all()
    assert _close(golden, f"{case}.hph_token", tokens)
    found = dict(
        scores=output.scores,
        loc=output.location,
        depth=depth,
        transl_head=output.head,
        rotmat=output.rotations,
        betas=output.betas,
        expression=output.expression,
    )
    for name, value in found.items():
        assert _close(golden, f"{case}.{name}", value), name


def test_the_896_l_network_has_the_released_names_and_shapes(golden):
    with torch.device("meta"):
        network = MultiHmr(1024, 896)
    ours = {official_name(k): list(v.shape) for k, v in network.state_dict().items()}
    unused = {"backbone.encoder.mask_token", "x_attention_head.init_betas_kid"}
    layout = golden.manifest["layout_full"]
    assert ours == {k: v for k, v in layout.items() if k not in unused}


@pytest.fixture(scope="module")
def cut(golden):
    """Tensors of another salt, cut to one block of the backbone."""
    rest = [f"blocks.{number}." for number in range(1, 12)]
    weights = golden.weights(lambda key: not any(part in key for part in rest), "another")
    weights["mlp_classif.2.bias"] = torch.zeros(1)
    return weights


def test_three_pictures_at_once_equal_one_at_a_time(cut):
    network = load_multi_hmr(cut, "cut", depth=1)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 672, 672, generator=generator)
    K = torch.eye(3).repeat(3, 1, 1)
    K[:, 0, 0] = K[:, 1, 1] = torch.tensor([400.0, 582.0, 700.0])
    K[:, :2, 2] = torch.tensor([[300.0, 340.0], [336.0, 336.0], [350.0, 310.0]])
    options = dict(threshold=0.99, kernel=9)
    with torch.no_grad():
        together = network(images, K, **options)
        alone = [network(i[None], k[None], **options) for i, k in zip(images, K, strict=True)]
    counts = [int((together.image == number).sum()) for number in range(3)]
    assert min(counts) > 1
    for name in ("cell", "scores", "location", "head", "rotations", "betas", "expression"):
        joined = torch.cat([getattr(output, name) for output in alone])
        torch.testing.assert_close(getattr(together, name), joined, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("layout", [0, 1])
def test_released_files_load_with_and_without_their_namespace(golden, cut, layout, tmp_path):
    content = golden.checkpoint(layout, cut)
    assert any(k.startswith("smpl_layer.") for k in content["model_state_dict"])
    if "args" in content:
        content["args"] = argparse.Namespace(**content["args"])
    torch.save(content, tmp_path / "file.pt")
    estimator = MultiHmrEstimator(weights=str(tmp_path / "file.pt"), depth=1)
    state = estimator.network.state_dict()
    assert estimator.network.side == 672 and estimator.network.betas.out_features == 10
    assert all(torch.equal(state[k], cut[official_name(k)]) for k in state)


def test_wrong_files_name_what_differs(cut):
    changed = {**cut, "mlp_offset.3.bias": torch.zeros(2)}
    del changed["mlp_offset.0.bias"]
    with pytest.raises(AssetError, match=r"missing: mlp_offset.0.bias; left over: mlp_offset.3"):
        load_multi_hmr(changed, "x.pt", depth=1)
    with pytest.raises(AssetError, match="no file of Multi-HMR"):
        load_multi_hmr({"w": torch.zeros(1)}, "x.pt")
    assert not any(name in IGNORED for name in cut)


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (150, 150)])
def test_padded_pictures_show_points_where_their_camera_says(height, width):
    x, y = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
    ramps = torch.stack([x / width, y / height, torch.ones_like(x)])
    square, matrix = plugin.padded(ramps, 224)
    points = torch.tensor([[0.3, -0.2, 4.0], [-0.5, 0.6, 3.0], [0.1, 0.7, 5.0]])  # m
    K = picture_camera(width, height, fov=60.0).K
    seen = points / points[:, 2:] @ (matrix @ K).T
    full = points / points[:, 2:] @ K.T
    for at, place in zip(seen, full, strict=True):
        column, row = int(at[0]), int(at[1])
        told = square[:2, row, column] * torch.tensor([width, height])
        assert (told - place[:2]).abs().max() < 1.5 * max(height, width) / 224  # within a pixel
    assert square[2].mean() == pytest.approx(height * width / max(height, width) ** 2, abs=0.01)
    # The padded picture's camera has 60 degrees and its middle, up to half a pixel of padding.
    assert float((matrix @ K)[0, 0]) == pytest.approx(224 / 2 / 0.5773503, rel=1e-2)
    assert (matrix @ K)[:2, 2] == pytest.approx([112, 112], abs=0.51)


@pytest.mark.parametrize("side", [672, 224])
def test_padded_photographs_are_pillows(side):
    from PIL import Image, ImageOps
    from skimage import data

    pixels = data.astronaut()[:, :400]
    fitted = ImageOps.contain(Image.fromarray(pixels), (side, side))
    expected = torch.tensor(list(ImageOps.pad(fitted, (side, side)).tobytes())) / 255
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    error = (plugin.padded(image, side)[0] - expected.view(side, side, 3).permute(2, 0, 1)).abs()
    assert error.mean() < 0.3 / 255 and error.max() < 8 / 255


def test_a_known_body_is_seen_at_the_detected_head():
    from presence.registry import BODIES

    body = BODIES.build(dict(type="SMPLXBody"))
    angles = torch.zeros(53, 3)
    angles[0, 0], angles[16, 2], angles[22, 1], angles[52, 0] = 3.0, 0.9, 0.4, 0.2
    head = torch.tensor([0.2, -0.3, 3.5])
    output = MultiHmrOutput(
        image=torch.zeros(1, dtype=torch.int64),
        cell=torch.zeros(1, 2, dtype=torch.int64),
        scores=torch.tensor([0.7]),
        location=torch.zeros(1, 2),
        head=head[None],
        rotations=axis_angle_to_matrix(angles)[None],
        betas=torch.zeros(1, 10),
        expression=torch.zeros(1, 10),
    )
    camera = picture_camera(400, 600, fov=60.0)
    hands = dict(left_hand=torch.full((21, 3), 0.9))
    estimate = plugin.person_of(output, 0, camera, Cues(keypoints=hands))
    pose = estimate.body.pose
    assert pose[0, 0] == pytest.approx(3.0) and pose[16, 2] == pytest.approx(0.9)
    assert pose[25, 1] == pytest.approx(0.4)  # the first left finger joint is the 23rd rotation
    assert pose[22, 0] == pytest.approx(0.2) and not pose[23:25].any()
    assert estimate.parts["left_hand"].valid and not estimate.parts["right_hand"].valid
    joints = body(resolve_anchor(estimate, body)).joints
    px, _ = camera.project(joints[15:16])
    focal = 600 / 2 / 0.57735027
    expected = torch.tensor([200 + focal * 0.2 / 3.5, 300 - focal * 0.3 / 3.5])
    torch.testing.assert_close(px[0], expected, atol=0.05, rtol=0)
    assert joints[0, 1] > joints[15, 1]  # upright: y grows downwards, the pelvis is below the head


def test_nobody_is_found_in_a_picture_without_a_sure_head():
    estimator = MultiHmrEstimator(weights="random", depth=1, threshold=1.0)
    portrait = Portrait(torch.rand(3, 60, 40), torch.ones(1, 60, 40))
    assert estimator(portrait, Cues()) == ()
