"""The OSX adapter: its contract, files, crops, and known bodies projected into the picture."""

from __future__ import annotations

import math

import pytest
import torch

from presence.bodies import load_body
from presence.errors import AssetError, InputError
from presence.estimation.networks.osx import Osx, OsxOutput, official_name
from presence.geometry import axis_angle_to_matrix
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Cues, Portrait
from presence.testing.contracts import check_estimator
from presence_plugins.trackers.osx import crop_box, estimate_of, hand_mean_of, pose_of

PERSON = torch.tensor([40.0, 30, 200, 260])
SIZE = (320, 260)  # width, height


def _portrait():
    rgb = torch.rand(3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(0))
    return Portrait(rgb, torch.ones(1, SIZE[1], SIZE[0]))


def test_the_contract_of_estimators():
    estimator = ESTIMATORS.build(dict(type="OsxEstimator", weights="random", depth=1))
    check_estimator(estimator, _portrait(), Cues(person=PERSON))
    with pytest.raises(InputError, match="is not in the picture"):
        estimator(_portrait(), Cues(person=PERSON + 400))


def test_a_released_file_gives_the_network_and_the_hands_mean(tmp_path):
    torch.manual_seed(1)
    net = Osx("wo_decoder", depth=1).eval()
    tensors = {f"module.{official_name(k)}": v for k, v in net.state_dict().items()}
    position = tensors["module.encoder.pos_embed"]
    tensors["module.encoder.pos_embed"] = torch.cat([torch.zeros(1, 1, 1024), position], 1)
    means = {f"module.smplx_layer.{side}_hand_mean": torch.rand(45) for side in ("left", "right")}
    path = tmp_path / "osx_l_wo_decoder.pth.tar"
    torch.save({"epoch": 0, "network": {**tensors, **means}, "optimizer": {}}, path)
    estimator = ESTIMATORS.build(dict(type="OsxEstimator", weights=str(path), depth=1))
    expected = torch.stack([mean.view(15, 3) for mean in means.values()])
    assert torch.equal(estimator.hand_mean, expected)
    image = torch.rand(1, 3, 512, 384)
    with torch.no_grad():
        assert torch.equal(estimator.network(image).body, net(image).body)
    torch.save({"network": tensors}, path)
    estimator = ESTIMATORS.build(dict(type="OsxEstimator", weights=str(path), depth=1))
    (estimate,) = estimator(_portrait(), Cues(person=PERSON))
    for hand in ("left_hand", "right_hand"):
        assert (
            not estimate.parts[hand].valid and "is not in the file" in estimate.parts[hand].reason
        )


def test_hand_means_of_another_shape_are_refused():
    names = ("module.smplx_layer.left_hand_mean", "module.smplx_layer.right_hand_mean")
    with pytest.raises(AssetError, match=r"\[45, 12\] numbers"):
        hand_mean_of(dict(zip(names, (torch.ones(45), torch.ones(12)), strict=True)), "x")


def test_the_crop_is_clipped_grown_to_its_shape_and_by_a_quarter():
    # 160 x 230 is wider than 3:4 of its height? 230 * 3/4 = 172.5: the width grows.
    assert crop_box(PERSON, *SIZE).tolist() == pytest.approx([12.1875, 1.25, 227.8125, 288.75])
    beyond = torch.tensor([-100.0, 30, 200, 500])
    inside = torch.tensor([0.0, 30, 200, 260])
    assert torch.equal(crop_box(beyond, *SIZE), crop_box(inside, *SIZE))


def _six(matrix):
    return matrix[..., :2].flatten(-2)


def _mirror(axis_angle):
    return axis_angle * torch.tensor([1.0, -1, -1])


def _output(pose, mean, camera):
    """What a perfect network would say of a pose [55 3], hand means [2 15 3] and camera [3]."""

    def six(rotations):
        return _six(axis_angle_to_matrix(rotations))[None]

    return OsxOutput(
        root=six(pose[0]),
        body=six(pose[1:22]),
        left_hand=six(_mirror(pose[25:40] - mean[0])),
        right_hand=six(pose[40:] - mean[1]),
        jaw=six(pose[22]),
        shape=torch.full((1, 10), 0.5),
        expression=torch.zeros(1, 10),
        camera=camera[None],
        boxes=torch.tensor([[[0.0, 0, 40, 40], [-900, 0, -800, 100], [100, 0, 200, 100]]]),
        joints=torch.full((1, 25, 3), 5.5),
    )


def _known():
    generator = torch.Generator().manual_seed(5)
    pose = 0.3 * torch.randn(55, 3, generator=generator)
    pose[0] = torch.tensor([math.pi - 0.2, 0.1, 0.0])
    pose[23:25] = 0
    return pose, 0.2 * torch.randn(2, 15, 3, generator=generator)


def test_a_known_body_projects_as_the_network_means_it():
    body, (pose, mean) = load_body("annyx"), _known()
    raw = torch.tensor([0.1, -0.3, 0.4])
    box = crop_box(PERSON, *SIZE)
    estimate = estimate_of(_output(pose, mean, raw), box, SIZE, mean)
    given = estimate.body
    betas, expression = torch.full((10,), 0.5), torch.zeros(10)
    depth = math.sqrt(5000**2 * 2.5**2 / (256 * 192)) / (1 + math.exp(-0.4))
    place = torch.tensor([0.1, -0.3, depth])
    truth = body(BodyParams(betas, expression, pose, place)).vertices
    # The network's camera: 5000 px on 192 x 256, whose edges are those of the crop.
    virtual = 5000 * truth[:, :2] / truth[:, 2:] + torch.tensor([96.0, 128])
    expected = box[:2] + virtual * (box[2:] - box[:2]) / torch.tensor([192.0, 256])
    px, _ = estimate.camera.project(body(given).vertices)
    torch.testing.assert_close(px, expected, rtol=0, atol=0.02)
    torch.testing.assert_close(
        axis_angle_to_matrix(given.pose), axis_angle_to_matrix(pose), rtol=0, atol=2e-5
    )


def test_fingers_without_the_mean_stay_relative():
    pose, mean = _known()
    output = _output(pose, mean, torch.zeros(3))
    output = OsxOutput(**{name: value[0] for name, value in vars(output).items()})
    torch.testing.assert_close(
        pose_of(output, None)[25:], pose[25:] - mean.flatten(0, 1), atol=1e-5, rtol=0
    )


def test_parts_outside_the_picture_are_not_valid_and_joints_are_in_its_pixels():
    pose, mean = _known()
    box = crop_box(PERSON, *SIZE)
    estimate = estimate_of(_output(pose, mean, torch.zeros(3)), box, SIZE, mean)
    centre = estimate.keypoints["osx25"][0]
    # Cell (5.5, 5.5) of 12 x 16: the middle across, and 6 of 16 cells down.
    expected = [(box[0] + box[2]) / 2, box[1] + (box[3] - box[1]) * 6 / 16, 1]
    assert centre.tolist() == pytest.approx([float(v) for v in expected])
    parts = estimate.parts
    assert parts["upper"].valid and parts["left_hand"].valid and parts["face"].valid
    assert not parts["right_hand"].valid and parts["right_hand"].confidence == 0
    assert "0% of its box" in parts["right_hand"].reason
