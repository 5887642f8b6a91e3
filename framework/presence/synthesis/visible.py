"""Which surface each pixel sees: every layer is rasterized, cut, and the nearest remains."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.interfaces import MeshRasterizer
from presence.structures import ProxyMesh
from presence.synthesis.anatomy import Anatomy
from presence.synthesis.fields import Beside, smoothstep
from presence.synthesis.garments import inner_field, outer_field
from presence.synthesis.hair import beard_field, glasses_field, hair_field
from presence.synthesis.scene import Scene
from presence.synthesis.shells import HAIR, INNER, LAYERS, OUTER, SKIN, Shells

_NOWHERE = 1e6  # px: a vertex out there makes rasterizers drop its faces
# A face is dropped when a corner is farther outside than any edge is long, so no cut is lost.
_DROP = {INNER: -0.05, OUTER: -0.05, HAIR: -0.03}
_COVERED = 0.09  # metres inside a garment from which what is beneath is never seen


@dataclasses.dataclass(frozen=True)
class Surface:
    """Visible surface points of N pictures, those that see nothing left out.

    Attributes:
        pixel: [P] index into the flattened pictures [N h w].
        picture: [P] which of the N pictures.
        layer: [P] which layer.
        corners: [P 3] vertices of the face.
        weights: [P 3] barycentrics.
        frame: [P] true on the frame of glasses.
    """

    pixel: Tensor
    picture: Tensor
    layer: Tensor
    corners: Tensor
    weights: Tensor
    frame: Tensor

    def blend(self, table: Tensor, base: Tensor | None = None) -> Tensor:
        """Interpolates rows [R C] of a vertex table to [C P].

        Args:
            table: values of vertices, possibly of many meshes in turn.
            base: [P] first row of each point's mesh; 0 if None.
        """
        total = torch.zeros(len(self.pixel), table.shape[1], device=table.device)
        for k in range(3):
            rows = self.corners[:, k] if base is None else self.corners[:, k] + base
            total.addcmul_(self.weights[:, k, None], table.index_select(0, rows))
        return total.t().contiguous()

    def where(self, mask: Tensor) -> tuple[Tensor, Surface]:
        """Returns the indices [Q] at which `mask` [P] is true, and those points alone."""
        index = torch.nonzero(mask)[:, 0]
        parts = {
            f.name: getattr(self, f.name).index_select(0, index) for f in dataclasses.fields(self)
        }
        return index, Surface(**parts)


def layer_faces(anatomy: Anatomy, body_faces: Tensor) -> list[Tensor]:
    """Returns each layer's faces [F 3]."""
    return [body_faces, anatomy.cloth_faces, anatomy.jacket_faces, anatomy.hair_faces]


def pose_layers(mesh: ProxyMesh, shells: Shells) -> Tensor:
    """Returns the layers' posed vertices [B n l V 3] of posed meshes [B n]."""
    turned = torch.einsum("bnvij,blvj->bnlvi", mesh.skin_rotations, shells.offsets)
    return mesh.vertices[:, :, None] + turned


def dropped(shells: Shells, frames: Tensor) -> Tensor:
    """Returns [B l V] true where a vertex's faces are surely cut away or covered."""
    fields = shells.fields
    cut = torch.zeros_like(fields, dtype=torch.bool)
    cut[:, SKIN] = fields[:, INNER] > _COVERED
    cut[:, INNER] = (fields[:, INNER] < _DROP[INNER]) | (fields[:, OUTER] > _COVERED)
    cut[:, OUTER] = fields[:, OUTER] < _DROP[OUTER]
    cut[:, HAIR] = torch.maximum(fields[:, HAIR], frames) < _DROP[HAIR]
    return cut


