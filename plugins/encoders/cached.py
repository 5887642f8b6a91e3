"""`CachedEncoder`: a frozen encoder whose features are kept on disk, one file a portrait."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.interfaces import Encoder
from presence.io.atomic import write_bytes
from presence.models.pretrained import check_choice
from presence.registry import ENCODERS
from presence.structures import ImageFeatures, Portrait

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_log = logging.getLogger(__name__)


@ENCODERS.register()
class CachedEncoder(Encoder):
    """Looks portraits up by content before encoding them.

    The key is a hash of the picture, its mask, and the encoder's options and weights, so a file
    can never belong to another picture or network. What is returned has been rounded to `dtype`
    whether it was found or computed: training does not depend on the state of the cache.
    Random changes to portraits (colour, crop) make every one new; cache without them.

    Args:
        encoder: a frozen encoder, or its config.
        folder: where the files are; several processes may share it.
        dtype: of the features on disk. 64 x 64 x 1536 takes 13 MB.
        max_gb: bound on the folder; beyond it the files that were not used for longest go.
    """

    def __init__(
        self,
        encoder: Encoder | Mapping[str, Any],
        *,
        folder: str,
        dtype: Literal["float16", "bfloat16"] = "float16",
        max_gb: float = 50.0,
    ) -> None:
        super().__init__()
        built: Encoder = ENCODERS.build(encoder) if isinstance(encoder, Mapping) else encoder
        trained = [name for name, p in built.named_parameters() if p.requires_grad]
        if trained:
            raise ConfigError(
                f"CachedEncoder needs a frozen encoder, but {type(built).__name__} trains "
                f"{len(trained)} tensors (`{trained[0]}` first)"
            )
        self.encoder, self.out_channels = built, built.out_channels
        self.dtype = _DTYPES[check_choice("dtype", dtype, _DTYPES)]
        self.store = FeatureStore(Path(folder).expanduser(), int(max_gb * 1e9))
        self._identity = repr((type(built).__name__, _plain_options(built), dtype)).encode()
        self._weights: bytes | None = None

    @torch.no_grad()
    def forward(self, portrait: Portrait) -> ImageFeatures:
        """Returns the features of portraits [B 3 H W], encoding only those not seen before."""
        keys = [self.key(portrait[index]) for index in range(portrait.batch_shape[0])]
        grids = [self.store.get(key) for key in keys]
        new = [index for index, grid in enumerate(grids) if grid is None]
        if new:
            where = torch.tensor(new, device=portrait.device)
            encoded = self.encoder(portrait[where]).grid.to(self.dtype)
            self._check(encoded)
            for index, grid in zip(new, encoded):
                grids[index] = grid
                self.store.put(keys[index], grid.cpu())
        found = [g.to(portrait.device) for g in grids if g is not None]
        return ImageFeatures(torch.stack(found).float())

    def key(self, portrait: Portrait) -> str:
        """Returns the name under which one portrait's features are kept."""
        if self._weights is None:
            self._weights = weight_digest(self.encoder)
        digest = hashlib.blake2b(self._identity + self._weights, digest_size=20)
        for value in (portrait.rgb, portrait.alpha):
            plain = value.detach().float().cpu().contiguous()
            digest.update(repr(tuple(plain.shape)).encode())
            digest.update(plain.numpy().data)
        return digest.hexdigest()

    def _check(self, grid: Tensor) -> None:
        if not grid.isfinite().all():
            raise ConfigError(
                f"features of {type(self.encoder).__name__} are not finite as {self.dtype}: "
                "use dtype='bfloat16', whose range is float32's"
            )


class FeatureStore:
    """A folder of tensors by name, bounded in size; the least recently used go first.

    Args:
        folder: made when first written to.
        max_bytes: bound on the files' total size.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._total = sum(size for _, size, _ in self._files())

    def get(self, key: str) -> Tensor | None:
        """Returns a tensor on the CPU, None if it is not there or its file is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._path(key)
        try:
            value = load(path.read_bytes())["grid"]
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError) as error:
            _log.warning("cached features %s are damaged and computed again (%s)", path, error)
            return None
        return value

    def put(self, key: str, value: Tensor) -> None:
        """Writes a tensor, whole or not at all, and keeps the folder within its bound."""
        from safetensors.torch import save

        data = save({"grid": value.contiguous()})
        write_bytes(self._path(key), data)
        self._total += len(data)
        if self._total > self.max_bytes:
            self._evict(keep=self._path(key))

    def _evict(self, keep: Path) -> None:
        """Removes the oldest files until a tenth of the bound is free; `keep` stays."""
        files = sorted(self._files())
        total, gone = sum(size for _, size, _ in files), 0
        for _, size, path in files:
            if total <= 0.9 * self.max_bytes:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total, gone = total - size, gone + 1
        self._total = total
        _log.info(
            "feature cache %s: removed %d files, %.2f GB left", self.folder, gone, total / 1e9
        )

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob("*/*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process removed it
                continue
            found.append((status.st_mtime, status.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _plain_options(module: nn.Module) -> list[tuple[str, Any]]:
    """The public attributes of plain types, which is where components keep their options."""
    plain = (str, int, float, tuple, type(None))
    return sorted(
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, plain) and name[0] != "_" and name != "training"
    )


def weight_digest(module: nn.Module, samples: int = 64) -> bytes:
    """Returns a hash over names, shapes and evenly spaced values of a module's tensors."""
    digest = hashlib.blake2b(digest_size=20)
    probes = []
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        flat = value.detach().flatten()
        count = min(samples, flat.numel())
        index = torch.arange(count, device=flat.device) * max(flat.numel() - 1, 0)
        probes.append(flat[index // max(count - 1, 1)].double())
    if probes:
        digest.update(torch.cat(probes).cpu().numpy().data)
    return digest.digest()
