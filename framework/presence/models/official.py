"""Other projects' released checkpoints, turned into weights of a config here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from presence.errors import AssetError, ConfigError
from presence.models.weight_files import fill_strictly, find_weights, read_tensors


@dataclasses.dataclass(frozen=True)
class OfficialLayout:
    """How a released file names the weights of a model here.

    A decoder names its own in the class attribute `official`.

    Attributes:
        name: a name in `AvatarModel.state_dict()` to the file's.
        ignored: regular expressions of names in the file that no network here needs (body-model
            buffers, losses); every other name that has no place is an error.
        check: looks at the file's tensors first, and raises AssetError for what names and shapes
            cannot tell.
        read: reads the file; the default opens safetensors, `.pth` and a `state_dict` inside.
    """

    name: Callable[[str], str]
    ignored: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Tensor]], None] | None = None
    read: Callable[[str | Path], dict[str, Tensor]] = read_tensors


def load_official(model: nn.Module, path: str | Path) -> None:
    """Fills a model with the weights of its decoder's project.

    Args:
        model: an `AvatarModel` built from a config of the released size. Frozen encoders keep
            what they were built with: the released files do not hold them.
        path: the released file.

    Raises:
        AssetError: unreadable, or names and shapes differ; the message names every one of the
            file that has no place here and every one that is missing there.
        ConfigError: no official file is known for the model's decoder.
    """
    decoder: Any = model.decoder
    layout: OfficialLayout | None = getattr(decoder, "official", None)
    if layout is None:
        raise ConfigError(f"{type(decoder).__name__} has no official weights to load")
    tensors = layout.read(path)
    if layout.check is not None:
        layout.check(tensors)
    fill_strictly(
        model,
        tensors,
        source=Path(path).name,
        official_name=layout.name,
        ignored=layout.ignored,
    )


def import_weights(
    config: Any, path: str | Path, out: str | Path, dtype: torch.dtype = torch.float16
) -> Path:
    """Writes a released file as weights of ours, which every tool reads.

    Args:
        config: a whole config, of the released size.
        path: the released file, or its entry in configs/assets.yaml.
        out: safetensors file to write; its header carries the config and the source's name.
        dtype: of floating tensors.

    Raises:
        AssetError: the file is missing; see also `load_official`.
    """
    import json

    from safetensors.torch import save

    from presence.engine.checkpoint import FORMAT, build_model, config_to_plain
    from presence.io.atomic import write_bytes

    path = find_weights(str(path), asset="")
    model = build_model(config["model"])
    load_official(model, path)
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    meta = dict(config=config_to_plain(config), imported_from=Path(path).name, format=FORMAT)
    write_bytes(out, save(tensors, metadata={k: json.dumps(v) for k, v in meta.items()}))
    return Path(out)


def check_octaves(tensors: Mapping[str, Tensor]) -> None:
    """Checks that a file's point code is the one computed here: pi * 2^k, k = 0..7, an axis.

    Raises:
        AssetError: `pcl_embed.basis` holds other numbers.
    """
    basis = tensors.get("pcl_embed.basis")
    octaves = torch.pi * 2.0 ** torch.arange(8)
    if basis is not None and not (
        basis.shape == (3, 24) and torch.allclose(basis.float(), torch.block_diag(*[octaves] * 3))
    ):
        raise AssetError("pcl_embed.basis holds other frequencies than pi * 2^k, k = 0..7")
