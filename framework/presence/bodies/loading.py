"""Finding and loading a body by name or by path."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

from presence import interfaces
from presence.assets import find_asset
from presence.bodies.body import Body
from presence.bodies.data import BodyData, read_body
from presence.errors import AssetError
from presence.registry import BODIES

EMBEDDED = ("annyx",)
"""Bodies that ship with the project."""
LICENSED = "smplx"
"""The user's own SMPL-X, where configs/assets.yaml says."""


def load_body(name_or_path: str | Path = "annyx") -> Body:
    """Returns a new `Body`.

    Args:
        name_or_path: "annyx"; "smplx" for the file of that entry of configs/assets.yaml; or the
            path of an SMPL-X-layout `.npz` or `.pkl`.

    Raises:
        AssetError: no such body, or the file does not fit.

    Example:
        >>> load_body("annyx").num_vertices
        13718
    """
    return Body(_read(str(name_or_path)))


@BODIES.register("SMPLXBody")
def build_body(source: str = "annyx") -> Body:
    """Returns the body that a config names, `dict(type="SMPLXBody", source=...)`: `load_body`."""
    return load_body(source)


def body_name(body: interfaces.Body | str | Path | None) -> str:
    """Returns the name under which files say that they are of a body; empty for none.

    Args:
        body: built, or what `load_body` takes.

    Example:
        >>> body_name("annyx")
        'annyx'
    """
    if body is None or body in EMBEDDED:
        return str(body or "")
    return _read(str(body)).name if isinstance(body, str | Path) else body.name


@lru_cache(maxsize=4)
def _read(name_or_path: str) -> BodyData:
    if name_or_path in EMBEDDED:
        return read_body(embedded_path(name_or_path))
    if name_or_path == LICENSED:
        return read_body(find_asset(LICENSED).require())
    path = Path(name_or_path).expanduser()
    if not path.suffix and not path.exists():
        raise AssetError(
            f"unknown body `{name_or_path}`. Available: {', '.join((*EMBEDDED, LICENSED))}, or the"
            " path of an SMPL-X file"
        )
    return read_body(path)


def embedded_path(name: str = "annyx") -> Path:
    """Returns where an embedded body file lies."""
    return Path(str(resources.files("presence") / "data" / f"{name}.npz"))
