"""External files: where they are looked for, their licence, and where a user gets them."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from presence.errors import AssetError, ConfigError, did_you_mean

_IN_THE_SOURCE_TREE = Path(__file__).resolve().parents[2] / "configs" / "assets.yaml"


@dataclasses.dataclass(frozen=True)
class Asset:
    """One external file.

    Attributes:
        name: key in configs/assets.yaml.
        title: what it is.
        used_by: what it is for.
        paths: where it is looked for, in order; patterns are allowed.
        licence: as its owners state it.
        commercial: whether that allows commercial use, None where it is not stated.
        sha256: the checksum or its first digits, None where it is not known.
        get: where a user gets it.
    """

    name: str
    title: str
    used_by: str
    paths: tuple[str, ...]
    licence: str
    commercial: bool | None
    sha256: str | None
    get: str

    def find(self) -> Path | None:
        """Returns the first of its places that holds it, None if none does."""
        for pattern in self.paths:
            found = sorted(glob.glob(os.path.expanduser(pattern)))
            if found:
                return Path(found[0])
        return None

    def require(self) -> Path:
        """Returns where the file is.

        Raises:
            AssetError: it is nowhere; the message says where it was looked for, under which
                licence it comes and where to get it.
        """
        path = self.find()
        if path is None:
            raise AssetError(
                f"{self.title} is missing (needed for: {self.used_by}). Looked for: "
                f"{', '.join(self.paths)}. Licence: {self.licence}. Get it: {self.get}."
            )
        return path

    def checksum_fits(self, path: Path) -> bool | None:
        """Returns whether a file has the known checksum, None where none is known."""
        if self.sha256 is None or not path.is_file():
            return None
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest().startswith(self.sha256.lower())


def load_assets(path: str | Path | None = None) -> dict[str, Asset]:
    """Reads the table of external files.

    Args:
        path: a file like configs/assets.yaml; None takes `$PRESENCE_ASSETS`, else the one of
            the source tree.

    Raises:
        ConfigError: the file is missing, broken, or an entry lacks a field.
    """
    path = Path(path or os.environ.get("PRESENCE_ASSETS") or _IN_THE_SOURCE_TREE)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: set PRESENCE_ASSETS to your assets.yaml")
    try:
        table: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
        return {
            name: Asset(name=name, **{**entry, "paths": tuple(entry["paths"])})
            for name, entry in table["assets"].items()
        }
    except (OmegaConfBaseException, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def find_asset(name: str, path: str | Path | None = None) -> Asset:
    """Returns the entry of a name.

    Raises:
        ConfigError: there is no such entry.
    """
    assets = load_assets(path)
    if name not in assets:
        raise ConfigError(
            f"unknown asset `{name}`.{did_you_mean(name, assets)} Known: {', '.join(assets)}."
        )
    return assets[name]
