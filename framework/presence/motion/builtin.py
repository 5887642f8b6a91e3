"""The motions that come with the project, by name, and motions from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from presence.errors import InputError, did_you_mean
from presence.motion.clip import Motion
from presence.motion.talk import talk
from presence.motion.walk import walk
from presence.motion.wave import wave

BUILTIN: dict[str, Callable[[float], Motion]] = {"talk": talk, "walk": walk, "wave": wave}
"""Name to a function of the frame rate."""


def builtin_motion(name: str, fps: float = 24.0) -> Motion:
    """Builds a built-in motion.

    Raises:
        InputError: no motion has that name.
    """
    if name not in BUILTIN:
        raise InputError(
            f"unknown motion `{name}`.{did_you_mean(name, BUILTIN)} "
            f"Built in: {', '.join(BUILTIN)}; or give a motion file (.npz)."
        )
    return BUILTIN[name](fps)


def find_motion(name_or_path: str, fps: float | None = None) -> Motion:
    """Returns a built-in motion or reads a motion file.

    Args:
        name_or_path: a name from `BUILTIN`, or the path of an `.npz`.
        fps: frame rate of the result; None keeps a file's own and takes 24 for built-ins.

    Raises:
        InputError: neither a known name nor a readable motion file.
    """
    from presence.io.motion import load_motion

    if name_or_path in BUILTIN:
        return builtin_motion(name_or_path, fps or 24.0)
    path = Path(name_or_path)
    if not path.exists() and not path.suffix:
        return builtin_motion(name_or_path)  # says what there is
    motion = load_motion(path)
    return motion if fps is None else motion.resampled(fps)
