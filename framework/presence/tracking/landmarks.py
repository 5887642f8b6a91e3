"""`LandmarkMap`: where a detector's landmarks lie on a body model, as points that move with it."""

from __future__ import annotations

import dataclasses
import importlib.resources
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import AssetError
from presence.io.atomic import write_bytes
from presence.structures import ProxyMesh
from presence.tracking.detection import LANDMARK_SETS, SET_SIZES

_FIELDS = ("face_ids", "barycentrics", "joints", "frames", "offsets", "spread")


@dataclasses.dataclass(frozen=True)
class LandmarkSet:
    """The landmarks of one detector on one body model.

    A landmark is a surface point (`face_ids` >= 0), or a joint's centre plus an offset that turns
    with another joint (`joints` >= 0), because detectors put an elbow inside the arm.

    Attributes:
        face_ids: [K] int64, -1 where the landmark hangs on a joint.
        barycentrics: [K 3].
        joints: [K] int64, -1 where the landmark is on the surface.
        frames: [K] int64, the joint whose rotation turns the offset.
        offsets: [K 3] metres, in the rest pose's axes.
        spread: [K] metres: how far, in the median, single detections lay from this point.
    """

    face_ids: Tensor
    barycentrics: Tensor
    joints: Tensor
    frames: Tensor
    offsets: Tensor
    spread: Tensor

    def __len__(self) -> int:
        return len(self.face_ids)


class LandmarkMap:
    """The landmark sets of a body model, and their points on its mesh.

    Args:
        sets: by name, see `presence.tracking.detection.LANDMARK_SETS`.

    Example:
        >>> from presence.bodies import load_body
        >>> landmarks = LandmarkMap.load("annyx")
        >>> body = load_body("annyx")
        >>> tuple(landmarks.points(body, "face", body(body.default_params())).shape)
        (478, 3)
    """

    def __init__(self, sets: dict[str, LandmarkSet]) -> None:
        for name, marks in sets.items():
            if SET_SIZES.get(name) != len(marks):
                raise ValueError(f"landmark set `{name}` has {len(marks)} points: {SET_SIZES}")
        self.sets = sets

    def anchors(self, body: Body, name: str) -> PointRig:
        """Returns the set as rest points with blend shapes and skinning weights."""
        marks = self.sets[name]
        surface = _surface_rig(body, marks)
        jointed = _joint_rig(body, marks)
        on_joint = marks.joints >= 0

        def pick(first: Tensor, second: Tensor) -> Tensor:
            return torch.where(on_joint.reshape(-1, *[1] * (first.ndim - 1)), first, second)

        fields = [field.name for field in dataclasses.fields(PointRig)]
        return PointRig(*(pick(getattr(jointed, f), getattr(surface, f)) for f in fields))

    def points(self, body: Body, name: str, mesh: ProxyMesh) -> Tensor:
        """Returns a set's points [K 3] on a posed mesh (unbatched), metres.

        Joint offsets are turned by the skinning rotation of the vertex that follows the frame
        joint most closely.
        """
        marks = self.sets[name]
        corners = body.topology.faces[marks.face_ids.clamp_min(0)]  # [K 3]
        surface = (mesh.vertices[corners] * marks.barycentrics[..., None]).sum(-2)
        carriers = body.weights.argmax(0)[marks.frames.clamp_min(0)]
        turned = (mesh.skin_rotations[carriers] @ marks.offsets[..., None])[..., 0]
        jointed = mesh.joints[marks.joints.clamp_min(0)] + turned
        return torch.where(marks.joints[:, None] >= 0, jointed, surface)

    def save(self, path: str | Path) -> None:
        """Writes the map as a compressed `.npz` of plain arrays."""
        arrays = {}
        for name, marks in self.sets.items():
            for field in _FIELDS:
                array = getattr(marks, field).numpy()
                kind = np.int32 if array.dtype.kind == "i" else np.float32
                arrays[f"{name}_{field}"] = array.astype(kind)
        memory = io.BytesIO()
        np.savez_compressed(memory, **arrays)
        write_bytes(path, memory.getvalue())

    @classmethod
    def load(cls, source: str | Path) -> LandmarkMap:
        """Reads the map of a bundled body (by its name) or a file.

        Raises:
            AssetError: there is no such map, or the file is not one.
        """
        path = Path(source)
        if path.suffix != ".npz":
            path = Path(str(importlib.resources.files("presence.data") / f"{source}_landmarks.npz"))
        if not path.is_file():
            raise AssetError(
                f"there are no landmark correspondences for body `{source}` ({path.name}); "
                "tools/build_landmarks.py derives them"
            )
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls({name: _read_set(arrays, name) for name in LANDMARK_SETS})
        except (KeyError, ValueError, OSError) as error:
            raise AssetError(f"{path.name} is no landmark map ({error})") from error


