"""Metrics against scikit-image and closed forms, with and without masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from presence.errors import ConfigError
from presence.evaluation import (
    LPIPS,
    PSNR,
    PSNRInside,
    PSNROver,
    compare_views,
    erode,
    get_lpips,
    psnr,
    ssim,
    ssim_map,
    union_mask,
)
from presence.evaluation.lpips_net import TRUNKS
from presence.registry import METRICS
from presence.structures import Portrait, Rendering


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(2, 3, 40, 36, generator=generator)
    noise = 0.1 * torch.randn(2, 3, 40, 36, generator=generator)
    return (target + noise).clamp(0, 1), target


def _image(picture):
    return picture.permute(1, 2, 0).double().numpy()


def test_psnr_agrees_with_skimage(pair):
    expected = [
        peak_signal_noise_ratio(_image(t), _image(p), data_range=1.0) for p, t in zip(*pair)
    ]
    np.testing.assert_allclose(psnr(*pair).numpy(), expected, atol=1e-5)


def test_ssim_agrees_with_skimage(pair):
    for index, (prediction, target) in enumerate(zip(*pair)):
        mean, full = structural_similarity(
            _image(target),
            _image(prediction),
            data_range=1.0,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        ours = ssim_map(prediction[None], target[None])[0].permute(1, 2, 0)
        np.testing.assert_allclose(ours.numpy(), full[5:-5, 5:-5], atol=1e-9)
        assert ssim(*pair)[index].item() == pytest.approx(mean, abs=1e-6)


def test_masked_psnr_counts_only_the_mask(pair):
    prediction, target = pair
    mask = torch.zeros(2, 1, 40, 36, dtype=torch.bool)
    mask[0, :, 5:20, 7:30] = True
    mask[1, :, ::3, ::2] = True
    for index in range(2):
        inside = mask[index, 0]
        squared = (prediction[index][:, inside] - target[index][:, inside]).double() ** 2
        expected = -10 * math.log10(squared.mean().item())
        assert psnr(prediction, target, mask)[index].item() == pytest.approx(expected, abs=1e-4)


def test_masked_ssim_averages_windows_centred_in_the_mask(pair):
    mask = torch.zeros(2, 1, 40, 36, dtype=torch.bool)
    mask[:, :, 10:25, 12:22] = True
    whole = ssim_map(*pair)  # window centres start at pixel 5
    expected = whole[:, :, 5:20, 7:17].mean((1, 2, 3))
    torch.testing.assert_close(ssim(*pair, mask), expected.float())


def test_empty_masks_give_nan_and_equal_pictures_the_best(pair):
    _, target = pair
    empty = torch.zeros(2, 1, 40, 36, dtype=torch.bool)
    assert psnr(target, target, empty).isnan().all()
    assert ssim(target, target, empty).isnan().all()
    assert psnr(target, target).isinf().all()
    torch.testing.assert_close(ssim(target, target), torch.ones(2))


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))


def test_a_view_counts_the_person_and_not_the_background():
    generator = torch.Generator().manual_seed(0)
    alpha = torch.zeros(1, 1, 16, 16)
    alpha[..., 4:12, 4:12] = 1.0
    color = torch.rand(1, 3, 1, 1, generator=generator)
    scenery = torch.rand(1, 3, 16, 16, generator=generator)
    portrait = Portrait(color * alpha + scenery * (1 - alpha), alpha)
    exact = Rendering(color * alpha, alpha, torch.zeros_like(alpha))
    comparison = compare_views(exact, portrait, background=0.25)
    torch.testing.assert_close(comparison.prediction, comparison.target)
    assert comparison.mask.sum() == 64
    assert (comparison.target[..., 0, :] == 0.25).all()

    grown = torch.zeros(1, 1, 16, 16)
    grown[..., 4:14, 4:12] = 1.0  # two rows of person that are not there
    wrong = compare_views(
        Rendering(color * grown, grown, torch.zeros_like(grown)), portrait, background=0.25
    )
    assert wrong.mask.sum() == 80
    error = (color - 0.25).square().mean() * 16 / 80
    expected = -10 * torch.log10(error)
    torch.testing.assert_close(psnr(wrong.prediction, wrong.target, wrong.mask)[0], expected)


def test_union_mask_takes_either():
    first = torch.tensor([0.0, 0.6, 0.4, 1.0]).view(1, 1, 2, 2)
    second = torch.tensor([0.0, 0.0, 0.5, 1.0]).view(1, 1, 2, 2)
    assert union_mask(first, second).flatten().tolist() == [False, True, True, True]


def _disc(size, radius, shift=0):
    axis = torch.arange(size) - size / 2 + 0.5
    return ((axis[:, None] ** 2 + (axis[None] - shift) ** 2) < radius**2).float()[None, None]


def test_an_invented_rim_costs_its_distance_to_each_background():
    truth, wide = _disc(40, 10), _disc(40, 12)
    color = torch.tensor([0.1, 0.5, 0.8]).view(1, 3, 1, 1)
    portrait = Portrait(color * truth, truth)
    comparison = compare_views(Rendering(color * wide, wide, 0 * wide), portrait)
    share = ((wide.sum() - truth.sum()) / wide.sum()).item()
    for metric, grey in ((PSNR(), 1.0), (PSNROver(0.5), 0.5), (PSNROver(0.0), 0.0)):
        error = share * sum((c - grey) ** 2 for c in (0.1, 0.5, 0.8)) / 3
        assert metric.measure(comparison).item() == pytest.approx(-10 * math.log10(error), abs=1e-4)
    assert PSNRInside().measure(comparison).isinf().all()  # the colour itself is right


def test_inside_is_the_error_in_colour_whatever_the_outlines_and_the_background():
    truth, moved = _disc(64, 20), _disc(64, 20, shift=5)
    portrait = Portrait(0.5 * truth.expand(1, 3, -1, -1), truth)
    rendering = Rendering(0.6 * moved.expand(1, 3, -1, -1), moved, 0 * moved)
    for background in (0.0, 1.0):
        comparison = compare_views(rendering, portrait, background=background)
        assert PSNRInside().measure(comparison).item() == pytest.approx(20.0, abs=1e-4)
        assert PSNR().measure(comparison).item() < 19
    assert PSNRInside(margin=25).measure(comparison).isnan().all()


def test_erosion_agrees_with_scipy():
    from scipy.ndimage import binary_erosion

    mask = torch.rand(2, 1, 60, 50, generator=torch.Generator().manual_seed(1)) < 0.995
    expected = [binary_erosion(m[0], np.ones((7, 7)), border_value=True) for m in mask.numpy()]
    np.testing.assert_array_equal(erode(mask, 3)[:, 0].numpy(), expected)
    assert expected[0].any() and not expected[0].all()


def test_backgrounds_have_names():
    names = [PSNROver(grey).name for grey in (0.0, 0.5, 1.0, 0.25)]
    assert names == ["psnr_black", "psnr_grey", "psnr_white", "psnr_grey25"]
    with pytest.raises(ConfigError, match="background should be in 0..1, is 2"):
        PSNROver(2)


def _trunk_is_here() -> bool:
    from pathlib import Path

    return (Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS["squeeze"]).is_file()


needs_trunk = pytest.mark.skipif(
    not _trunk_is_here(), reason="no SqueezeNet weights in TORCH_HOME (the test never downloads)"
)


@needs_trunk
def test_lpips_agrees_with_the_package(pair):
    import lpips

    reference = lpips.LPIPS(net="squeeze", verbose=False).eval()
    prediction, target = (p[:, :, :, :36] for p in pair)
    mask = torch.ones(2, 1, 40, 36, dtype=torch.bool)
    ours = LPIPS("squeeze")(prediction, target, mask)
    with torch.no_grad():
        expected = reference(prediction, target, normalize=True).flatten()
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    assert (LPIPS()(target, target, mask) == 0).all()


@needs_trunk
def test_lpips_is_frozen_cached_and_passes_gradients(pair):
    network, reason = get_lpips("squeeze")
    assert reason is None and get_lpips("squeeze")[0] is network
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    prediction = pair[0].clone().requires_grad_()
    network(2 * prediction - 1, 2 * pair[1] - 1).mean().backward()
    assert prediction.grad.abs().sum() > 0


@needs_trunk
def test_lpips_names_pictures_that_are_too_small():
    small = torch.rand(1, 3, 16, 16)
    with pytest.raises(ConfigError, match="LPIPS needs 32 pixels"):
        LPIPS()(small, small, torch.ones(1, 1, 16, 16, dtype=torch.bool))


def test_missing_lpips_has_a_reason(monkeypatch, tmp_path):
    import presence.evaluation.lpips_net as lpips_net

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    lpips_net._load.cache_clear()
    try:
        network, reason = get_lpips("squeeze")
        assert network is None
        assert "no network" in reason and TRUNKS["squeeze"] in reason
        assert METRICS.build(dict(type="LPIPS")).missing() == reason
    finally:
        lpips_net._load.cache_clear()


def test_an_unknown_trunk_is_named():
    network, reason = get_lpips("resnet")
    assert network is None and "no trunk `resnet`" in reason
