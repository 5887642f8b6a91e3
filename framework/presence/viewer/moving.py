"""An avatar and the frames of a motion, packed as a page poses them in its vertex shader."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from presence.geometry import matrix_to_quaternion
from presence.io.splats import splat_order
from presence.structures import Avatar, Gaussians, ProxyMesh

FULL = 65535
"""Positions, rotations and weights are stored as 16 bits each."""


@dataclasses.dataclass(frozen=True, eq=False)
class MovingGaussians:
    """Gaussians in the rest pose's axes, in the order of their rows, and posed vertices.

    Attributes:
        canonical: N Gaussians; means are offsets from the bound surface points.
        corners: [N 3] vertices that each Gaussian is bound to.
        barycentrics: [N 3] weights of the corners.
        keep: [N] bool, Gaussians whose orientation stays.
        positions: [T V 3] of the vertices, metres.
        rotations: [T V 4] from the rest pose, unit quaternions (w, x, y, z).
        fps: frames a second.
    """

    canonical: Gaussians
    corners: Tensor
    barycentrics: Tensor
    keep: Tensor
    positions: Tensor
    rotations: Tensor
    fps: float

    @classmethod
    def from_meshes(
        cls, avatar: Avatar, meshes: Iterable[ProxyMesh], fps: float
    ) -> MovingGaussians:
        """Binds an avatar (no batch axis) to the meshes of a motion, one a frame.

        Raises:
            ValueError: more vertices than 16 bits can name.
        """
        used, corners = avatar.binding.vertex_ids.unique(return_inverse=True)
        if len(used) > FULL + 1:
            raise ValueError(f"a page holds {FULL + 1} vertices, the avatar needs {len(used)}")
        positions, rotations = [], []
        for mesh in meshes:
            positions.append(mesh.vertices[used])
            rotations.append(matrix_to_quaternion(mesh.skin_rotations[used]))
        turns = torch.stack(rotations)
        if not avatar.rotate_with_skin:
            turns = torch.zeros_like(turns)
            turns[..., 0] = 1.0
        keep = avatar.keep_orientation
        if keep is None:
            keep = torch.zeros(len(corners), dtype=torch.bool)
        order = splat_order(avatar.canonical)
        return cls(
            canonical=avatar.canonical.map(lambda value: value[order]),
            corners=corners[order],
            barycentrics=avatar.binding.barycentrics[order],
            keep=keep[order],
            positions=torch.stack(positions),
            rotations=turns,
            fps=fps,
        )

    def facts(self) -> dict[str, object]:
        """What motion.js needs to read the frames."""
        low, high = self._bounds()
        return {
            "length": self.positions.shape[0],
            "vertices": self.positions.shape[1],
            "fps": self.fps,
            "low": low.tolist(),
            "high": high.tolist(),
        }

    def packed_frames(self) -> bytes:
        """Returns `frame_values`, each less the frame before it (modulo 2^16), by zlib.

        Most of a body rests while an arm waves, so this is a third of the size.
        """
        values = self.frame_values()
        values[1:] -= values[:-1].copy()
        return zlib.compress(values.tobytes(), 6)

    def frame_values(self) -> np.ndarray:
        """Returns [T V 7] uint16: positions between their bounds, quaternions between -1 and 1."""
        low, high = self._bounds()
        places = (self.positions.double() - low) / (high - low).clamp_min(1e-9)
        turns = (self.rotations.double() + 1) / 2
        return _sixteen_bits(torch.cat([places, turns], -1)).astype("<u2")

    def binding_words(self) -> np.ndarray:
        """Returns [N 3] uint32 as splat.vert reads them.

        Low and high halves: corners 0 and 1; corner 2 and the weight of corner 0; the weight of
        corner 1 and whether the orientation stays.
        """
        a, b, c = self.corners.numpy().astype(np.uint32).T
        weight_a, weight_b, _ = _sixteen_bits(self.barycentrics).T
        keep = self.keep.numpy().astype(np.uint32)
        words = np.stack([a | b << 16, c | weight_a << 16, weight_b | keep << 16], -1)
        return words.astype("<u4")

    def _bounds(self) -> tuple[Tensor, Tensor]:
        places = self.positions.double()
        return places.amin((0, 1)), places.amax((0, 1))


def _sixteen_bits(values: Tensor) -> np.ndarray:
    """Quantises 0..1 to 0..FULL, as uint32."""
    return (values.double().clamp(0, 1) * FULL).round().numpy().astype(np.uint32)
