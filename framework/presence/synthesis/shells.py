"""Geometry off the surface: clothes, hair, beards and glasses as displaced copies of the body.

A displacement is drawn once, in the rest pose; in every pose it turns with the skin, so clothes
and hair move with the body: `posed = vertex + skin_rotation @ offset`.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.geometry import vertex_normals
from presence.structures import TensorStruct, tensor
from presence.synthesis.anatomy import STATIC, Anatomy
from presence.synthesis.fields import Beside, bump, smoothstep
from presence.synthesis.garments import (
    GarmentLook,
    arm_length,
    fit_offsets,
    inner_field,
    outer_field,
    outer_offsets,
)
from presence.synthesis.hair import HairLook, beard_field, glasses_field, hair_field
from presence.synthesis.noise import NoiseVolume

SKIN, INNER, OUTER, HAIR = range(4)
LAYERS = 4
_CLIP = 0.12  # metres: fields are clipped so that a jump spoils at most one triangle


@dataclasses.dataclass(frozen=True, eq=False)
class Shells(TensorStruct):
    """Displacements and cuts of a batch of subjects.

    Attributes:
        offsets: [... l V 3] rest-pose displacement of each layer's vertices, metres.
        fields: [... l V] how far (m) inside its layer's cut each vertex is; negative is cut.
    """

    offsets: Tensor = tensor("l V 3", unit="m")
    fields: Tensor = tensor("l V", unit="m")


def build_shells(
    anatomy: Anatomy, faces: Tensor, betas: Tensor, garments: GarmentLook, hair: HairLook,
    noise: NoiseVolume,
) -> Shells:  # fmt: skip
    """Displaces a batch of people into their layers.

    Args:
        anatomy: of the body.
        faces: [F 3] of the body.
        betas: [B S] their shapes.
        garments: what they wear.
        hair: what they have on their heads.
        noise: solid noise.
    """
    rest, smooth, smoother = anatomy.smooth_rest(betas)
    template = anatomy.template
    cut, look = Beside(garments), Beside(hair)
    inner, outer = _cloth(anatomy, faces, rest, smooth, smoother, cut, noise)
    cloth = torch.where((cut.outer > 0.5)[..., None], outer, inner)
    locks = _locks(anatomy, faces, rest, smoother, cloth, look, noise)
    hair_all = torch.maximum(
        hair_field(look, anatomy.anchors, *template), beard_field(look, anatomy.anchors, *template)
    )
    fields = [
        torch.full_like(hair_all, _CLIP),
        inner_field(cut, anatomy.anchors, *template),
        outer_field(cut, anatomy.anchors, *template),
        hair_all,
    ]
    return Shells(
        offsets=torch.stack([torch.zeros_like(rest), inner, outer, locks], 1),
        fields=torch.stack(fields, 1).clamp(-_CLIP, _CLIP),
    )


def _clearance(rest: Tensor, smooth: Tensor, normals: Tensor) -> Tensor:
    """Returns how far [B V 1] the body sticks out of its smoothed self."""
    return ((rest - smooth) * normals).sum(-1, keepdim=True).clamp_min(0.0)


def _cloth(
    anatomy: Anatomy, faces: Tensor, rest: Tensor, smooth: Tensor, smoother: Tensor, cut: Beside,
    noise: NoiseVolume,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    x, y, z = anatomy.template
    anchors = anatomy.anchors
    foot = smoothstep(anchors["ankle_y"] + 0.05, anchors["ankle_y"] - 0.02, y)[..., None]
    # Along the normals only: patterns must not slide about with the smoothing. Toes must go.
    normals = vertex_normals(smooth, faces)
    across = ((smooth - rest) * normals).sum(-1, keepdim=True)
    base = rest + across * normals
    base = base + foot * (smoother - base)
    stand = fit_offsets(cut, anchors, x, y, z)[..., None] + _clearance(rest, base, normals)
    stand = stand + (cut.drape * anatomy.static[None, :, STATIC.index("drape")])[..., None]
    stand = stand + _folds(anatomy, rest, cut, noise)
    inner = base - rest + normals * stand
    inner = inner + _skirt(anatomy, rest, cut)
    outer = inner + normals * outer_offsets(cut, anchors, x, y, z)[..., None]
    return inner, outer


def _folds(anatomy: Anatomy, rest: Tensor, cut: Beside, noise: NoiseVolume) -> Tensor:
    """Returns folds [B V 1] (m) that run around limbs and across the body."""
    x, y, z = anatomy.template
    along = torch.stack([x * 0.9 + y * 0.35, y * 0.8 - x.abs() * 0.3, z]).expand(3, len(rest), -1)
    points = along * 17.0 + cut.offset
    value = noise(points.reshape(3, -1), slice(0, 1)).reshape(len(rest), -1)
    ridges = 0.9 - value.abs()
    free = smoothstep(anatomy.anchors["neck_y"], anatomy.anchors["neck_y"] - 0.1, y)
    active = torch.maximum(free, smoothstep(0.0, 0.3, arm_length(anatomy.anchors, x)))
    return (cut.folds * ridges * active)[..., None]


def _skirt(anatomy: Anatomy, rest: Tensor, cut: Beside) -> Tensor:
    """Returns displacements [B V 3] that open each leg's tube into one half of a cone.

    The angle around a leg, -180 to 180 degrees with 0 outwards, becomes the angle around the
    body, -90 to 90, so the two halves meet in front and behind.
    """
    _, y, _ = anatomy.template
    anchors, joints = anatomy.anchors, anatomy.joints
    hip, knee = joints[1], joints[4]
    share = ((hip[1] - y) / (hip[1] - knee[1])).clamp(-0.5, 1.3)
    side = torch.where(anatomy.static[None, :, 0] < 0, -1.0, 1.0)
    axis_x, axis_z = hip[0] + (knee[0] - hip[0]) * share, hip[2] + (knee[2] - hip[2]) * share
    out, fore = rest[..., 0] * side - axis_x, rest[..., 2] - axis_z
    half = 0.5 * torch.atan2(fore, out)
    drop = (anchors["hip_y"] + 0.05 - y).clamp_min(0.0)
    radius = 0.19 + cut.flare * drop + cut.leg_fit
    wave = 1.0 + 0.05 * torch.sin(half * 14.0) * smoothstep(0.05, 0.3, drop)
    target_x = side * radius * torch.cos(half) * wave
    target_z = axis_z + 0.75 * radius * torch.sin(half) * wave
    amount = smoothstep(anchors["hip_y"] + 0.08, anchors["hip_y"] - 0.03, y) * cut.skirt
    shoes = smoothstep(cut.leg - 0.06, cut.leg - 0.01, y)
    shift = torch.stack(
        [target_x - rest[..., 0], torch.zeros_like(target_x), target_z - rest[..., 2]], -1
    )
    return shift * (amount * shoes)[..., None]


def _locks(
    anatomy: Anatomy, faces: Tensor, rest: Tensor, smooth: Tensor, cloth: Tensor, look: Beside,
    noise: NoiseVolume,
) -> Tensor:  # fmt: skip
    x, y, z = anatomy.template
    anchors, ipd = anatomy.anchors, anatomy.anchors["ipd"]
    fy, fz = (y - anchors["eye_y"]) / ipd, (z - anchors["ear_z"]) / ipd
    normals = vertex_normals(smooth, faces)
    center = rest[:, anatomy.scalp].mean(1, keepdim=True)
    radial = torch.nn.functional.normalize(rest - center, dim=-1)
    head = smoothstep(-1.2, 0.2, fy)[..., None]
    direction = torch.nn.functional.normalize(normals + 0.8 * head * radial, dim=-1)
    field = hair_field(look, anchors, x, y, z)
    top, behind = smoothstep(0.5, 1.5, fy), smoothstep(0.2, -1.0, fz)
    depth = (
        look.base
        + look.top * top
        + (1 - top) * torch.maximum(look.side * (1 - behind), look.back * behind)
    )
    depth = depth * (1.0 - 0.65 * smoothstep(0.9, 1.6, fz) * smoothstep(1.6, 1.0, fy))
    on_body = smoothstep(anchors["chin_y"], anchors["neck_y"], y)
    depth = depth + (look.drape - depth) * on_body
    rise = 0.022 + 0.9 * depth * torch.maximum(smoothstep(0.2, 1.0, fy), 1.0 - look.hanging)
    depth = depth * (0.12 + 0.88 * smoothstep(-0.002, rise, field))
    depth = depth + _bun(look, anchors, x, y, z)
    depth = depth + _curls(rest, look, noise) * smoothstep(0.0, 0.02, field)
    beard = beard_field(look, anchors, x, y, z)
    depth = torch.where(beard > field, look.beard_depth * smoothstep(-0.003, 0.02, beard), depth)
    offset = smooth - rest + direction * (depth[..., None] + _clearance(rest, smooth, normals))
    # On the shoulders and below, hair lies over whatever is worn.
    offset = offset + on_body[..., None] * (cloth + normals * depth[..., None] - offset)
    beard_only = (beard > field)[..., None]
    offset = torch.where(beard_only, normals * depth[..., None], offset)
    offset = offset + _curtain(anatomy, rest + offset, look, center)
    return _frames(anatomy, rest, look, offset)


def _bun(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    ipd = anchors["ipd"]
    height = anchors["eye_y"] + look.bun_height * ipd
    back = anchors["back_z"] + 0.01 + 0.045 * (look.bun_height - 0.6).clamp_min(0.0)
    distance = (x.square() + (y - height).square() + (z - back).square()).sqrt()
    return look.bun * smoothstep(1.1 * ipd, 0.35 * ipd, distance)


def _curls(rest: Tensor, look: Beside, noise: NoiseVolume) -> Tensor:
    points = rest.movedim(-1, 0) * look.curl_frequency + look.offset
    return look.curl * noise(points.reshape(3, -1), slice(0, 1)).reshape(rest.shape[:2])


def _curtain(anatomy: Anatomy, hair: Tensor, look: Beside, center: Tensor) -> Tensor:
    """Returns displacements [B V 3] that carry hanging hair [B V 3] outwards around the neck."""
    _, y, _ = anatomy.template
    anchors = anatomy.anchors
    flat = hair - center
    flat = torch.stack([flat[..., 0], torch.zeros_like(flat[..., 0]), flat[..., 2] + 0.01], -1)
    radius = flat.norm(dim=-1)
    behind = smoothstep(0.03, -0.07, flat[..., 2])
    fall = (anchors["ear_y"] - y).clamp(0.0, 0.16)
    inwards = 1.0 - 3.0 * fall  # big hair is round: widest at the ears
    wide = anchors["ear_x"] * 0.95 + 0.9 * look.side * inwards + 0.16 * fall
    wide = wide + behind * (0.022 + 0.7 * look.back * inwards)
    below = smoothstep(anchors["ear_y"] + 0.02, anchors["ear_y"] - 0.03, y)
    push = (wide - radius).clamp_min(0.0) * below * look.hanging
    return torch.nn.functional.normalize(flat, dim=-1) * push[..., None]


def _frames(anatomy: Anatomy, rest: Tensor, look: Beside, offset: Tensor) -> Tensor:
    """Flattens the front of the face to the plane of the glasses where they are worn."""
    x, y, z = anatomy.template
    anchors, ipd = anatomy.anchors, anatomy.anchors["ipd"]
    fy, ax = (y - anchors["eye_y"]) / ipd, x.abs() / ipd
    band = bump(fy, -0.06, 0.45) > 0.3
    front = (z > anchors["eye_z"] - 0.3 * ipd) & (ax < 1.15) & band
    temple = (ax > 0.85) & (z > anchors["ear_z"] - 0.01) & band & ~front
    worn = look.glasses > 0.5
    plane = rest[:, anatomy.brow, 2][:, None] + 0.006 - 0.018 * ax.square()
    forward = torch.zeros_like(offset)
    forward[..., 2] = plane - rest[..., 2]
    side = torch.zeros_like(offset)
    side[..., 0] = 0.005 * torch.sign(rest[..., 0])
    offset = torch.where((worn & front)[..., None], forward, offset)
    bare = hair_field(look, anchors, x, y, z) < 0.0
    return torch.where((worn & temple & bare)[..., None], side, offset)


def layer_normals(layers: Tensor, faces: list[Tensor]) -> Tensor:
    """Returns unit vertex normals [B n l V 3] of posed layers [B n l V 3]."""
    return torch.stack([vertex_normals(layers[:, :, k], f) for k, f in enumerate(faces)], 2)


def frame_reach(look: Beside, anatomy: Anatomy) -> Tensor:
    """Returns how far (m) [B V] vertices lie inside the glasses' frame, for culling."""
    return glasses_field(look, anatomy.anchors, *anatomy.template)