def find_visible(scene: Scene, rasterizer: MeshRasterizer, supersample: int) -> Surface:
    """Rasterizes all layers of N = B n pictures and keeps the nearest uncut point.

    Args:
        scene: B subjects in n views.
        rasterizer: of triangles.
        supersample: samples along a pixel's side.
    """
    camera = scene.camera
    camera = camera.resized(camera.width * supersample, camera.height * supersample)
    height, width, device = camera.height, camera.width, scene.layers.device
    best = torch.full((camera.K[..., 0, 0].numel() * height * width,), torch.inf, device=device)
    layer = torch.zeros_like(best, dtype=torch.int64)
    face = torch.zeros_like(layer)
    weights = torch.zeros(len(best), 3, device=device)
    frame = torch.zeros_like(best, dtype=torch.bool)
    first = 0
    for index in range(LAYERS):
        screen = camera.screen(scene.layers[:, :, index])
        gone = scene.cut[:, None, index, :, None].expand_as(screen)
        screen = torch.where(gone, torch.full_like(screen, _NOWHERE), screen)
        found = rasterizer(
            screen.flatten(0, 1), scene.faces[index], height, width, cull_backfaces=index == SKIN
        )
        ids, depth = found.face_ids.flatten(), found.depth.flatten()
        bary = found.barycentrics.reshape(-1, 3)
        nearer = (ids >= 0) & (depth < best)
        if index != SKIN:
            nearer, on_frame = _cut(scene, index, nearer, ids, bary, height * width)
            frame = torch.where(nearer, on_frame, frame)
        best = torch.where(nearer, depth, best)
        layer = torch.where(nearer, index, layer)
        face = torch.where(nearer, ids + first, face)
        weights = torch.where(nearer[:, None], bary, weights)
        first += len(scene.faces[index])
    pixel = torch.nonzero(torch.isfinite(best))[:, 0]
    seen = [value.index_select(0, pixel) for value in (layer, weights, frame)]
    corners = torch.cat(scene.faces).index_select(0, face.index_select(0, pixel))
    picture = torch.div(pixel, height * width, rounding_mode="floor")
    return Surface(pixel, picture, seen[0], corners, seen[1], seen[2])


def _cut(
    scene: Scene, index: int, nearer: Tensor, ids: Tensor, bary: Tensor, area: int
) -> tuple[Tensor, Tensor]:
    """Returns which of the `nearer` pixels of a layer survive its cut, and which are glasses."""
    pixel = torch.nonzero(nearer)[:, 0]
    keep, frame = torch.zeros_like(nearer), torch.zeros_like(nearer)
    picture = torch.div(pixel, area, rounding_mode="floor")
    subject = torch.div(picture, scene.views, rounding_mode="floor")
    corners = scene.faces[index].index_select(0, ids.index_select(0, pixel))
    points = Surface(pixel, picture, subject, corners, bary.index_select(0, pixel), subject > -1)
    place = points.blend(scene.anatomy.static[:, :3])
    if index == HAIR:
        keep[pixel], frame[pixel] = _hair_cut(scene, points, subject, place)
    else:
        field = inner_field if index == INNER else outer_field
        garments = Beside(scene.recipe.garments, subject)
        keep[pixel] = field(garments, scene.anatomy.anchors, *place) > 0.0
    return keep, frame


def _hair_cut(
    scene: Scene, points: Surface, subject: Tensor, place: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns which points [P] of the hair layer remain, and which of them are glasses."""
    look, anchors = Beside(scene.recipe.hair, subject), scene.anatomy.anchors
    hair = hair_field(look, anchors, *place)
    field = torch.maximum(hair, beard_field(look, anchors, *place))
    rough = scene.noise(place * 160.0 + look.offset, slice(0, 1))[0]
    stretched = place * torch.tensor([[420.0], [60.0], [420.0]]).to(place)
    strand = scene.noise(stretched, slice(1, 2))[0]
    # Ends are ragged; the line where hair leaves the skin is not.
    ends = smoothstep(anchors["ear_y"], anchors["mouth_y"], place[1])
    ragged = look.ragged * (0.3 + 0.7 * ends)
    field = field + ragged * (0.5 * rough + 0.7 * strand - 0.3)
    # At the outline single strands stand before the background.
    facing = points.blend(_facing(scene), points.picture * scene.layers.shape[3])[0].abs()
    thin = facing < look.fuzz * (0.5 + 0.3 * strand + 0.2 * rough)
    glasses = glasses_field(look, anchors, *place)
    on_frame = glasses > field.clamp_min(0.0)
    return ((field > 0.0) & ~thin) | on_frame, on_frame


def _facing(scene: Scene) -> Tensor:
    """Returns the cosine [B n V, 1] between the hair's normals and the view."""
    toward = scene.camera.position[:, :, None] - scene.layers[:, :, HAIR]
    toward = torch.nn.functional.normalize(toward, dim=-1)
    return (toward * scene.normals[:, :, HAIR]).sum(-1).reshape(-1, 1)


def contact(field: Tensor) -> Tensor:
    """Returns how open to light [P] skin is that lies `field` (m, negative) outside an edge."""
    return 1.0 - 0.5 * smoothstep(-0.03, 0.0, field)
