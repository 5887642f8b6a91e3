"""HaMeR against outputs of the official code; crops and cameras against projected points."""

from __future__ import annotations

import argparse

import pytest
import torch
from official_weights import Golden, draw

from presence.errors import AssetError, InputError
from presence.estimation.checkpoints import read_released
from presence.estimation.crop_cameras import CROP_SIDE, picture_focal, picture_translation
from presence.estimation.networks.hamer import (
    COLUMNS,
    Hamer,
    HamerOutput,
    load_hamer,
    official_name,
)
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import Cues, Portrait
from presence_plugins.trackers import hamer as plugin
from presence_plugins.trackers.hamer import HamerEstimator

PARITY = 1e-5


@pytest.fixture(scope="module")
def golden():
    return Golden("hamer", "estimators")


def _drawn(golden, salt=None, **options):
    with torch.device("meta"):
        network = Hamer(**options)
    keys, salt = golden.manifest["keys"], salt or golden.manifest["salt"]
    names = {name: official_name(name) for name in network.state_dict()}
    state = {name: draw(salt, key, *keys[key]) for name, key in names.items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


def test_the_network_has_the_released_names_and_shapes(golden):
    with torch.device("meta"):
        network = Hamer()
    ours = {official_name(k): list(v.shape) for k, v in network.state_dict().items()}
    assert ours == {k: shape for k, (shape, _) in golden.manifest["keys"].items()}


@pytest.mark.slow
def test_all_32_blocks_equal_the_official_network(golden):
    network = _drawn(golden)
    with torch.no_grad():
        crops = golden.image("a")[..., COLUMNS]
        first, seventeenth, last = network.backbone.tokens(crops, [0, 16, 31])
        features = network.backbone.to_map(network.backbone.norm(last), (16, 12))
        token = network.token(features)
        output = network.decode(token)
    assert golden.error("a.block0", first) < PARITY
    assert golden.error("a.block16", seventeenth) < PARITY
    assert golden.error("a.block31", last) < PARITY
    assert golden.error("a.features", features) < PARITY
    assert golden.error("a.token", token) < PARITY
    assert golden.error("a.global_orient", output.orientation[:, None]) < PARITY
    assert golden.error("a.hand_pose", output.fingers) < PARITY
    assert golden.error("a.betas", output.betas) < PARITY
    assert golden.error("a.pred_cam", output.camera) < PARITY
    middle, side = torch.full((2,), CROP_SIDE / 2), torch.tensor(float(CROP_SIDE))
    of_whole = picture_translation(output.camera, middle, side, CROP_SIDE, CROP_SIDE)
    assert golden.error("a.cam_t_crop", of_whole) < PARITY  # a picture that is all crop


@pytest.fixture(scope="module")
def small(golden):
    """One block of backbone and head, of another salt."""
    return _drawn(golden, "another", depth=1, head_depth=1)


def test_three_hands_at_once_equal_one_at_a_time(small):
    crops = torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = small(crops), [small(crop[None]) for crop in crops]
    for name, value in vars(together).items():
        joined = torch.cat([getattr(output, name) for output in alone])
        torch.testing.assert_close(value, joined, atol=1e-5, rtol=1e-5)


class CfgNode(dict):
    """Stands for the config class of the package that wrote the file."""


@pytest.mark.parametrize("foreign", [None, CfgNode(lr=[1, CfgNode()]), argparse.Namespace(a=1)])
def test_released_files_load_whatever_objects_they_hold(golden, small, foreign, tmp_path):
    tensors = {official_name(k): v for k, v in small.state_dict().items()}
    content = golden.checkpoint(tensors=tensors)
    if foreign is not None:
        content["hyper_parameters"] = foreign
    torch.save(content, tmp_path / "hamer.ckpt")
    loaded = load_hamer(read_released(tmp_path / "hamer.ckpt"), "file", depth=1, head_depth=1)
    for name, value in small.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_of_a_file_are_never_made(tmp_path, zipped):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    content = {"state_dict": {"w": torch.ones(2)}, "extra": Bomb()}
    torch.save(content, tmp_path / "bad.ckpt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_released(tmp_path / "bad.ckpt")["w"], torch.ones(2))
    assert not (tmp_path / "made").exists()
    (tmp_path / "broken.ckpt").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(AssetError, match=r"broken.ckpt"):
        read_released(tmp_path / "broken.ckpt")


def test_wrong_files_name_what_differs(small):
    tensors = {official_name(k): v for k, v in small.state_dict().items()}
    tensors["mano.shapedirs"] = torch.zeros(1)  # known, dropped
    del tensors["mano_head.init_cam"]
    tensors["mano_head.decpose.bias"] = torch.zeros(3)
    tensors["mano_head.extra"] = torch.zeros(3)
    with pytest.raises(AssetError) as error:
        load_hamer(tensors, "x.ckpt", depth=1, head_depth=1)
    assert str(error.value) == (
        "x.ckpt does not fit Hamer. missing: mano_head.init_cam; left over: mano_head.extra; "
        "of another shape: mano_head.decpose.bias is [3], not [96]"
    )


def test_picture_cameras_equal_the_official_conversion(golden):
    names = ("pred_cam", "box_center", "box_size", "image_size", "is_right")
    rows = zip(*(golden.value("camera", name) for name in names), strict=True)
    found, focals = [], []
    for camera, centre, side, (width, height), right in rows:
        camera = camera * torch.tensor([1.0, 1.0 if right else -1.0, 1.0])
        found.append(picture_translation(camera, centre, side, int(width), int(height)))
        focals.append(picture_focal(int(width), int(height)))
    assert golden.error("camera.cam_t_full", torch.stack(found)) < PARITY
    assert golden.error("camera.focal_px", torch.tensor(focals)) < PARITY


CENTRE, SIDE, WIDTH, HEIGHT = torch.tensor([410.0, 240.0]), torch.tensor(180.0), 640, 480


@pytest.mark.parametrize("mirror", [False, True])
def test_picture_and_crop_cameras_see_a_hand_at_the_same_pixels(mirror):
    generator = torch.Generator().manual_seed(4)
    points = 0.06 * torch.randn(40, 3, generator=generator)  # m, of the (right) model
    camera = torch.tensor([0.9, 0.05, -0.1])
    turn = axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.5]))
    output = HamerOutput(
        turn[None], torch.eye(3).expand(1, 15, 3, 3), torch.zeros(1, 10), camera[None]
    )
    hand = plugin.hand_of(output, CENTRE, SIDE, (WIDTH, HEIGHT), mirror=mirror)
    in_crop = points @ turn.T + torch.stack([camera[1], camera[2], 2 * 5000 / (256 * camera[0])])
    crop_px = in_crop[:, :2] / in_crop[:, 2:] * 5000 + 128
    model = points * torch.tensor([-1.0, 1, 1]) if mirror else points  # the left hand's own points
    seen = model @ hand.rotation.T + hand.translation
    seen = seen / seen[:, 2:] @ hand.K.T
    crop_px = torch.where(torch.tensor([mirror, False]), 256 - crop_px, crop_px)
    expected = CENTRE + (crop_px - 128) * SIDE / 256
    assert (seen[:, :2] - expected).abs().max() < 0.1  # px; float32 at 40 m
    assert hand.model == ("mano_left" if mirror else "mano_right")


