"""RenderMe-360's `.smc` files: HDF5 with encoded pictures, masks and calibration."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image

from presence.errors import AssetError, InputError
from presence.structures import Camera

RESOLUTION = 2048, 2448  # height and width where a file does not say


class SmcFile:
    """One performance; a context manager.

    Layout: `Camera/<camera>/color/<frame>` and `Camera/<camera>/mask/<frame>` are encoded
    pictures as bytes, `Calibration/<camera>/K` [3 3], `D` [5] and `RT` [4 4], the camera's pose
    in the world. Cameras are named 00 to 59. Lens distortion (`D`) is left as it is.

    Args:
        path: the file.

    Raises:
        AssetError: the package h5py is missing.
        InputError: the file is missing, or not HDF5.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            import h5py
        except ImportError as error:
            raise AssetError(
                f"RenderMe-360's .smc files need the package h5py: pip install h5py ({error})"
            ) from error
        if not self.path.is_file():
            raise InputError(f"{self.path} does not exist")
        try:
            self._file: Any = h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path} is not a readable .smc file ({error})") from error

    def __enter__(self) -> SmcFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def frames(self, camera: str) -> list[int]:
        """Returns the numbers of a camera's colour frames, in order; there is at least one."""
        frames = sorted(int(name) for name in self._entry(f"Camera/{camera}/color"))
        if not frames:
            raise InputError(f"{self.path} has no frames of camera {camera}")
        return frames

    def color(self, camera: str, frame: int) -> np.ndarray:
        """Returns a frame [H W 3] as bytes, RGB."""
        return np.asarray(self._picture(f"Camera/{camera}/color/{frame}").convert("RGB"))

    def mask(self, camera: str, frame: int) -> np.ndarray | None:
        """Returns a mask [H W] as bytes, None where there is none."""
        name = f"Camera/{camera}/mask/{frame}"
        if name not in self._file:
            return None
        return np.asarray(self._picture(name).convert("RGB")).max(-1)

    def calibration(self) -> dict[str, Camera]:
        """Returns the cameras by name; empty where the file has none."""
        if "Calibration" not in self._file:
            return {}
        return {name: self._camera(name) for name in self._entry("Calibration")}

    def _camera(self, name: str) -> Camera:
        K, pose = (
            torch.from_numpy(np.asarray(self._entry(f"Calibration/{name}/{key}"))).double()
            for key in ("K", "RT")
        )
        attributes = self._file["Camera"].attrs if "Camera" in self._file else {}
        height, width = (int(value) for value in attributes.get("resolution", RESOLUTION)[:2])
        cam_from_world = torch.linalg.inv(pose.reshape(4, 4))
        return Camera(K.reshape(3, 3).float(), cam_from_world.float(), width, height)

    def _picture(self, name: str) -> Image.Image:
        data = np.asarray(self._entry(name)[()], np.uint8).tobytes()
        try:
            return Image.open(io.BytesIO(data))
        except OSError as error:
            raise InputError(f"{self.path}: {name} is not a picture") from error

    def _entry(self, name: str) -> Any:
        if name not in self._file:
            raise InputError(f"{self.path} has no entry {name}")
        return self._file[name]
