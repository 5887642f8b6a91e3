"""Colour of visible surface points: each material's albedo, then light, shadow and gloss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from presence.interfaces import MeshRasterizer
from presence.structures import Camera
from presence.synthesis.fields import Beside, dot, mix, smoothstep, unit
from presence.synthesis.garments import garment_slot, inner_field, outer_field
from presence.synthesis.hair import beard_field, hair_field, shaved_scalp
from presence.synthesis.lighting import ShadowMaps, illuminate, sky_light
from presence.synthesis.noise import NoiseVolume
from presence.synthesis.patterns import crease_slope, shade_cloth
from presence.synthesis.scene import Scene
from presence.synthesis.shells import HAIR, INNER, LAYERS, SKIN
from presence.synthesis.skin import shade_skin
from presence.synthesis.visible import Surface, contact

if TYPE_CHECKING:
    from presence.synthesis.people import Recipe


def shade(scene: Scene, surface: Surface, rasterizer: MeshRasterizer) -> Tensor:
    """Returns linear light [3 P] leaving the visible points towards the camera.

    Args:
        scene: B subjects in n views.
        surface: the visible points.
        rasterizer: of triangles, for shadows.
    """
    subject = torch.div(surface.picture, scene.views, rounding_mode="floor")
    static = surface.blend(scene.anatomy.static)  # [8 P]
    albedo, specular, openness = _materials(scene, surface, subject, static)
    point, normal, sky = _geometry(scene, surface)
    eye = scene.camera.position.reshape(-1, 3).t().contiguous()
    view = unit(eye.index_select(1, surface.picture) - point)
    normal = _creased(scene, surface, subject, static, unit(normal))
    # Cloth and hair are seen from inside too.
    normal = torch.where(dot(normal, view) < 0.0, -normal, normal)
    lit = _shadows(scene, rasterizer).lit(point, normal, surface.picture)
    hair = (surface.layer == HAIR) & ~surface.frame
    light = Beside(scene.recipe.light, subject)
    return illuminate(light, albedo, specular, hair, sky, lit, normal, view, openness)


def _geometry(scene: Scene, surface: Surface) -> tuple[Tensor, Tensor, Tensor]:
    """Returns positions, normals (not unit) and sky light, [3 P] each."""
    layers, normals = scene.layers.flatten(0, 1), scene.normals.flatten(0, 1)  # [N l V 3]
    count, vertices = layers.shape[1:3]
    light = scene.recipe.light.map(lambda t: t.repeat_interleave(scene.views, 0))
    sky = sky_light(light, normals.flatten(1, 2)).reshape(layers.shape)
    table = torch.cat([layers, normals, sky], -1).reshape(-1, 9)
    base = (surface.picture * count + surface.layer) * vertices
    point, normal, bright = surface.blend(table, base).split(3)
    return point, normal, bright


def _creased(
    scene: Scene, surface: Surface, subject: Tensor, static: Tensor, normal: Tensor
) -> Tensor:
    """Tilts the normals [3 P] of cloth by the gradient of its creases.

    The gradient is taken in the rest pose and turned with the skin, so creases stay where they
    are on the cloth in every view and pose.
    """
    index, part = surface.where((surface.layer != SKIN) & (surface.layer != HAIR))
    who = subject[index]
    garments = Beside(scene.recipe.garments, who)
    slope = crease_slope(garments, static[:3, index], scene.noise)
    turns = scene.turns.reshape(-1, 9)
    posed = part.blend(turns, part.picture * scene.turns.shape[-3]).reshape(3, 3, -1)
    slope = (posed * slope).sum(1)
    flat = normal[:, index]
    slope = slope - flat * dot(flat, slope)
    return normal.index_copy(1, index, unit(flat - slope))


def _shadows(scene: Scene, rasterizer: MeshRasterizer) -> ShadowMaps:
    layers = scene.layers
    views, vertices = layers.shape[1], layers.shape[3]
    gone = scene.cut[:, None, :, :, None].expand_as(layers)
    casting = torch.where(gone, torch.full_like(layers, torch.inf), layers)
    faces = torch.cat([f + k * vertices for k, f in enumerate(scene.faces)])
    toward = scene.recipe.light.toward.repeat_interleave(views, 0)
    extent = _in_frame(layers[:, :, SKIN], scene.camera).flatten(0, 1)
    return ShadowMaps(rasterizer, casting.reshape(-1, LAYERS * vertices, 3), faces, toward, extent)


def _in_frame(vertices: Tensor, camera: Camera) -> Tensor:
    """Returns vertices [B n V 3], those outside the picture moved to the others' mean.

    Shadow maps then spend their texels on what can be seen.
    """
    px, depth = camera.project(vertices)
    size = px.new_tensor([camera.width, camera.height])
    inside = ((px > -0.1 * size) & (px < 1.1 * size)).all(-1) & (depth > 0.0)
    count = inside.sum(-1, keepdim=True).clamp_min(1)[..., None]
    middle = (vertices * inside[..., None]).sum(-2, keepdim=True) / count
    return torch.where(inside[..., None], vertices, middle)


def _materials(
    scene: Scene, surface: Surface, subject: Tensor, static: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns albedo [3 P], specular [P] and openness [P] of every point."""
    recipe, anchors, noise = scene.recipe, scene.anatomy.anchors, scene.noise
    albedo = torch.zeros(3, len(subject), device=static.device)
    specular = torch.zeros_like(albedo[0])
    openness = 0.25 + 0.75 * static[3]
    count, vertices = scene.shells.fields.shape[1:]
    fields = scene.shells.fields.reshape(-1, 1)

    index, part = surface.where(surface.layer == SKIN)
    who, here = subject[index], static[:, index]
    albedo[:, index], specular[index] = _skin(recipe, who, here, anchors, noise)
    base = who * count * vertices
    near_cloth = part.blend(fields, base + INNER * vertices)[0]
    near_hair = part.blend(fields, base + HAIR * vertices)[0]
    openness[index] = openness[index] * contact(near_cloth) * contact(near_hair)

    index, part = surface.where((surface.layer != SKIN) & (surface.layer != HAIR))
    who, here = subject[index], static[:, index]
    worn = Beside(recipe.garments, who)
    inner, outer = (f(worn, anchors, *here[:3]) for f in (inner_field, outer_field))
    edge = torch.where(part.layer == INNER, inner, outer)
    slot = garment_slot(worn, here[1], part.layer)
    albedo[:, index], specular[index] = shade_cloth(
        recipe.fabrics,
        recipe.decals,
        recipe.garments,
        who,
        slot,
        edge,
        anchors,
        here,
        noise,
        scene.glyphs,
    )
    openness[index] = 0.5 + 0.5 * openness[index]

    index, part = surface.where(surface.layer == HAIR)
    who, here = subject[index], static[:, index]
    look = Beside(recipe.hair, who)
    albedo[:, index], specular[index], open_ = _hair(look, anchors, here, part.frame, noise)
    openness[index] = open_
    return albedo, specular, openness


