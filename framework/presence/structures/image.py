"""Pictures, feature maps in the image plane and in UV, and renderings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from presence.structures.base import TensorStruct, static, tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Portrait(TensorStruct):
    """One picture of a person.

    Attributes:
        rgb: [... 3 H W] in 0..1, sRGB.
        alpha: [... 1 H W] in 0..1, the person's mask.
    """

    rgb: Tensor = tensor("3 H W")
    alpha: Tensor = tensor("1 H W")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.rgb.shape[-2]), int(self.rgb.shape[-1])

    @classmethod
    def from_file(cls, path: str | Path) -> Portrait:
        """Reads a picture file; see `presence.io.images.load_portrait` for what is accepted."""
        from presence.io.images import load_portrait

        return load_portrait(path)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFeatures(TensorStruct):
    """What an encoder sees in a portrait.

    Attributes:
        grid: [... C h w] features over the whole portrait, cell centres evenly spaced.
    """

    grid: Tensor = tensor("C h w")


@dataclasses.dataclass(frozen=True, eq=False)
class UVFeatures(TensorStruct):
    """Portrait features rearranged into UV space (paper Eq. 2-4).

    Attributes:
        core: [... C U U] on-surface features, zero where nothing was seen.
        core_seen: [... 1 U U] share of a cell's surface points that were seen, 0..1.
        shell: [... C s s] off-surface features on a coarser grid.
        shell_seen: [... 1 s s] share of a cell's shell points that were seen, 0..1.
        texels: [... 3 S S] the portrait's colour at each texel's surface point, 0 where unseen.
        texels_seen: [... 1 S S] cosine of the angle at which the texel's surface point was seen,
            0 where it was not.
        settled: whether `texels` hold the portrait's colours where the Gaussians are instead, so
            that a decoder need not read them again; see `Decoder.settle`.
    """

    core: Tensor = tensor("C U U")
    core_seen: Tensor = tensor("1 U U")
    shell: Tensor = tensor("C s s")
    shell_seen: Tensor = tensor("1 s s")
    texels: Tensor = tensor("3 S S")
    texels_seen: Tensor = tensor("1 S S")
    settled: bool = static(default=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Rendering(TensorStruct):
    """A rendered frame.

    Attributes:
        rgb: [... 3 H W], over the background that was asked for.
        alpha: [... 1 H W] coverage.
        depth: [... 1 H W] expected camera z in metres, 0 where nothing was hit.
    """

    rgb: Tensor = tensor("3 H W")
    alpha: Tensor = tensor("1 H W")
    depth: Tensor = tensor("1 H W", unit="m")


@dataclasses.dataclass(frozen=True, eq=False)
class Fragments(TensorStruct):
    """What a mesh rasterizer finds behind every pixel centre.

    Attributes:
        face_ids: [... H W] int64, -1 for background.
        barycentrics: [... H W 3], perspective-correct, 0 for background.
        depth: [... H W] camera z in metres, +inf for background.
    """

    face_ids: Tensor = tensor("H W")
    barycentrics: Tensor = tensor("H W 3")
    depth: Tensor = tensor("H W", unit="m")
