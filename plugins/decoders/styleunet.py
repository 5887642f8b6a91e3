"""The StyleUNet: a U-Net whose features steer a StyleGAN2 generator, without custom kernels.

Source: GFP-GAN (Wang et al., CVPR 2021), whose clean variant GUAVA uses twice: to inpaint UV maps,
and, with one styled convolution a level instead of two, to refine pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every LeakyReLU here
Noise = Literal["fresh", "none"] | Sequence[Tensor]


def channels_at(side: int, scale: float = 1.0) -> int:
    """Returns the width of the networks where maps have `side` cells a side.

    Args:
        side: 4 to 512.
        scale: on the released widths: 256 up to 32 cells, then halved with each doubling.

    Example:
        >>> [channels_at(side) for side in (4, 32, 64, 512)]
        [256, 256, 128, 16]
    """
    return max(8, int(scale * min(256, 8192 // side)))


class StyleUNet(nn.Module):
    """Down to 4 x 4, a style from there, up again, and a generator steered on the way.

    Args:
        inputs: channels of a map.
        outputs: channels of the result.
        size: side of the maps; other sizes are not accepted. A power of two, at least 8.
        style: channels of the style vector.
        scale: on the released widths.
        global_style: whether a vector [B style] from outside joins the style.
        small: one styled convolution a level and a plain one, instead of two styled ones.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        style: int = 512,
        scale: float = 1.0,
        global_style: bool = False,
        small: bool = False,
    ) -> None:
        super().__init__()
        levels = int(math.log2(size)) - 2
        if levels < 1 or 4 << levels != size:
            raise ValueError(f"size={size} should be a power of two, at least 8")
        sides = [4 << level for level in range(levels + 1)]  # 4, 8, ..., size
        widths = [channels_at(side, scale) for side in sides]
        self.size = size
        self.first = nn.Conv2d(inputs, widths[-1], 1)
        down = list(zip(widths[:0:-1], widths[-2::-1]))
        self.down = nn.ModuleList(ResidualStage(a, b, 0.5) for a, b in down)
        self.middle = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        up = list(zip(widths[:-1], widths[1:]))
        self.up = nn.ModuleList(ResidualStage(a, b, 2.0) for a, b in up)
        self.to_style = nn.Linear(widths[0] * 16, style)
        self.join = None
        if global_style:
            self.join = nn.Sequential(
                nn.Linear(2 * style, style), nn.LeakyReLU(SLOPE), nn.Linear(style, style)
            )
        self.to_scale = nn.ModuleList(_condition(width, 1.0) for width in widths[1:])
        self.to_shift = nn.ModuleList(_condition(width, 0.0) for width in widths[1:])
        self.generator = SteeredGenerator(widths, outputs, style=style, small=small)

    def forward(
        self, x: Tensor, global_style: Tensor | None = None, noise: Noise = "none"
    ) -> Tensor:
        """Turns maps [B inputs size size] into [B outputs size size].

        Args:
            x: maps.
            global_style: [B style], where the network takes one.
            noise: `"fresh"` normal noise for every styled layer, `"none"`, or a map
                [1 1 s s] a layer.
        """
        code, conditions = self.encode(x, global_style)
        return self.generator(code, conditions, noise)

    def encode(
        self, x: Tensor, global_style: Tensor | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Returns the style code [B style] and a (scale, shift) of maps for each level."""
        x = F.leaky_relu(self.first(x), SLOPE)
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        x = F.leaky_relu(self.middle(x), SLOPE)
        code = self.to_style(x.flatten(1))
        if self.join is not None:
            assert global_style is not None, "this StyleUNet takes a global style"
            code = self.join(torch.cat([code, global_style], -1))
        conditions = []
        for stage, scale, shift in zip(self.up, self.to_scale, self.to_shift):
            x = stage(x + skips.pop())
            conditions.append((scale(x), shift(x)))
        return code, conditions


class ResidualStage(nn.Module):
    """Two convolutions with a resize between them, beside a resized linear path.

    Args:
        inputs: channels in.
        outputs: channels out.
        factor: of the resize.
    """

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms maps [B C s s] to [B C' s*factor s*factor]."""
        changed = _resize(F.leaky_relu(self.conv1(x), SLOPE), self.factor)
        changed = F.leaky_relu(self.conv2(changed), SLOPE)
        return changed + self.skip(_resize(x, self.factor))


class SteeredGenerator(nn.Module):
    """StyleGAN2's generator; after a level's first convolution features are scaled and shifted.

    Args:
        widths: channels at 4 x 4, 8 x 8 and so on.
        outputs: channels of the result.
        style: channels of the style vector.
        small: the second convolution of a level is plain.
    """

    def __init__(self, widths: Sequence[int], outputs: int, *, style: int, small: bool) -> None:
        super().__init__()
        self.small = small
        layers: list[nn.Module] = [UnitNorm()]
        for _ in range(8):
            layers += [nn.Linear(style, style), nn.LeakyReLU(SLOPE)]
        self.style_mlp = nn.Sequential(*layers)
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.first = StyledConv(widths[0], widths[0], style)
        self.first_out = ToOutput(widths[0], outputs, style)
        self.styled, self.plain = nn.ModuleList(), nn.ModuleList()
        for inputs, width in zip(widths[:-1], widths[1:]):
            self.styled.append(StyledConv(inputs, width, style, upsample=True))
            if small:
                plain = nn.Conv2d(width, width, 3, padding=1)
                self.plain.append(nn.Sequential(plain, nn.LeakyReLU(SLOPE)))
            else:
                self.styled.append(StyledConv(width, width, style))
        self.outs = nn.ModuleList(ToOutput(width, outputs, style) for width in widths[1:])
        self.noise = _noise_buffers(2 * len(widths) - 1 if not small else len(widths))

    def forward(
        self, code: Tensor, conditions: Sequence[tuple[Tensor, Tensor]], noise: Noise
    ) -> Tensor:
        """Generates maps [B outputs S S] from a code [B style] and one (scale, shift) a level."""
        style = self.style_mlp(code)
        count = 1 + len(self.styled)
        noises: Sequence[Tensor | str] = [noise] * count if isinstance(noise, str) else noise
        step = 1 if self.small else 2
        x = self.first(self.constant.expand(len(code), -1, -1, -1), style, noises[0])
        out = self.first_out(x, style)
        for level, (scale, shift) in enumerate(conditions):
            at = step * level
            x = self.styled[at](x, style, noises[at + 1])
            x = x * scale + shift
            if self.small:
                x = self.plain[level](x)
            else:
                x = self.styled[at + 1](x, style, noises[at + 2])
            out = self.outs[level](x, style) + _resize(out, 2.0)
        return out


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by the style (Karras et al., 2020, 2.2).

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the kernel.
        style: channels of the style vector.
        demodulate: whether each output channel is brought to unit expected variance.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool
    ) -> None:
        super().__init__()
        self.kernel, self.demodulate = kernel, demodulate
        self.modulation = nn.Linear(style, inputs)
        nn.init.ones_(self.modulation.bias)
        weight = torch.randn(1, outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(weight / math.sqrt(inputs * kernel**2))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Transforms maps [B inputs s s] under styles [B style]."""
        scale = self.modulation(style)  # [B inputs]
        # Scaling the maps instead of the weights keeps one convolution for the whole batch.
        x = F.conv2d(x * scale[..., None, None], self.weight[0], padding=self.kernel // 2)
        if not self.demodulate:
            return x
        power = self.weight[0].square().sum((2, 3))  # [outputs inputs]
        return x * torch.rsqrt(scale.square() @ power.T + 1e-8)[..., None, None]


class StyledConv(nn.Module):
    """Resize, modulated convolution, noise, bias and LeakyReLU.

    Args:
        inputs: channels in.
        outputs: channels out.
        style: channels of the style vector.
        upsample: double the maps first.
    """

    def __init__(self, inputs: int, outputs: int, style: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv = ModulatedConv(inputs, outputs, 3, style, demodulate=True)
        self.strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | str) -> Tensor:
        """Transforms maps [B inputs s s]; noise is a map [1 1 s s], "fresh" or "none"."""
        x = self.conv(_resize(x, 2.0) if self.upsample else x, style) * math.sqrt(2)
        if isinstance(noise, str):
            amount = float(noise == "fresh")
            noise = amount * torch.randn_like(x[:, :1]) if amount else torch.zeros_like(x[:1, :1])
        return F.leaky_relu(x + self.strength * noise + self.bias, SLOPE)


class ToOutput(nn.Module):
    """A level's contribution to the result.

    Args:
        inputs: channels in.
        outputs: channels of the result.
        style: channels of the style vector.
    """

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Transforms maps [B inputs s s] to [B outputs s s]."""
        return self.conv(x, style) + self.bias


class UnitNorm(nn.Module):
    """Scales a vector to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [B C]."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-8)


def _noise_buffers(count: int) -> nn.Module:
    """The noise that released files store: 4, 8, 8, 16, 16 cells a side and so on.

    In the small generator these are not the sizes of its layers: stored, but of no use.
    """
    stored = nn.Module()
    for index in range(count):
        side = 4 << ((index + 1) // 2)
        stored.register_buffer(f"noise{index}", torch.randn(1, 1, side, side))
    return stored


def _condition(width: int, bias: float) -> nn.Module:
    last = nn.Conv2d(width, width, 3, padding=1)
    assert last.bias is not None
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE), last)


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


# A weight's name here to the released one, in this order.
RENAMES = (
    (r"\bgenerator\.", "stylegan_decoder."),
    (r"stylegan_decoder\.constant$", "stylegan_decoder.constant_input.weight"),
    (r"stylegan_decoder\.first\.", "stylegan_decoder.style_conv1."),
    (r"stylegan_decoder\.first_out\.", "stylegan_decoder.to_rgb1."),
    (r"stylegan_decoder\.styled\.", "stylegan_decoder.style_convs."),
    (r"stylegan_decoder\.plain\.", "stylegan_decoder.normal_convs."),
    (r"stylegan_decoder\.outs\.", "stylegan_decoder.to_rgbs."),
    (r"stylegan_decoder\.noise\.", "stylegan_decoder.noises."),
    (r"(stylegan_decoder\..*)\.strength$", r"\1.weight"),
    (r"(stylegan_decoder\..*)\.conv\.", r"\1.modulated_conv."),
    (r"^first\.", "conv_body_first."),
    (r"^down\.", "conv_body_down."),
    (r"^up\.", "conv_body_up."),
    (r"^middle\.", "final_conv."),
    (r"^to_style\.", "final_linear."),
    (r"^join\.", "style_fuse."),
    (r"^to_scale\.", "condition_scale."),
    (r"^to_shift\.", "condition_shift."),
)
