"""What this machine has: versions, devices, optional packages, external files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from presence.assets import Asset, load_assets

# Distribution to what it is for. Installed or not is read from metadata: nothing is imported.
REQUIRED = ("torch", "torchvision", "numpy", "numba", "mmengine", "omegaconf", "safetensors")
OPTIONAL = {
    "gsplat": "Gaussian rendering on CUDA",
    "triton": "mesh rasterization on CUDA",
    "mediapipe": "the default tracker",
    "lpips": "the perceptual loss and metric",
    "tensorboard": "training curves",
    "imageio-ffmpeg": "video files",
    "smplx": "parity checks with SMPL-X",
    "anny": "building the AnnyX body",
    "pytorch3d": "an alternative rasterizer",
}


def report(*, checksums: bool = True) -> str:
    """Returns the whole report as text.

    Args:
        checksums: read the external files that are present and compare their checksums.
    """
    lines = [*_environment(), "", *_packages(), "", *_bundled(), "", *_components(), ""]
    lines += ["External files (none is needed for the open defaults; configs/assets.yaml)"]
    for asset in load_assets().values():
        lines += _asset(asset, checksums)
    return "\n".join(lines)


def _environment() -> Iterator[str]:
    import torch

    yield "Environment"
    yield f"  python      {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield f"  cpu         {os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch"
    if not torch.cuda.is_available():
        yield "  cuda        none: everything runs on the CPU"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"  cuda:{index}      {properties.name}, {properties.total_memory / 1e9:.0f} GB"
    yield f"  free disk   {shutil.disk_usage('.').free / 1e9:.1f} GB here"
    for name in ("PRESENCE_HOME", "PRESENCE_ASSETS", "TORCH_HOME", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            yield f"  {name}={os.environ[name]}"


def _packages() -> Iterator[str]:
    yield "Packages"
    for name in REQUIRED:
        yield f"  {name:<15} {_version(name) or 'MISSING: install the project again'}"
    for name, use in OPTIONAL.items():
        yield f"  {name:<15} {_version(name) or 'not installed'}  ({use})"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _bundled() -> Iterator[str]:
    import presence.data

    folder = Path(presence.data.__path__[0])
    yield "Bundled data"
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            yield f"  {str(file.relative_to(folder)):<30} {file.stat().st_size / 1e6:6.2f} MB"


def _components() -> Iterator[str]:
    from presence.plugins import failures, loaded_plugins
    from presence.registry import ALL

    yield "Components (tools/list_components.py says more)"
    for kind, registry in ALL.items():
        names = registry.names()
        if names:
            yield f"  {kind:<12} {', '.join(names)}"
    installed = [name for name in loaded_plugins() if not name.startswith("presence_plugins.")]
    yield f"  plugins of installed packages: {', '.join(installed) or 'none'}"
    for failure in failures():
        yield f"  skipped plugin {failure.name}: {failure.reason}"


def _asset(asset: Asset, checksums: bool) -> Iterator[str]:
    path = asset.find()
    state = "missing" if path is None else f"found at {path}"
    if path is not None and checksums:
        fits = asset.checksum_fits(path)
        state += {True: ", checksum right", False: ", CHECKSUM DIFFERS", None: ""}[fits]
    use = {True: "yes", False: "no", None: "not stated"}
    yield f"  {asset.name}: {asset.title} - {state}"
    yield f"      for      {asset.used_by}"
    yield f"      licence  {asset.licence} - commercial use: {use[asset.commercial]}"
    yield f"      sha256   {asset.sha256 or 'not known'}"
    if path is None:
        yield f"      looked   {', '.join(asset.paths)}"
        yield f"      get      {asset.get}"
