"""`FaceCorrection`: where the face's landmarks are, given where a face mesh model puts them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from presence.tracking.detection import Detection
from presence.tracking.linear_correction import LinearCorrection, limited, standardized

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
class FaceCorrection(LinearCorrection):
    """A linear map from a face mesh's principal components to what its landmarks are off by.

    It was fitted to rendered people (`face_fitting.py`); the face and the mirrored face are
    averaged, so that left and right are treated alike.

    Attributes:
        mean: [478 2] the mean mesh, in its own frame.
        components: [C 478 2] orthonormal.
        scale: [C] their standard deviations.
        shift: [C+1 478 2] thousandths of the face's size; the last row is added to all.
        partner: [478] each landmark's mirror partner.

    Example:
        >>> FaceCorrection.bundled("nobody") is None
        True

    Source: components as in Cootes et al. 1995 (point distribution models), Eq. 3-5.
    """

    kind: ClassVar[str] = "face"
    suffix: ClassVar[str] = "faces"

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
        return limited(moves, _FARTHEST)


def describe_mesh(meshes: Tensor, mean: Tensor, components: Tensor, scale: Tensor) -> Tensor:
    """Returns meshes [N 478 2] as components in standard deviations, and a one: [N C+1]."""
    along = (meshes - mean).flatten(1) @ components.flatten(1).T
    return standardized(along, torch.zeros_like(scale), scale)


def mirrored(values: Tensor, partner: Tensor) -> Tensor:
    """Mirrors points or vectors [... 478 2] of a face in its own frame."""
    return values[..., partner, :] * values.new_tensor(_FLIP)
