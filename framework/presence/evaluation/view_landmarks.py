"""Where a body model puts a detector's landmarks in a batch of views, for metrics that need it."""

from __future__ import annotations

import dataclasses
import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.bodies import Body as SkinnedBody
from presence.errors import AssetError
from presence.interfaces import Body
from presence.structures import ProxyMesh, View
from presence.tracking.face_regions import FACE_OF_POSE, LEFT_EYE, RIGHT_EYE
from presence.tracking.landmarks import LandmarkMap, LandmarkSet

_MOUTH = FACE_OF_POSE["mouth_left"], FACE_OF_POSE["mouth_right"]


@dataclasses.dataclass(frozen=True)
class ViewLandmarks:
    """One landmark set on posed bodies, in their pictures.

    Attributes:
        world: [B K 3] metres.
        px: [B K 2].
        inside: [B K] bool, in the picture and before the camera.
        camera: [B 3] optical centres, metres.
    """

    world: Tensor
    px: Tensor
    inside: Tensor
    camera: Tensor

    @property
    def facing(self) -> Tensor:
        """Cosine between the face's normal and the way to the camera [B]; the set is "face".

        The normal is that of the triangle of both eyes and the mouth: 1 seen from the front, 0 in
        profile, below 0 from behind.
        """
        corners = [self.world[:, list(g)].mean(1) for g in (RIGHT_EYE, LEFT_EYE, _MOUTH)]
        right, left, mouth = corners  # [B 3]
        normal = F.normalize(torch.linalg.cross(mouth - right, left - right), dim=-1)
        towards = F.normalize(self.camera - (right + left + mouth) / 3, dim=-1)
        return (normal * towards).sum(-1)


def no_landmarks(body: Body | None) -> str | None:
    """Returns why landmarks cannot be placed on a body, None if they can."""
    if body is None:
        return "the model has no body to say where landmarks are"
    if not isinstance(body, SkinnedBody):
        return f"landmarks are known on bodies in SMPL-X's layout, not on `{body.name}`"
    try:
        _landmark_map(body.name)
    except AssetError as error:
        return str(error)
    return None


def view_landmarks(body: Body, mesh: ProxyMesh, view: View, name: str) -> ViewLandmarks:
    """Places a landmark set on the bodies of a batch of views.

    Args:
        body: a body with landmark correspondences; `no_landmarks` tells.
        mesh: `body(view.body)`, [B ...].
        view: the views, [B ...].
        name: the set, see `presence.tracking.detection.LANDMARK_SETS`.
    """
    assert isinstance(body, SkinnedBody)
    marks = _on_device(body.name, name, mesh.vertices.device)
    placed = LandmarkMap({name: marks})
    count = mesh.vertices.shape[0]
    world = torch.stack([placed.points(body, name, mesh[i]) for i in range(count)])
    px, depth = view.camera.project(world)
    size = px.new_tensor([view.camera.width, view.camera.height])
    inside = ((px >= 0) & (px < size)).all(-1) & (depth > 0)
    return ViewLandmarks(world, px, inside, view.camera.position)


@functools.cache
def _landmark_map(body_name: str) -> LandmarkMap:
    return LandmarkMap.load(body_name)


@functools.cache
def _on_device(body_name: str, name: str, device: torch.device) -> LandmarkSet:
    marks = _landmark_map(body_name).sets[name]
    fields = [field.name for field in dataclasses.fields(marks)]
    return LandmarkSet(*(getattr(marks, field).to(device) for field in fields))
