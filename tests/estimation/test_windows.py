"""Windows, warps, face crops and crop cameras against closed forms and scikit-image."""

from __future__ import annotations

import pytest
import torch
from skimage.transform import SimilarityTransform

from presence.estimation.faces import (
    ARCFACE,
    LANDMARKS_68,
    arcface_from_px,
    deca_square,
    similarity,
    to_68,
)
from presence.estimation.weak_perspective import picture_camera, translation_of
from presence.estimation.windows import (
    box_of,
    box_share_inside,
    clipped,
    crop_from_px,
    share_inside,
    warped,
    widened,
)


def ramp(width, height):
    """A picture [2 H W] whose value at a place is the place."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y])


def test_a_warped_ramp_reads_its_own_coordinates():
    matrix = torch.tensor([[0.8, -0.3, -6.0], [0.3, 0.8, -12.0], [0, 0, 1]])
    crop = warped(ramp(40, 30), matrix, 12, 10)
    back = matrix.inverse()
    for row, column in ((0, 0), (3, 7), (9, 11)):
        place = back @ torch.tensor([column + 0.5, row + 0.5, 1.0])
        torch.testing.assert_close(crop[:, row, column], place[:2], rtol=0, atol=1e-4)


def test_what_lies_outside_is_zero():
    crop = warped(torch.ones(1, 8, 8), crop_from_px(torch.tensor([4.0, 0, 12, 8]), 16, 16), 16, 16)
    assert crop[0, 1:-1, :7].min() == 1 and crop[0, :, 9:].max() == 0


def test_boxes():
    points = torch.tensor([[3.0, 9], [7, 2], [5, 5]])
    assert box_of(points).tolist() == [3, 2, 7, 9]
    assert clipped(torch.tensor([-5.0, 2, 30, 9]), 20, 8).tolist() == [0, 2, 20, 8]
    wide = widened(torch.tensor([0.0, 0, 90, 40]), 0.75, 1.25)
    assert wide.tolist() == pytest.approx([-11.25, -55, 101.25, 95])
    corners = torch.tensor([[-11.25, -55, 1], [101.25, 95, 1]])
    mapped = corners @ crop_from_px(wide, 384, 512).T
    torch.testing.assert_close(mapped[:, :2], torch.tensor([[0.0, 0], [384, 512]]))
    assert share_inside(points, 6, 8) == pytest.approx(1 / 3)
    assert box_share_inside(torch.tensor([-5.0, 0, 5, 10]), 20, 5) == pytest.approx(0.25)
    assert box_share_inside(torch.tensor([-9.0, 0, -5, 10]), 20, 5) == 0


def test_the_similarity_is_scikit_images():
    generator = torch.Generator().manual_seed(2)
    source, target = 50 * torch.randn(2, 5, 2, generator=generator)
    theirs = SimilarityTransform.from_estimate(source.numpy(), target.numpy())
    ours = similarity(source, target)
    torch.testing.assert_close(ours, torch.from_numpy(theirs.params).float(), rtol=1e-4, atol=1e-4)


def test_face_crops_follow_the_rules_of_their_networks():
    assert len(set(LANDMARKS_68)) == 68
    points = torch.zeros(478, 2)
    points[:, 0] = torch.arange(478)
    assert to_68(points)[[30, 36, 45]].tolist() == [[4, 0], [33, 0], [263, 0]]  # nose tip, eyes
    face = torch.tensor([[100.0, 60], [180, 160]]).repeat(34, 1)
    # Sides 80 and 100: their mean, grown by 1.1 and by 1.25.
    assert deca_square(face).tolist() == pytest.approx([140, 110, 123.75])
    # ArcFace's template, turned, doubled and moved: the transform must undo that.
    turn = torch.tensor([[1.2, -1.6], [1.6, 1.2]])
    face = torch.zeros(68, 2)
    for group, place in zip(((38, 41), (44, 46), (30,), (60,), (64,)), ARCFACE, strict=True):
        face[list(group)] = turn @ torch.tensor(place) + torch.tensor([300.0, 40])
    mapped = face[[38, 46, 30, 60, 64]] @ arcface_from_px(face)[:2, :2].T
    mapped = mapped + arcface_from_px(face)[:2, 2]
    torch.testing.assert_close(mapped, torch.tensor(ARCFACE), rtol=0, atol=1e-3)


def test_the_cameras_of_crops_agree_where_the_model_stands():
    camera = picture_camera(640, 480, fov=40)
    box = torch.tensor([-30.0, 100, 170, 300])  # partly outside
    place = translation_of(torch.tensor([2.5, 0.1, -0.2]), box, camera.K)
    flat = torch.tensor([[0.0, 0, 0], [0.1, 0.2, 0], [-0.3, 0.1, 0]])  # in the origin's plane
    ndc = 2.5 * (flat[:, :2] + torch.tensor([0.1, -0.2]))
    expected = box[:2] + (ndc + 1) / 2 * 200
    torch.testing.assert_close(camera.project(flat + place)[0], expected, rtol=0, atol=1e-3)


def test_known_intrinsics_are_kept():
    K = torch.tensor([[700.0, 0, 300], [0, 710, 250], [0, 0, 1]])
    assert torch.equal(picture_camera(640, 480, K=K).K, K)
    guessed = picture_camera(640, 480, fov=90).K
    assert guessed.tolist() == [
        [pytest.approx(320), 0, 320],
        [0, pytest.approx(320), 240],
        [0, 0, 1],
    ]
