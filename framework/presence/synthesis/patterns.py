"""Cloth at a point: pattern, weave, wear, creases, trims, buttons and decals."""

from __future__ import annotations

from operator import itemgetter

import torch
from torch import Tensor

from presence.synthesis.fabric import DECALS, PATTERNS, SLOTS, DecalLook, FabricLook
from presence.synthesis.fields import Beside, bump, mix, smoothstep
from presence.synthesis.garments import GarmentLook, arm_length
from presence.synthesis.glyphs import Glyphs
from presence.synthesis.noise import NoiseVolume


def shade_cloth(
    fabrics: FabricLook, decals: DecalLook, garments: GarmentLook, subject: Tensor, slot: Tensor,
    edge: Tensor, anchors: dict[str, float], static: Tensor, noise: NoiseVolume, glyphs: Glyphs,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Colours cloth.

    Args:
        fabrics: of the batch.
        decals: of the batch.
        garments: of the batch.
        subject: [P] batch element of each point.
        slot: [P] fabric of each point.
        edge: [P] distance (m) from the garment's edge, growing inwards.
        anchors: of the anatomy.
        static: [8 P] template fields in the order of `anatomy.STATIC`.
        noise: solid noise.
        glyphs: for lettering.

    Returns:
        Linear albedo [3 P], and specular strength [P].
    """
    flat = fabrics.map(lambda t: t.flatten(0, 1))
    look, cut = Beside(flat, subject * SLOTS + slot), Beside(garments, subject)
    x, y, z = static[:3]
    u, v = _cloth_coordinates(anchors, x, y, z)
    broad = noise(static[:3] * 9.0 + look.offset, slice(0, 4))
    albedo = _patterned(look, u, v, broad, static[:3], noise, glyphs)
    albedo = _decals(albedo, decals, subject, slot, anchors, static, glyphs)
    albedo = _trims(look, cut, albedo, slot, edge, x, y, z)
    fine = noise(static[:3] * look.weave_frequency + look.offset, slice(1, 2))[0]
    ribs = torch.sin(u * look.weave_frequency * 4.0) * smoothstep(
        420.0, 300.0, look.weave_frequency
    )
    albedo = albedo * (1.0 + look.weave * (0.6 * fine + 0.35 * ribs)).clamp_min(0.2)
    albedo = albedo * (1.0 + look.wear * broad[3]).clamp(0.3, 1.8)
    creases = 1.0 - 0.22 * look.crease * smoothstep(0.35, 0.0, broad[2].abs()) * smoothstep(
        -0.4, 0.9, broad[0]
    )
    return albedo * creases, 0.08 + 0.7 * look.gloss


def crease_slope(cut: Beside, point: Tensor, noise: NoiseVolume) -> Tensor:
    """Returns the gradient [3 P] of the cloth's crease height at template points [3 P]."""
    x, y, z = point
    step = 0.004
    # Creases run around limbs and aslant over the trunk; two scales, both ridged.
    heights = []
    for dx, dy, dz in ((0.0, 0.0, 0.0), (step, 0.0, 0.0), (0.0, step, 0.0), (0.0, 0.0, step)):
        u, v, w = x + dx, y + dy, z + dz
        place = torch.stack([0.8 * u + 0.5 * v, 0.75 * v - 0.4 * u.abs(), 0.7 * w])
        broad = noise(place * 19.0 + cut.offset, slice(0, 1))[0]
        fine = noise(place * 47.0 + cut.offset.flip(0), slice(1, 2))[0]
        heights.append((broad.square() + 0.09).sqrt() + 0.3 * (fine.square() + 0.09).sqrt())
    gradient = torch.stack([h - heights[0] for h in heights[1:]]) / step
    return -gradient * (0.5 * cut.folds + 0.0012)


def _cloth_coordinates(
    anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns metres around (u) and down (v) the garment: down the body, or along the arm."""
    on_arm = arm_length(anchors, x) > 0.02
    around_body = torch.atan2(x, z - 0.2 * anchors["neck_z"]) * 0.15
    around_arm = torch.atan2(z - anchors["elbow_z"], y - anchors["elbow_y"]) * 0.05
    along_arm = anchors["shoulder_y"] - (x.abs() - anchors["shoulder_x"])
    return torch.where(on_arm, around_arm, around_body), torch.where(on_arm, along_arm, y)


def _patterned(
    look: Beside, u: Tensor, v: Tensor, broad: Tensor, point: Tensor, noise: NoiseVolume,
    glyphs: Glyphs,
) -> Tensor:  # fmt: skip
    turn = look.turn
    a = (u * torch.cos(turn) + v * torch.sin(turn)) * look.frequency
    b = (v * torch.cos(turn) - u * torch.sin(turn)) * look.frequency
    fa, fb = torch.remainder(a, 1.0), torch.remainder(b, 1.0)
    duty = look.duty
    stripe = _bar(fb, duty)
    thin = _bar(torch.remainder(b * 0.5 + 0.3, 1.0), 0.1)
    check = 0.5 * (_bar(fa, duty) + _bar(fb, duty))
    odd = torch.remainder(torch.floor(b), 2.0) * 0.5
    dot = ((torch.remainder(a + odd, 1.0) - 0.5).square() + (fb - 0.5).square()).sqrt()
    dots = smoothstep(0.08, 0.0, dot - 0.14 - 0.22 * duty)
    cloud = noise(point * (look.frequency * 0.6) + look.offset.flip(0), slice(3, 5))
    blotch = smoothstep(-0.1, 0.1, cloud[0] + duty - 0.5)
    deep = smoothstep(0.75, 0.95, cloud[0] + duty - 0.5)
    flower = smoothstep(-0.9, -1.1, cloud[1])
    petal = smoothstep(-1.5, -1.7, cloud[1])
    ink = glyphs(a * 0.6, -b * 0.5, torch.floor(look.offset[0] * 60.0))
    fade = smoothstep(-0.25, 0.3, v + 0.06 * broad[0])
    block = (torch.sin(b * 0.35 + look.offset[0]) + 0.6 * torch.sin(a * 0.2) > 0.0).float()
    zig = _bar(torch.remainder(b + (fa - 0.5).abs(), 1.0), duty)
    zero = torch.zeros_like(a)
    # One (second colour, third colour) pair for each of PATTERNS, in order.
    pairs = ((zero, zero), (stripe, thin), (check, thin), (dots, zero), (blotch, deep),
             (flower, petal), (ink, zero), (fade, zero), (block, zero), (zig, thin))  # fmt: skip
    second, third = zero, zero
    for index in range(1, len(PATTERNS)):
        chosen = look.pattern == index
        second = torch.where(chosen, pairs[index][0], second)
        third = torch.where(chosen, pairs[index][1], third)
    return mix(mix(look.ground, look.second, second), look.third, third)


def _bar(phase: Tensor, duty: Tensor | float) -> Tensor:
    edge = 0.04
    return smoothstep(0.0, edge, phase) * smoothstep(0.0, edge, duty - phase)


def _trims(
    look: Beside, cut: Beside, albedo: Tensor, slot: Tensor, edge: Tensor, x: Tensor, y: Tensor,
    z: Tensor,
) -> Tensor:  # fmt: skip
    band = smoothstep(look.trim_width + 0.001, look.trim_width - 0.001, edge)
    albedo = mix(albedo, look.second, band * (look.trim > 1.5))
    stitch = bump(edge, look.trim_width, 0.0012)
    albedo = albedo * (1.0 - 0.35 * stitch * (look.trim > 0.5))
    albedo = albedo * (1.0 - 0.4 * smoothstep(0.004, 0.0, edge))
    front = (z > 0.0) & ((slot == 0) | (slot == 2)) & (y > -0.4)
    wanted = torch.where(slot == 2, cut.outer_open < 0.0, cut.placket > 0.5) & front
    albedo = albedo * (1.0 - 0.45 * wanted * bump(x.abs(), 0.012, 0.001))
    spacing = torch.remainder(y, 0.085) - 0.04
    button = smoothstep(0.007, 0.005, (x.square() + spacing.square()).sqrt())
    zipper = (cut.placket > 1.5) | (slot == 2)
    teeth = smoothstep(0.004, 0.002, x.abs()) * (0.5 + 0.5 * torch.sin(y * 1500.0))
    mark = torch.where(zipper, teeth, button) * wanted
    return mix(albedo, 0.25 * look.third + 0.3 * (1.0 - look.ground), mark)


def _decals(
    albedo: Tensor, decals: DecalLook, subject: Tensor, slot: Tensor, anchors: dict[str, float],
    static: Tensor, glyphs: Glyphs,
) -> Tensor:  # fmt: skip
    x, y, z = static[:3]
    outer_side, before = y > anchors["elbow_y"], z > 0.8 * anchors["neck_z"]
    for number in range(DECALS):
        look = Beside(decals.map(itemgetter((slice(None), number))), subject)
        arm = look.place == 3
        across = torch.where(arm, z - look.center[0], (x - look.center[0]) * (3 - 2 * look.place))
        down = torch.where(arm, x.abs() - look.center[1], look.center[1] - y)
        c, s = torch.cos(look.turn), torch.sin(look.turn)
        u = (across * c + down * s) / look.size[0] * 2.0  # -1..1 inside
        v = (down * c - across * s) / look.size[1] * 2.0
        near = torch.where(arm, outer_side, before == (look.place == 1))
        inside = _shape(look, u, v) * near * (look.place > 0) * (slot != 1) * (slot != 3)
        paint, cover = _content(look, u, v, glyphs)
        albedo = mix(albedo, paint, inside * cover)
    return albedo


def _shape(look: Beside, u: Tensor, v: Tensor) -> Tensor:
    radius = (u * u + v * v).sqrt()
    turn = torch.atan2(v, u)
    box = torch.maximum(u.abs(), v.abs())
    star = radius * (1.15 + 0.3 * torch.cos(turn * look.points))
    shield = torch.maximum(u.abs() + 0.35 * v.clamp_min(0.0).square(), v.abs())
    size = torch.where(look.shape == 0, radius, box)
    size = torch.where(look.shape == 2, star, size)
    size = torch.where(look.shape == 3, shield, size)
    return smoothstep(1.02, 0.96, size)


def _content(look: Beside, u: Tensor, v: Tensor, glyphs: Glyphs) -> tuple[Tensor, Tensor]:
    """Returns the decal's colour [3 P] and cover [P]: letters, rings, rays or an emblem."""
    radius, turn = (u * u + v * v).sqrt(), torch.atan2(v, u)
    lines = 1.0 + torch.remainder(look.seed, 3.0)
    text = glyphs((u + 1.0) * (2.0 + torch.remainder(look.seed, 5.0)), (v + 1.0) * lines / 2.0,
                  look.seed)  # fmt: skip
    rings = _bar(torch.remainder(radius * 2.5, 1.0), 0.5)
    rays = (torch.sin(turn * look.points + 3.0 * radius) > 0.0).float()
    emblem = smoothstep(0.05, -0.05, (u.square() + (v - 0.3 * u.abs()).square()).sqrt() - 0.55)
    ink = torch.where(look.content == 0, text, rings)
    ink = torch.where(look.content == 2, rays * (radius < 0.75), ink)
    ink = torch.where(look.content == 3, emblem, ink)
    rim = smoothstep(
        0.82, 0.86, torch.where(look.shape == 0, radius, torch.maximum(u.abs(), v.abs()))
    )
    paint = mix(mix(look.ground, look.ink, ink), look.third, rim * look.filled)
    return paint, torch.maximum(look.filled, ink)
