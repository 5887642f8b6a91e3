"""PSNR, SSIM and LPIPS inside a mask, as plain functions and as registered metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.errors import ConfigError
from presence.evaluation.compare import Comparison, erode
from presence.evaluation.lpips_net import get_lpips
from presence.evaluation.part_mask import no_parts
from presence.interfaces import Body
from presence.registry import METRICS

_SMALLEST_LPIPS = 32  # px; below, the trunks' poolings have nothing left


class Metric(ABC):
    """A number for each pair of pictures.

    Attributes:
        name: key in tables and logs.
        label: heading, with what is needed to compare numbers (such as LPIPS's trunk).
        higher_is_better: direction.
        subjects: measured on so many samples from the first on, for what takes long; None for all.
    """

    name: str
    label: str
    higher_is_better: bool = True
    subjects: int | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Name and heading of each value that `measure` returns; usually the metric's own alone.

        A column that ends in `_failed` holds 1 or 0 and is shown as a count.
        """
        return {self.name: self.label}

    def missing(self) -> str | None:
        """Returns why the metric cannot be computed here, None if it can."""
        return None

    def unsuited(self, body: Body | None) -> str | None:
        """Returns why it cannot be computed for models with this body, None if it can."""
        return None

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Measures a batch.

        Args:
            prediction: [B 3 H W] in 0..1.
            target: [B 3 H W] in 0..1, equal to the prediction's background outside the mask.
            mask: [B 1 H W] bool, where to measure.

        Returns:
            [B]; NaN where a mask is empty.
        """

    def measure(self, comparison: Comparison) -> Tensor | dict[str, Tensor]:
        """Measures two views [B]; overridden by metrics that need more than two pictures.

        Metrics of several columns return them by name.
        """
        return self(comparison.prediction, comparison.target, comparison.mask)


class PartMetric(Metric):
    """A metric of the whole person, or of some body parts alone with the rest masked out.

    Args:
        parts: names of the body's parts, such as ("head",); the metric is then named after them,
            `psnr_head`. None measures the whole person.
        reach: how far the parts go beyond the body's mesh, as a share of their size in the
            picture; see `presence.evaluation.part_mask.part_mask`.
    """

    parts: tuple[str, ...] = ()
    reach: float = 0.25

    def __init__(self, parts: Sequence[str] = (), *, reach: float = 0.25) -> None:
        if isinstance(parts, str) or reach < 0:
            raise ConfigError(
                f"{type(self).__name__}: parts is a list of names and reach is at least 0, got "
                f"{parts!r} and {reach}"
            )
        self.parts, self.reach = tuple(parts), reach
        if self.parts:
            self.name = "_".join((self.name, *self.parts))
            word, _, unit = self.label.partition(" (")
            self.label = " ".join((word, *self.parts)) + (f" ({unit}" if unit else "")

    def unsuited(self, body: Body | None) -> str | None:
        """Returns why the parts are not known on a body, None if they are."""
        return no_parts(body, self.parts) if self.parts else None

    def measure(self, comparison: Comparison) -> Tensor:
        """Measures two views [B], inside the parts."""
        seen = comparison.inside(self.parts, self.reach) if self.parts else comparison
        return self(seen.prediction, seen.target, seen.mask)


@METRICS.register()
class PSNR(PartMetric):
    """Peak signal-to-noise ratio in dB over the pixels of the mask.

    Args:
        parts: body parts to measure alone, see `PartMetric`.
        reach: how far they go beyond the mesh.
    """

    name, label = "psnr", "PSNR (dB)"

    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Measures a batch; see `Metric.__call__`."""
        return psnr(prediction, target, mask)


@METRICS.register()
class PSNROver(PSNR):
    """PSNR of the same views over another grey, next to the headline's.

    Where only one of both pictures shows the person, the error is the distance from the person's
    colour to the background's: a number over one background alone says little about it.

    Args:
        background: grey level 0..1. 0.5 is named `psnr_grey`, 0 `psnr_black`, 1 `psnr_white`,
            others by their level in percent.
    """

    def __init__(self, background: float = 0.5) -> None:
        if not 0 <= background <= 1:
            raise ConfigError(f"PSNROver: background should be in 0..1, is {background}")
        word = {0.0: "black", 0.5: "grey", 1.0: "white"}.get(background)
        word = word or f"grey{100 * background:g}"
        self.background, self.name, self.label = background, f"psnr_{word}", f"PSNR {word} (dB)"

    def measure(self, comparison: Comparison) -> Tensor:
        """Measures two views [B], composited anew."""
        other = comparison.over(self.background)
        return self(other.prediction, other.target, other.mask)


@METRICS.register()
class PSNRInside(PSNR):
    """PSNR where both pictures show the person, away from both outlines.

    What is left is the error in colour: wrong outlines do not count here, while the background
    counts in no place. NaN where the masks have no such common inside.

    Args:
        margin: px by which the intersection of the masks is eroded.
    """

    name, label = "psnr_inside", "PSNR inside (dB)"

    def __init__(self, margin: int = 6) -> None:
        self.margin = margin

    def measure(self, comparison: Comparison) -> Tensor:
        """Measures two views [B]."""
        inside = erode(comparison.common, self.margin)
        return self(comparison.prediction, comparison.target, inside)


@METRICS.register()
class SSIM(PartMetric):
    """Structural similarity averaged over windows whose centre lies in the mask.

    Args:
        parts: body parts to measure alone, see `PartMetric`.
        reach: how far they go beyond the mesh.
    """

    name, label = "ssim", "SSIM"

    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Measures a batch; see `Metric.__call__`."""
        return ssim(prediction, target, mask)


@METRICS.register()
class LPIPS(PartMetric):
    """Learned perceptual distance over the whole picture, equal backgrounds outside the mask.

    The network sees context, so nothing is cropped or averaged by mask: both pictures have the
    same constant colour outside, where the distance is small, and the mean is over all pixels.
    A person who fills less of the picture therefore gets a smaller number.

    Args:
        net: trunk; it is part of the metric's label.
        parts: body parts to measure alone, see `PartMetric`.
        reach: how far they go beyond the mesh.
    """

    higher_is_better = False

    def __init__(
        self,
        net: Literal["squeeze", "alex", "vgg"] = "squeeze",
        *,
        parts: Sequence[str] = (),
        reach: float = 0.25,
    ) -> None:
        self.net, self.name, self.label = net, "lpips", f"LPIPS ({net})"
        super().__init__(parts, reach=reach)

    def missing(self) -> str | None:
        """Returns why the network cannot be had, None if it can."""
        return get_lpips(self.net)[1]

    @torch.no_grad()
    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Measures a batch; see `Metric.__call__`.

        Raises:
            RuntimeError: the network is missing; `missing()` tells in advance.
            ConfigError: the pictures are smaller than the network's receptive strides.
        """
        network, reason = get_lpips(self.net, prediction.device)
        if network is None:
            raise RuntimeError(reason)
        if min(prediction.shape[-2:]) < _SMALLEST_LPIPS:
            size = tuple(prediction.shape[-2:])
            raise ConfigError(f"LPIPS needs {_SMALLEST_LPIPS} pixels a side, pictures have {size}")
        with torch.autocast(prediction.device.type, enabled=False):
            distances = network(2 * prediction.float() - 1, 2 * target.float() - 1).flatten()
        return torch.where(mask.flatten(1).any(1), distances, torch.nan)


def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns PSNR in dB [B] of pictures in 0..1, over the pixels of a mask.

    Args:
        prediction: [B 3 H W].
        target: [B 3 H W].
        mask: [B 1 H W] bool, None for the whole picture. An empty mask gives NaN, equal
            pictures infinity.

    Example:
        >>> psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)).round().item()
        20.0
    """
    squared = (prediction.double() - target.double()).square().mean(1, keepdim=True)
    return -10 * torch.log10(_masked_mean(squared, mask)).float()


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns SSIM [B] of pictures in 0..1, averaged over windows centred in a mask.

    Args:
        prediction: [B 3 H W].
        target: [B 3 H W].
        mask: [B 1 H W] bool, None for all windows. Windows that would leave the picture do
            not count. An empty mask gives NaN.
    """
    values = ssim_map(prediction, target).mean(1, keepdim=True)
    if mask is not None:
        edge = _WINDOW // 2
        mask = mask[..., edge:-edge, edge:-edge]
    return _masked_mean(values, mask).float()


_WINDOW, _SIGMA = 11, 1.5


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the SSIM of every 11 x 11 Gaussian window [B C H-10 W-10], in float64.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural
    Similarity", 2004, Eq. 13, with sigma 1.5, K1 = 0.01, K2 = 0.03 and a data range of 1.

    Raises:
        ValueError: the pictures are smaller than a window.
    """
    if min(prediction.shape[-2:]) < _WINDOW:
        size = tuple(prediction.shape[-2:])
        raise ValueError(f"SSIM needs pictures of at least {_WINDOW} pixels a side, got {size}")
    x, y = prediction.double(), target.double()
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (var_x + var_y + c2)


def _blur(picture: Tensor) -> Tensor:
    position = torch.arange(_WINDOW, dtype=picture.dtype, device=picture.device) - _WINDOW // 2
    kernel = torch.exp(-0.5 * (position / _SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    channels = picture.shape[1]
    rows = F.conv2d(picture, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Averages [B 1 H W] over the mask to [B]; NaN where the mask is empty."""
    weights = torch.ones_like(values) if mask is None else mask.to(values.dtype)
    return (values * weights).flatten(1).sum(1) / weights.flatten(1).sum(1)