@dataclasses.dataclass(frozen=True)
class PointRig:
    """Points that deform as the body's vertices do, without the body's other vertices.

    Attributes:
        template: [N 3] rest positions of the mean person, metres.
        shapedirs: [N 3 S] metres by shape coefficient.
        exprdirs: [N 3 E] metres by expression coefficient.
        weights: [N 55] skinning weights.
        corners: [N 3] vertices of the body that each point lies between.
        shares: [N 3] of the corners; zeros for a joint's point, which no vertex carries.
    """

    template: Tensor
    shapedirs: Tensor
    exprdirs: Tensor
    weights: Tensor
    corners: Tensor
    shares: Tensor

    def __len__(self) -> int:
        return len(self.template)

    def __getitem__(self, rows: Tensor) -> PointRig:
        return PointRig(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    @classmethod
    def of_vertices(cls, body: Body, vertices: Tensor) -> PointRig:
        """Builds the rig of some of a body's vertices [N]."""
        blend, expression = _directions(body)
        return cls(
            body.v_template[vertices],
            blend[vertices],
            expression[vertices],
            body.weights[vertices],
            vertices[:, None].expand(-1, 3),
            body.v_template.new_tensor([1.0, 0.0, 0.0]).expand(len(vertices), 3),
        )

    @classmethod
    def concatenate(cls, rigs: list[PointRig]) -> PointRig:
        """Joins rigs in order."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return cls(*(torch.cat([getattr(rig, f) for rig in rigs]) for f in fields))


def _surface_rig(body: Body, marks: LandmarkSet) -> PointRig:
    corners = body.topology.faces[marks.face_ids.clamp_min(0)]  # [K 3]
    rigs = [PointRig.of_vertices(body, corners[:, k]) for k in range(3)]

    def blend(name: str) -> Tensor:
        parts = [getattr(rig, name) for rig in rigs]
        shape = (-1, *[1] * (parts[0].ndim - 1))
        weighted = [p * marks.barycentrics[:, k].reshape(shape) for k, p in enumerate(parts)]
        return weighted[0] + weighted[1] + weighted[2]

    return PointRig(
        blend("template"),
        blend("shapedirs"),
        blend("exprdirs"),
        blend("weights"),
        corners,
        marks.barycentrics,
    )


def _joint_rig(body: Body, marks: LandmarkSet) -> PointRig:
    """A joint's centre moves rigidly with its parent and with itself: any of them may carry it."""
    joints = marks.joints.clamp_min(0)
    shape = body.joint_shapedirs.unflatten(-1, (-1, 3)).permute(1, 2, 0)  # [55 3 S]
    expression = body.joint_exprdirs.unflatten(-1, (-1, 3)).permute(1, 2, 0)
    weights = torch.nn.functional.one_hot(marks.frames.clamp_min(0), body.weights.shape[1])
    return PointRig(
        body.joint_template.reshape(-1, 3)[joints] + marks.offsets,
        shape[joints],
        expression[joints],
        weights.to(body.weights),
        body.topology.faces.new_zeros(len(joints), 3),
        body.weights.new_zeros(len(joints), 3),
    )


def _directions(body: Body) -> tuple[Tensor, Tensor]:
    shape = body.shapedirs.unflatten(-1, (-1, 3)).permute(1, 2, 0)  # [V 3 S]
    return shape, body.exprdirs.unflatten(-1, (-1, 3)).permute(1, 2, 0)


def _read_set(arrays: np.lib.npyio.NpzFile, name: str) -> LandmarkSet:
    def read(field: str) -> Tensor:
        array = arrays[f"{name}_{field}"]
        return torch.from_numpy(array.astype(np.int64 if array.dtype.kind == "i" else np.float32))

    return LandmarkSet(*(read(field) for field in _FIELDS))
