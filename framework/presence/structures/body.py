"""Body parameters, posed proxy meshes and their topology, and what a tracker returns."""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
from torch import Tensor

from presence.structures.base import TensorStruct, static, tensor
from presence.structures.camera import Camera
from presence.structures.part import PartEstimate


@dataclasses.dataclass(frozen=True, eq=False)
class BodyParams(TensorStruct):
    """Parameters of a body model in SMPL-X's layout.

    Attributes:
        betas: [... S] shape coefficients.
        expression: [... E] expression coefficients.
        pose: [... 55 3] axis-angle of each joint relative to its parent, rad; SMPL-X order
            (0 pelvis = global orientation, 1-21 body, 22 jaw, 23-24 eyes, 25-39 left hand,
            40-54 right hand); hands are absolute (flat hand = zero).
        translation: [... 3] metres.
        offsets: [... V 3] metres, displacements of the person's rest vertices beyond the shape
            space, such as FLAME's head on an SMPL-X body; None where there are none. The rest
            joints do not follow them.
    """

    betas: Tensor = tensor("S")
    expression: Tensor = tensor("E")
    pose: Tensor = tensor("55 3", unit="rad")
    translation: Tensor = tensor("3", unit="m")
    offsets: Tensor | None = tensor("V 3", unit="m", optional=True)

    def at_rest(self) -> Self:
        """Returns the same person in the T-pose at the origin, without expression."""
        return self.map(torch.zeros_like).replace(betas=self.betas, offsets=self.offsets)

    def shaped_as(self, person: BodyParams) -> Self:
        """Returns the same pose, expression and place of another person.

        Args:
            person: whose shape, betas and offsets, it takes: unbatched, or batched alike.
        """
        offsets = person.offsets
        batch = self.batch_shape
        return self.replace(
            betas=person.betas.expand(*batch, -1),
            offsets=None if offsets is None else offsets.expand(*batch, -1, -1),
        )

    def with_offsets(self, vertices: int) -> Self:
        """Returns the same person with offsets [... V 3], zeros where there were none.

        Args:
            vertices: V of the body model.
        """
        if self.offsets is not None:
            return self
        return self.replace(offsets=self.pose.new_zeros(*self.batch_shape, vertices, 3))


@dataclasses.dataclass(frozen=True, eq=False)
class ProxyMesh(TensorStruct):
    """A posed body mesh with what is needed to carry things along its surface.

    Attributes:
        vertices: [... V 3] posed, world, metres.
        rest_vertices: [... V 3] with shape, offsets and expression, in the rest pose.
        skin_rotations: [... V 3 3] blended linear part of each vertex's skinning transform.
        joints: [... J 3] posed joints, world, metres.
    """

    vertices: Tensor = tensor("V 3", unit="m")
    rest_vertices: Tensor = tensor("V 3", unit="m")
    skin_rotations: Tensor = tensor("V 3 3")
    joints: Tensor = tensor("J 3", unit="m")


@dataclasses.dataclass(frozen=True, eq=False)
class MeshTopology(TensorStruct):
    """Connectivity and texture coordinates, the same for every person of a body model.

    Attributes:
        faces: [F 3] vertex indices, counter-clockwise seen from outside.
        faces_uv: [F 3] indices into `uv`.
        uv: [T 2] in 0..1, v upwards; the texel row is (1 - v) * size.
        num_vertices: V.
    """

    faces: Tensor = tensor("F 3")
    faces_uv: Tensor = tensor("F 3")
    uv: Tensor = tensor("T 2")
    num_vertices: int = static(default=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Tracking(TensorStruct):
    """What a tracker finds in one portrait.

    Attributes:
        body: parameters of the body model.
        camera: the portrait's camera.
        visibility: part ("head", "upper", "lower", "left_hand", "right_hand") to 0..1.
        keypoints: name of a set to [K 3] of pixel x, pixel y, confidence.
        notes: one line a decision, for the report.
        parts: part to the estimator that it came from, and why; empty where there was no choice.
    """

    body: BodyParams
    camera: Camera
    visibility: dict[str, float] = static(default_factory=dict)
    keypoints: dict[str, Tensor] = static(default_factory=dict)
    notes: tuple[str, ...] = static(default=())
    parts: dict[str, PartEstimate] = static(default_factory=dict)