def _skin(
    recipe: Recipe, who: Tensor, static: Tensor, anchors: dict[str, float], noise: NoiseVolume
) -> tuple[Tensor, Tensor]:
    look = Beside(recipe.skin, who)
    albedo, specular = shade_skin(look, anchors, static, noise)
    under = Beside(recipe.hair, who)
    place = static[:3]
    # Below hair the scalp is dark, so that gaps between locks show no bald skin.
    covered = smoothstep(-0.004, 0.012, hair_field(under, anchors, *place))
    scalp = torch.maximum(look.buzz * 0.8 * shaved_scalp(anchors, *place), 0.85 * covered)
    dry = (static[4] < 0.5) & (static[5] < 0.5)
    return mix(albedo, under.color * 0.7 + 0.12 * look.tone, scalp * dry), specular


def _hair(
    look: Beside, anchors: dict[str, float], static: Tensor, frame: Tensor, noise: NoiseVolume
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    x, y, z = static[:3]
    ipd = anchors["ipd"]
    fy = (y - anchors["eye_y"]) / ipd
    # Strands run from front to back over the top, and down everywhere else: noise is
    # stretched along them.
    beside = smoothstep(0.5, 0.85, x.abs() / anchors["ear_x"])
    over = torch.stack([x * (1.0 - 0.85 * beside), y * 0.14, z * (0.14 + 0.86 * beside)])
    coordinates = mix(torch.stack([x, y * 0.14, z]), over, smoothstep(0.3, 0.9, fy))
    coarse = noise(coordinates * 95.0 + look.offset, slice(0, 1))[0]
    fine = noise(coordinates * 330.0 + look.offset, slice(1, 2))[0]
    lump = noise(static[:3] * look.curl_frequency * 2.6 + look.offset, slice(2, 3))[0]
    curly = smoothstep(0.004, 0.012, look.curl)
    strand = mix(0.6 * coarse + 0.5 * fine, 0.5 * coarse + 0.7 * lump + 0.3 * fine, curly)
    down = smoothstep(1.5, -2.5, fy)
    color = mix(look.color, look.tip, down * look.hanging)
    color = color * torch.exp(look.contrast * (0.75 - 0.5 * look.color[1]) * strand)
    edge = hair_field(look, anchors, x, y, z)
    depth = smoothstep(-0.2, 0.035, edge)
    beard = beard_field(look, anchors, x, y, z) > edge
    openness = torch.where(beard, 0.7 + 0.1 * strand, 0.45 + 0.4 * depth + 0.12 * strand)
    albedo = torch.where(frame, look.frame, color)
    specular = torch.where(frame, 1.8, look.shine * (0.9 + 0.5 * coarse))
    return albedo, specular, torch.where(frame, 0.9, openness).clamp(0.1, 1.0)
