"""What a run was made from: commit, versions, command; kept beside its weights."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

_PACKAGES = ("presence3d", "torch", "numpy", "mmengine", "gsplat", "triton", "lpips")


def git_commit() -> str | None:
    """Returns the commit of the source tree, `+changes` if it was edited, None outside git."""
    root = Path(__file__).resolve().parent
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+changes" if changed else "")


def describe() -> dict[str, str | None]:
    """Returns commit, package versions, platform and device as plain text values."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "commit": git_commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **versions,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # Reading must not refresh git's index: it would lock a repository that somebody works in.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
