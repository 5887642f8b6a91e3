"""`PretrainedEncoder`: an encoder around a released network, frozen or trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import AssetError, ConfigError, did_you_mean
from presence.interfaces import Encoder
from presence.models.weight_files import fill_strictly, find_weights, read_tensors
from presence.structures import ImageFeatures, Portrait

Precision = Literal["bfloat16", "float32"]
Background = Literal["white", "black", "keep"]
_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class PretrainedEncoder(Encoder):
    """What encoders around a released network share: input pictures, precision, freezing.

    A frozen network stays in eval mode, gets no gradients, and is not saved with checkpoints:
    its file is read again instead, and must be there. A trained one is saved, so that its file
    is needed only where training starts.

    Args:
        trunk: the network, from `load_trunk`.
        missing: why its weights could not be read, None if they were; from `load_trunk`.
        patch: side of a patch in pixels.
        image_size: longer side of the network's input, the shorter one following the portrait's
            shape; or (height, width), to which every portrait is stretched. Multiples of `patch`.
        mean: of each input channel, in 0..1.
        std: of each input channel, in 0..1.
        background: what replaces the portrait's background before encoding.
        frozen: whether the network stays as released.
        dtype: arithmetic of the network; `"bfloat16"` also stores a frozen one so. A trained one
            keeps float32 weights and computes under autocast.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        missing: AssetError | None,
        *,
        patch: int,
        image_size: int | Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        background: Background,
        frozen: bool,
        dtype: Precision,
    ) -> None:
        super().__init__()
        self.trunk, self._missing = trunk, missing
        self.patch, self.image_size = patch, _checked_size(image_size, patch)
        self.background, self.frozen = background, frozen
        self.dtype = check_choice("dtype", dtype, _PRECISIONS)
        check_choice("background", background, ("white", "black", "keep"))
        for name, values in (("mean", mean), ("std", std)):
            value = torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)
        if frozen:
            freeze(trunk, _PRECISIONS[dtype])

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Encodes normalised images [B 3 h' w'] to features [B C h w]; see `running`."""

    def forward(self, portrait: Portrait) -> ImageFeatures:
        """Encodes portraits [B 3 H W] to float32 features over the whole portrait.

        Raises:
            AssetError: the network has neither its released weights nor a checkpoint's.
        """
        if self._missing is not None:
            raise AssetError(str(self._missing))
        return ImageFeatures(self.encode(self.prepare(portrait)).float())

    def prepare(self, portrait: Portrait) -> Tensor:
        """Returns the network's input [B 3 h' w'] in float32: cut out, resized, normalised."""
        with torch.autocast(portrait.device.type, enabled=False):
            rgb, alpha = portrait.rgb.float(), portrait.alpha.float()
            if self.background != "keep":
                rgb = rgb * alpha + (1 - alpha) * float(self.background == "white")
            size = self.input_size(*portrait.size)
            if size != portrait.size:
                rgb = F.interpolate(rgb, size=size, mode="bicubic", antialias=True).clamp(0, 1)
            return (rgb - self.mean) / self.std

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns rows and columns of the network's input for a portrait of some size."""
        if not isinstance(self.image_size, int):
            return self.image_size
        scale = self.image_size / max(height, width) / self.patch
        rows, columns = (max(1, round(side * scale)) for side in (height, width))
        return rows * self.patch, columns * self.patch

    @contextmanager
    def running(self, images: Tensor) -> Iterator[Tensor]:
        """Yields images in the network's type, under the gradient and autocast mode it runs in."""
        half = self.dtype == "bfloat16"
        gradients = torch.is_grad_enabled() and not self.frozen
        autocast = torch.autocast(
            images.device.type, dtype=torch.bfloat16, enabled=half and not self.frozen
        )
        with torch.set_grad_enabled(gradients), autocast:
            yield images.to(_PRECISIONS[self.dtype]) if self.frozen else images

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """Sets the mode of everything but a frozen network, which stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if any(key.startswith(f"{prefix}trunk.") for key in state_dict):
            self._missing = None  # a checkpoint of a trained encoder replaces the released file
        super()._load_from_state_dict(state_dict, prefix, *rest)


def load_trunk(
    make: Callable[[], nn.Module],
    *,
    weights: str,
    asset: str,
    frozen: bool,
    dtype: Precision,
    official_name: Callable[[str], str],
    ignored: Iterable[str] = (),
    select: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
    finish: Callable[[nn.Module], None] | None = None,
) -> tuple[nn.Module, AssetError | None]:
    """Builds a network and fills it with its released weights, touching no memory twice.

    Args:
        make: builds the network.
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"` (always the
            same random values: for profiling and tests).
        asset: entry of the official file.
        frozen: whether it will be; a trained network may lack its file until it is needed.
        dtype: a frozen network is stored so.
        official_name: name of a weight here to the file's.
        ignored: regular expressions of names in the file that are not needed.
        select: picks the network's part of the file's tensors.
        finish: restores what a network built on the meta device computes for itself.

    Returns:
        (the network, why its weights are missing or None).

    Raises:
        AssetError: the file does not fit; or it is missing and the network is frozen.
    """
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make(), None
    try:
        path = find_weights(weights, asset)
    except AssetError as error:
        if frozen:
            raise
        return make(), error
    with torch.device("meta"):
        trunk = make()
    if finish is not None:
        finish(trunk)
    fill_strictly(
        trunk,
        select(read_tensors(path)),
        source=Path(path).name,
        official_name=official_name,
        ignored=ignored,
        dtype=_PRECISIONS[check_choice("dtype", dtype, _PRECISIONS)] if frozen else torch.float32,
    )
    return trunk, None


def freeze(module: nn.Module, dtype: torch.dtype) -> None:
    """Turns a module's parameters into buffers that are not saved, and sets eval mode.

    Buffers move with the module, but optimisers, averages, checkpoints and gradient reduction
    pass them by.

    Args:
        module: changed in place.
        dtype: of the former parameters; buffers that it had keep their own.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach().to(dtype), persistent=False)
    module.eval()


def check_choice(option: str, value: str, allowed: Iterable[str]) -> Any:
    """Returns `value`.

    Raises:
        ConfigError: it is none of the allowed ones.
    """
    known = list(allowed)
    if value not in known:
        raise ConfigError(
            f"{option}={value!r} is unknown.{did_you_mean(str(value), known)} "
            f"Available: {', '.join(known)}."
        )
    return value


def _checked_size(size: int | Sequence[int], patch: int) -> int | tuple[int, int]:
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) > 2 or not all(side >= patch and side % patch == 0 for side in sides):
        near = sorted({max(1, side // patch) * patch for side in sides})
        raise ConfigError(
            f"image_size={size} should be one or two multiples of the patch side {patch}, "
            f"such as {', '.join(str(side) for side in near)}"
        )
    return size if isinstance(size, int) else (sides[0], sides[-1])
