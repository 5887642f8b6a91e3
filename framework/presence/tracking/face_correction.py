"""`FaceCorrection`: where the face's landmarks are, given where a face mesh model puts them."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.errors import AssetError
from presence.tracking.detection import Detection
from presence.tracking.landmark_correction import standardized

FOREHEAD, CHIN = 10, 152  # landmarks at both ends of the face's middle line
_FARTHEST = 0.15  # in sizes of the face, limit of what a landmark is moved by
_FLIP = (-1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class FaceFrame:
    """A face mesh's own frame: origin in its middle, upright, of unit size.

    Attributes:
        origin: [2] px.
        size: px, root mean square distance of its landmarks from the middle.
        upright: [2 2] rotation of the picture that brings the forehead above the chin.
    """

    origin: Tensor
    size: Tensor
    upright: Tensor

    @classmethod
    def of(cls, points: Tensor) -> FaceFrame:
        """Looks at landmarks [478 2], px."""
        origin = points.mean(0)
        size = (points - origin).square().sum(-1).mean().sqrt()
        up = torch.nn.functional.normalize(points[FOREHEAD] - points[CHIN], dim=0)
        upright = torch.stack([torch.stack([-up[1], up[0]]), torch.stack([-up[0], -up[1]])])
        return cls(origin, size, upright)

    def inside(self, vectors: Tensor) -> Tensor:
        """Brings vectors [... 2] of the picture (px) into this frame."""
        return vectors @ self.upright.T / self.size

    def outside(self, vectors: Tensor) -> Tensor:
        """Brings vectors [... 2] of this frame into the picture, px."""
        return vectors @ self.upright * self.size


@dataclasses.dataclass(frozen=True)
class FaceCorrection:
    """A linear map from a face mesh's principal components to what its landmarks are off by.

    It was fitted to rendered people (`face_fitting.py`); the face and the mirrored face are
    averaged, so that left and right are treated alike.

    Attributes:
        mean: [478 2] the mean mesh, in its own frame.
        components: [C 478 2] orthonormal.
        scale: [C] their standard deviations.
        shift: [C+1 478 2] thousandths of the face's size; the last row is added to all.
        partner: [478] each landmark's mirror partner.

    Source: components as in Cootes et al. 1995 (point distribution models), Eq. 3-5.
    """

    mean: Tensor
    components: Tensor
    scale: Tensor
    shift: Tensor
    partner: Tensor

    def __call__(self, detection: Detection) -> Detection:
        """Moves the face's landmarks; a detection without a face comes back as it is."""
        if "face" not in detection.keypoints:
            return detection
        face = detection.keypoints["face"].clone()
        frame = FaceFrame.of(face[:, :2])
        moves = frame.outside(self.moves(frame.inside(face[:, :2] - frame.origin)))
        face[:, :2] += moves
        return dataclasses.replace(detection, keypoints={**detection.keypoints, "face": face})

    def moves(self, mesh: Tensor) -> Tensor:
        """Returns what a mesh [478 2] is off by, both in its own frame."""
        both = torch.stack([mesh, mirrored(mesh, self.partner)])
        rows = describe_mesh(both, self.mean, self.components, self.scale)
        said = torch.einsum("nc,ckd->nkd", rows, self.shift / 1e3)
        moves = 0.5 * (said[0] + mirrored(said[1], self.partner))
        length = moves.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        return moves * (length.clamp(max=_FARTHEST) / length)

    def save(self, path: str | Path) -> None:
        """Writes the map as a compressed `.npz`, numbers in half precision."""
        arrays = {f.name: getattr(self, f.name).numpy() for f in dataclasses.fields(self)}
        kinds = {"partner": np.int16}
        np.savez_compressed(
            path, **{k: v.astype(kinds.get(k, np.float16)) for k, v in arrays.items()}
        )

    @classmethod
    def load(cls, source: str | Path) -> FaceCorrection:
        """Reads the correction of a bundled body (by its name) or a file.

        Raises:
            AssetError: there is no such file, or it is no correction.
        """
        path = _path(source)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: torch.from_numpy(file[name]).float() for name in file.files}
            return cls(**{**arrays, "partner": arrays["partner"].long()})
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise AssetError(f"{path.name} is no face correction ({error})") from error

    @classmethod
    def bundled(cls, body_name: str) -> FaceCorrection | None:
        """Returns the correction that comes with a body, or None where there is none.

        Example:
            >>> FaceCorrection.bundled("nobody") is None
            True
        """
        return cls.load(body_name) if _path(body_name).is_file() else None


def describe_mesh(meshes: Tensor, mean: Tensor, components: Tensor, scale: Tensor) -> Tensor:
    """Returns meshes [N 478 2] as components in standard deviations, and a one: [N C+1]."""
    along = (meshes - mean).flatten(1) @ components.flatten(1).T
    return standardized(along, torch.zeros_like(scale), scale)


def mirrored(values: Tensor, partner: Tensor) -> Tensor:
    """Mirrors points or vectors [... 478 2] of a face in its own frame."""
    return values[..., partner, :] * values.new_tensor(_FLIP)


def _path(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix == ".npz":
        return path
    return Path(str(importlib.resources.files("presence.data") / f"{source}_faces.npz"))
