"""SMPL-X's 51 face landmarks on AnnyX, picked from a MediaPipe face map of the same mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from presence.bodies.building.pack import Landmarks
from presence.errors import AssetError

# MediaPipe's face-mesh vertices nearest to points 18 to 68 of the iBUG 68-point scheme: brows,
# nose, eyes, outer lips, inner lips, in the scheme's order (right side of the person first).
_IBUG_FROM_MEDIAPIPE = (
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 197, 5, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


def read_landmarks(path: Path | None) -> Landmarks:
    """Picks the landmarks from a map written by `tools/build_landmarks.py`.

    Args:
        path: the map, or None before one has been built: then all landmarks lie on the first
            face's first corner, which suits every use of the body but these landmarks.

    Raises:
        AssetError: no such file.
    """
    count = len(_IBUG_FROM_MEDIAPIPE)
    if path is None:
        return Landmarks(np.zeros(count, np.int64), np.tile([1.0, 0.0, 0.0], (count, 1)))
    if not path.is_file():
        raise AssetError(f"landmark map {path} does not exist")
    with np.load(path, allow_pickle=False) as arrays:
        picked = np.array(_IBUG_FROM_MEDIAPIPE)
        return Landmarks(
            arrays["face_face_ids"][picked].astype(np.int64),
            arrays["face_barycentrics"][picked].astype(np.float64),
        )
