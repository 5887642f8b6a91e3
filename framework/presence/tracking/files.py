"""Tracking as `.npz` with SMPL-X parameter names, readable as a motion of one frame too."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.errors import InputError
from presence.io.atomic import write_bytes
from presence.io.motion import PARTS
from presence.structures import BodyParams, Camera, Tracking


def save_tracking(path: str | Path, tracking: Tracking, *, body_name: str = "") -> None:
    """Writes one tracking atomically, without pickle.

    Arrays: SMPL-X's `global_orient` [1 3], `body_pose` [1 63], `jaw_pose`, `leye_pose`,
    `reye_pose` [1 3], `left_hand_pose`, `right_hand_pose` [1 45] (axis-angle, rad, flat hand = 0),
    `transl` [1 3] (m), `expression` [1 E], `betas` [S]; our own `offsets` [V 3] (m, of the rest
    mesh) where the person has them; the camera's `K` [3 3] (px), `cam_from_world` [4 4] (m),
    `image_size` (height, width); `visibility_names`, `visibility`; `keypoints_*` [K 3] (px, px,
    confidence); `notes`; `body_name`.

    Args:
        path: file to write.
        tracking: unbatched.
        body_name: the body model that `betas` and `expression` belong to.
    """
    body, camera = tracking.body.to("cpu"), tracking.camera.to("cpu")
    arrays: dict[str, np.ndarray] = {
        name: body.pose[part].reshape(1, -1).numpy() for name, part in PARTS.items()
    }
    arrays |= {
        "transl": body.translation[None].numpy(),
        "expression": body.expression[None].numpy(),
        **shape_arrays(body),
        "K": camera.K.numpy(),
        "cam_from_world": camera.cam_from_world.numpy(),
        "image_size": np.array([camera.height, camera.width], np.int64),
        "visibility_names": np.array(list(tracking.visibility), dtype=np.str_),
        "visibility": np.array(list(tracking.visibility.values()), np.float32),
        "notes": np.array(tracking.notes, dtype=np.str_),
        "body_name": np.array(body_name, dtype=np.str_),
    }
    arrays |= {f"keypoints_{name}": p.cpu().numpy() for name, p in tracking.keypoints.items()}
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)
    write_bytes(path, memory.getvalue())


def shape_arrays(person: BodyParams) -> dict[str, np.ndarray]:
    """Returns a person's shape as it is stored: `betas` [S], and `offsets` [V 3] if there are any.

    Args:
        person: unbatched.
    """
    names = ("betas",) if person.offsets is None else ("betas", "offsets")
    return {name: getattr(person, name).cpu().numpy() for name in names}


def read_shape(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor | None]:
    """Returns `betas` [S] and `offsets` [V 3] or None of a tracking file, as `BodyParams` has them.

    Args:
        arrays: of a picture's file or a video's.
    """
    names = ("betas", "offsets")
    stored = {name: arrays[name] for name in names if name in arrays}
    found = {n: torch.from_numpy(np.ascontiguousarray(v, np.float32)) for n, v in stored.items()}
    return {"betas": found["betas"], "offsets": found.get("offsets")}


def load_tracking(path: str | Path, *, body_name: str = "") -> Tracking:
    """Reads what `save_tracking` wrote.

    Args:
        path: the file.
        body_name: the body in use, which the file has to be of where it says of which it is;
            empty takes every file.

    Raises:
        InputError: not such a file, or of another body; one line, naming it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"tracking {path} does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            frames = len(file["transl"])
            arrays = {name: file[name] for name in file.files} if frames == 1 else {}
        if arrays:
            tracking = _tracking(arrays)
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a tracking file (.npz of tools/track.py)") from error
    if not arrays:
        raise InputError(f"{path} is a video's tracking of {frames} frames, not a picture's")
    check_body(path, str(arrays.get("body_name", "")), body_name)
    return tracking


def check_body(path: str | Path, stored: str, used: str) -> None:
    """Refuses a tracking of another body: shape and expression coefficients do not carry over.

    Args:
        path: of the tracking, for the message.
        stored: the body that it is of; empty if unknown.
        used: the body in use; empty if any will do.

    Raises:
        InputError: they differ.

    Example:
        >>> check_body("me.npz", "annyx", "annyx")
    """
    if stored and used and stored != used:
        raise InputError(
            f"{path} is a tracking of the body `{stored}`, but `{used}` is in use, and shapes do "
            "not carry over: track the picture again with that body (tools/track.py --body)"
        )


def _tracking(arrays: dict[str, np.ndarray]) -> Tracking:
    def read(name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(arrays[name], dtype=np.float32))

    pose = torch.zeros(55, 3)
    for name, part in PARTS.items():
        pose[part] = read(name).reshape(-1, 3)
    height, width = (int(side) for side in arrays["image_size"])
    prefix = "keypoints_"
    return Tracking(
        body=BodyParams(
            **read_shape(arrays),  # type: ignore[arg-type]
            expression=read("expression")[0],
            pose=pose,
            translation=read("transl")[0],
        ),
        camera=Camera(read("K"), read("cam_from_world"), width, height),
        visibility=dict(
            zip(arrays["visibility_names"].tolist(), arrays["visibility"].astype(float).tolist())
        ),
        keypoints={n.removeprefix(prefix): read(n) for n in arrays if n.startswith(prefix)},
        notes=tuple(arrays["notes"].tolist()),
    )
