"""Turns a coarse person probability map into a soft mask that follows the picture's edges."""

from __future__ import annotations

import numpy as np

_SIDE = 640  # px, long side at which edges are decided; GrabCut costs about 0.5 s there


def refine_mask(image: np.ndarray, probability: np.ndarray, *, band: float = 0.02) -> np.ndarray:
    """Refines a probability map to a soft mask.

    Only a band about the coarse outline may change: GrabCut decides its pixels by colour
    (Rother et al., "GrabCut", 2004), a guided filter (He et al., "Guided Image Filtering",
    2013) then makes the edge follow the picture's at full resolution.

    Args:
        image: [H W 3] uint8 RGB.
        probability: [H W] float, the coarse map.
        band: half width of the band, as a share of the person's size.

    Returns:
        [H W] float32 in 0..1.
    """
    import cv2

    height, width = probability.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(int(round(width * scale)), 1), max(int(round(height * scale)), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(probability.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    solid = _main_component(coarse > 0.5)
    if not solid.any():
        return np.zeros((height, width), np.float32)
    coarse[~_near(solid, 0.02)] = 0
    decided = _grab_cut(small, coarse, band)
    radius = max(int(0.006 * np.sqrt(solid.sum())), 2)
    slope, offset = guided_fit(small.astype(np.float32) / 255, decided, radius, 1e-4)
    slope = cv2.resize(slope, (width, height), interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = (slope * (image.astype(np.float32) / 255)).sum(-1) + offset
    # Steepened a little: the filter leaves a haze on both sides of the edge.
    return np.clip((mask - 0.08) / 0.84, 0, 1).astype(np.float32)


def _main_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece and those at least a tenth of it; holes of it are kept."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 1:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].astype(float)
    areas[0] = 0
    return (areas >= 0.1 * areas.max())[labels] & mask


def _near(mask: np.ndarray, share: float) -> np.ndarray:
    """Grows a mask by a share of its size."""
    import cv2

    radius = max(int(share * np.sqrt(mask.sum())), 1)
    return cv2.dilate(mask.astype(np.uint8), _disk(radius)) > 0


def _disk(radius: int) -> np.ndarray:
    import cv2

    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _grab_cut(image: np.ndarray, coarse: np.ndarray, band: float) -> np.ndarray:
    """Decides the uncertain band by colour; returns [h w] float32."""
    import cv2

    solid = (coarse > 0.5).astype(np.uint8)
    radius = max(int(band * np.sqrt(solid.sum())), 2)
    sure = (cv2.erode(solid, _disk(radius), borderValue=(1.0,)) > 0) & (coarse > 0.9)
    far = (cv2.dilate(solid, _disk(radius)) == 0) & (coarse < 0.3)
    labels = np.where(coarse > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[sure], labels[far] = cv2.GC_FGD, cv2.GC_BGD
    if not sure.any() or not far.any():
        return coarse
    behind, person = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    mode = cv2.GC_INIT_WITH_MASK
    cv2.grabCut(image, labels, (0, 0, 1, 1), behind, person, 2, mode)
    cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    # Colour alone strays where clothes match the background: the two opinions are averaged.
    blended = np.clip(0.5 * cut + 0.5 * coarse, 0, 1)
    blended[sure], blended[far] = 1.0, 0.0
    return _without_specks(blended)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Removes islands and fills pinholes smaller than 0.3% of the person."""
    import cv2

    cleaned = mask.copy()
    for value in (1, 0):
        pieces = ((mask > 0.5) == bool(value)).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(pieces)
        small = stats[:, cv2.CC_STAT_AREA] < 0.003 * max((mask > 0.5).sum(), 1)
        small[0] = False
        cleaned[small[labels]] = 1 - value
    return cleaned


def guided_fit(
    guide: np.ndarray, values: np.ndarray, radius: int, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fits values linearly to the guide's colours in every window, and averages the fits.

    The filtered values are `(slope * guide).sum(-1) + offset`, also with a larger guide and
    enlarged fits. Source: He et al., "Guided Image Filtering", Eq. 14-16 (colour guide).

    Args:
        guide: [H W 3] float32 in 0..1.
        values: [H W] float32.
        radius: of the box window, px.
        eps: regularisation of the fit, in squared colour units.

    Returns:
        slope [H W 3] and offset [H W], float32.
    """
    import cv2

    def mean(array: np.ndarray) -> np.ndarray:
        return cv2.blur(array, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    outer = np.einsum("hwi,hwj->ijhw", guide, guide)
    spread = np.stack([[mean(outer[i, j]) for j in range(3)] for i in range(3)])
    spread = spread - np.einsum("hwi,hwj->ijhw", mean_guide, mean_guide)
    spread = spread + eps * np.eye(3, dtype=np.float32)[..., None, None]
    slope = np.einsum("ijhw,hwj->hwi", _inverse_3x3(spread), covariance).astype(np.float32)
    offset = mean_values - (slope * mean_guide).sum(-1)
    return mean(slope), mean(offset)


def _inverse_3x3(m: np.ndarray) -> np.ndarray:
    """Inverts symmetric matrices [3 3 ...] by their cofactors."""
    rows = [np.cross(m[(i + 1) % 3], m[(i + 2) % 3], axis=0) for i in range(3)]
    adjugate = np.stack(rows, 1)
    return adjugate / (m[0] * rows[0]).sum(0)
