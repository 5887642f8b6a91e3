"""Sapiens' pose network against outputs of the official code; heat maps, crops, hand order."""

from __future__ import annotations

import pytest
import torch
from official_weights import Golden

from presence.errors import AssetError
from presence.estimation.heatmap_peaks import refined_peaks
from presence.estimation.networks.sapiens_pose import (
    CELLS,
    SapiensPose,
    load_sapiens_pose,
    official_name,
)
from presence.estimation.windows import warped
from presence.structures import Cues, Portrait
from presence_plugins.trackers import sapiens_pose as plugin
from presence_plugins.trackers.sapiens_pose import SapiensPoseEstimator

PARITY = 1e-5


@pytest.mark.slow
def test_four_blocks_of_1b_and_the_head_equal_the_official_network():
    golden = Golden("sapiens_1b_pose")
    network = load_sapiens_pose(golden.weights(), "golden", depth=4)
    with torch.no_grad():
        features = network.backbone(golden.image("a"))
        heatmaps = network.head(features)
    assert golden.error("a.features", features) < PARITY
    assert golden.error("a.heatmaps", heatmaps) < PARITY
    assert golden.error("a.heatmap_max", heatmaps.flatten(2).amax(-1)) < PARITY
    assert (heatmaps.flatten(2).argmax(-1).numpy() == golden.expected["a.heatmap_argmax"]).all()


def test_the_40_block_network_has_the_released_names_and_shapes():
    with torch.device("meta"):
        network = SapiensPose("1b")
    ours = {official_name(k): list(v.shape) for k, v in network.state_dict().items()}
    assert ours == Golden("sapiens_1b_pose").manifest["layout_full"]


def _blob(x, y, sigma=2.0):
    column, row = torch.meshgrid(*(torch.arange(n) for n in CELLS[::-1]), indexing="xy")
    return 0.8 * torch.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))


def test_peaks_are_found_between_cells():
    truth = torch.tensor([[60.3, 100.7], [90.5, 40.1], [120.0, 200.0], [30.8, 30.2]])
    found, largest = refined_peaks(torch.stack([_blob(x, y) for x, y in truth.tolist()]))
    assert (found - truth).abs().max() < 0.02
    assert (found.round() - truth).abs().max() > 0.2  # rounding alone would not do
    assert ((largest > 0.75) & (largest <= 0.8)).all()


def test_a_peak_on_the_edge_stays_near_it():
    found, _ = refined_peaks(torch.stack([_blob(0.0, 0.0), _blob(191.0, 255.0)]))
    assert (found - torch.tensor([[0.0, 0.0], [191.0, 255.0]])).abs().max() < 1.0


def test_points_come_back_to_where_the_crop_took_them_from():
    box = torch.tensor([100.0, 50.0, 400.0, 450.0])
    matrix = plugin.crop_from_picture(box)
    place = torch.tensor([222.0, 333.0])
    in_crop = (matrix @ torch.cat([place, torch.ones(1)]))[:2]
    # A crop pixel's centre 0 is heat map cell 0, the last one the last cell (UDP).
    cell = (in_crop - 0.5) / torch.tensor([767.0, 1023.0]) * torch.tensor([191.0, 255.0])
    points = plugin.points_of(_blob(*cell.tolist())[None], box)
    torch.testing.assert_close(points[0, :2], place, atol=0.05, rtol=0)
    assert points[0, 2] == pytest.approx(0.8, abs=0.03)
    x, y = torch.meshgrid(torch.arange(500) + 0.5, torch.arange(500) + 0.5, indexing="xy")
    crop = warped(torch.stack([x, y]), matrix, 768, 1024)
    column, row = (int(v) for v in in_crop)
    assert (crop[:, row, column] - place).abs().max() < 0.5


def test_hands_go_from_wrist_and_thumb_to_the_little_finger_outwards():
    points = torch.arange(308.0)[:, None].expand(-1, 3)
    hands = plugin.hands_of(points)
    right, left = (hands[side][:, 0].int().tolist() for side in ("right_hand", "left_hand"))
    assert right[:9] == [41, 24, 23, 22, 21, 28, 27, 26, 25] and right[-1] == 37
    assert left[:5] == [62, 45, 44, 43, 42] and sorted(left) == list(range(42, 63))


@pytest.fixture(scope="module")
def estimator():
    return SapiensPoseEstimator(size="0.3b", weights="random", depth=1)


def test_no_box_means_the_whole_picture(estimator, monkeypatch):
    portrait = Portrait(torch.rand(3, 128, 96), torch.ones(1, 128, 96))
    crops = []

    def blobs(crop):
        crops.append(crop[0])
        return _blob(95.5, 127.5).expand(1, 308, -1, -1)

    monkeypatch.setattr(estimator, "network", blobs)
    (whole,) = estimator(portrait, Cues())
    margin = torch.tensor([96.0, 128.0]) * (1 - 1 / 1.25) / 2
    inner = torch.cat([margin, torch.tensor([96.0, 128.0]) - margin])
    (boxed,) = estimator(portrait, Cues(person=inner))  # grows by a quarter
    torch.testing.assert_close(crops[0], crops[1], atol=1e-3, rtol=0)
    middle = whole.keypoints["sapiens308"][:, :2]
    torch.testing.assert_close(middle, torch.tensor([[48.0, 64]]).expand(308, -1))
    # The released scripts' normalisation, at a pixel of the picture that the crop hits.
    matrix = plugin.crop_from_picture(torch.tensor([0.0, 0, 96, 128]))
    x, y = (matrix @ torch.tensor([40.5, 60.5, 1]))[:2].int().tolist()
    grey = crops[0][:, y, x] * torch.tensor([58.5, 57, 57.5]) + torch.tensor([123.5, 116.5, 103.5])
    assert (grey / 255 - portrait.rgb[:, 60, 40]).abs().max() < 0.15
    assert boxed.parts == {}


def test_people_seen_together_are_seen_as_alone(estimator):
    generator = torch.Generator().manual_seed(0)
    sizes = ((128, 96), (90, 160))
    portraits = [
        Portrait(torch.rand(3, *size, generator=generator), torch.ones(1, *size)) for size in sizes
    ]
    cues = [Cues(), Cues(person=torch.tensor([20.0, 10.0, 90.0, 80.0]))]
    together = estimator.together(portraits, cues)
    for both, portrait, cue, size in zip(together, portraits, cues, sizes, strict=True):
        (alone,) = estimator(portrait, cue)
        assert (both.camera.height, both.camera.width) == size
        assert both.keypoints.keys() == alone.keypoints.keys()
        for name, points in alone.keypoints.items():
            torch.testing.assert_close(both.keypoints[name], points, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("nested", [False, True])
def test_released_files_load_strictly(estimator, nested, tmp_path):
    tensors = {official_name(k): v for k, v in estimator.network.state_dict().items()}
    path = tmp_path / "pose.pth"
    torch.save({"state_dict": tensors} if nested else tensors, path)
    loaded = SapiensPoseEstimator(size="0.3b", weights=str(path), depth=1)
    for name, value in estimator.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)
    del tensors["head.final_layer.bias"]
    tensors["backbone.cls_token"] = torch.zeros(1)
    torch.save(tensors, path)
    with pytest.raises(AssetError, match=r"missing: head.final_layer.bias; left over: backbone"):
        SapiensPoseEstimator(size="0.3b", weights=str(path), depth=1)