@pytest.mark.parametrize("mirror", [False, True])
def test_crops_show_the_hand_where_the_matrix_says(mirror):
    from presence.estimation.windows import warped

    x, y = torch.meshgrid(torch.arange(WIDTH) + 0.5, torch.arange(HEIGHT) + 0.5, indexing="xy")
    ramps = torch.stack([x, y])  # every pixel holds its own place
    matrix = plugin.crop_from_picture(CENTRE, SIDE, WIDTH, mirror=mirror)
    crop = warped(ramps, matrix, 256, 256)
    torch.testing.assert_close(crop[:, 128, 128], CENTRE, atol=1e-2, rtol=0)
    step = SIDE / 256 * (-1 if mirror else 1)
    torch.testing.assert_close(crop[0, 128, 228] - crop[0, 128, 128], 100 * step, rtol=1e-3, atol=0)
    mirrored_cv = _cv2_crop(ramps, mirror)
    assert (crop - mirrored_cv).abs().max() < 0.05  # OpenCV rounds weights to 1/32


def _cv2_crop(image, mirror):
    """The crop by OpenCV, pixel centres at integers, after mirroring the picture itself."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    pixels = (image.flip(-1) if mirror else image).permute(1, 2, 0).contiguous().numpy()
    x, y = (CENTRE - 0.5).tolist()
    x = WIDTH - x - 1 if mirror else x
    half = float(SIDE) / 2
    source = torch.tensor([[x, y], [x + half, y], [x, y + half]]).numpy()
    target = torch.tensor([[128.0, 128], [256, 128], [128, 256]]).numpy()
    affine = cv2.getAffineTransform(source, target)
    return torch.from_numpy(cv2.warpAffine(pixels, affine, (256, 256))).permute(2, 0, 1)


def test_the_square_follows_sure_keypoints_only():
    points = torch.tensor([[10.0, 20, 0.9], [40, 30, 0.9], [900, 900, 0.2]])
    centre, side = plugin.crop_square(points)
    assert centre.tolist() == [25.0, 25.0]
    assert float(side) == 2.0 * 30 / 0.75  # 30 wide, so 40 high at 3:4, twice


def test_only_large_hands_are_blurred():
    image = torch.rand(3, 64, 64)
    assert plugin.blurred(image, 256 * 2.1) is image
    blurred = plugin.blurred(image, 256 * 6)
    assert blurred.std() < 0.5 * image.std()


@pytest.fixture(scope="module")
def estimator():
    return HamerEstimator(weights="random", depth=1)


def test_a_left_hand_is_the_mirrored_right_hand(estimator):
    generator = torch.Generator().manual_seed(2)
    rgb = torch.rand(3, 96, 128, generator=generator)
    points = torch.rand(21, 3, generator=generator) * torch.tensor([40.0, 40, 0]) + 30
    points[:, 2] = 1
    flipped = points * torch.tensor([-1.0, 1, 1]) + torch.tensor([128.0, 0, 0])
    alpha = torch.ones(1, 96, 128)
    (right,) = estimator(Portrait(rgb, alpha), Cues(keypoints=dict(right_hand=points)))
    (left,) = estimator(Portrait(rgb.flip(-1), alpha), Cues(keypoints=dict(left_hand=flipped)))
    signs = torch.tensor([1.0, -1, -1])
    torch.testing.assert_close(
        left.body.pose[25:40], right.body.pose[40:] * signs, atol=1e-4, rtol=0
    )
    ours, theirs = left.models["left_hand"], right.models["right_hand"]
    sides = torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(ours.translation, theirs.translation * sides, rtol=1e-3, atol=1e-3)
    turned = matrix_to_axis_angle(theirs.rotation) * signs
    torch.testing.assert_close(matrix_to_axis_angle(ours.rotation), turned, atol=1e-4, rtol=0)


def test_hands_that_are_not_seen_are_not_estimated(estimator):
    portrait = Portrait(torch.rand(3, 64, 64), torch.ones(1, 64, 64))
    unsure = torch.rand(21, 3) * torch.tensor([60.0, 60, 0.4])
    sure = unsure + torch.tensor([0, 0, 0.6])
    assert estimator(portrait, Cues(keypoints=dict(left_hand=unsure))) == ()
    (estimate,) = estimator(portrait, Cues(keypoints=dict(left_hand=unsure, right_hand=sure)))
    assert not estimate.parts["left_hand"].valid and estimate.parts["right_hand"].valid
    assert "0 of 21 keypoints" in estimate.parts["left_hand"].reason
    assert set(estimate.models) == {"right_hand"} and not estimate.body.pose[:40].any()
    with pytest.raises(InputError, match="left_hand"):
        estimator(portrait, Cues())


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    with pytest.raises(AssetError, match=r"HaMeR.*hamer.ckpt.*MANO non-commercial"):
        HamerEstimator()
