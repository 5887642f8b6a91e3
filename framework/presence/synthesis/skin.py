"""Skin and faces: tone at every scale, lips, brows, eyes, stubble, freckles and make-up."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct, tensor
from presence.synthesis.draws import Array, Draws, Mask
from presence.synthesis.fields import Beside, bump, mix, polyline, smoothstep, struct_of
from presence.synthesis.noise import NoiseVolume
from presence.synthesis.palette import draw_eye_color, draw_skin_tone

GRAIN = slice(5, 6)


@dataclasses.dataclass(frozen=True, eq=False)
class SkinLook(TensorStruct):
    """Colours are linear albedo; amounts are 0..1; lengths are in interocular distances."""

    tone: Tensor = tensor("3")
    lip: Tensor = tensor("3")
    lip_amount: Tensor = tensor("")
    lip_height: Tensor = tensor("")
    brow: Tensor = tensor("3")
    brow_amount: Tensor = tensor("")
    brow_width: Tensor = tensor("")
    brow_arch: Tensor = tensor("")
    brow_lift: Tensor = tensor("")
    iris: Tensor = tensor("3")
    iris_size: Tensor = tensor("")
    stubble: Tensor = tensor("")
    buzz: Tensor = tensor("")
    blush: Tensor = tensor("")
    freckles: Tensor = tensor("")
    mottle: Tensor = tensor("")
    tired: Tensor = tensor("")
    liner: Tensor = tensor("")
    shadow: Tensor = tensor("3")
    shadow_amount: Tensor = tensor("")
    wrinkles: Tensor = tensor("")
    oil: Tensor = tensor("")
    dark: Tensor = tensor("")
    offset: Tensor = tensor("3")


def draw_skin(draws: Draws, hair_color: Array, feminine: Array, bearded: Mask) -> SkinLook:
    """Draws skin and face.

    Args:
        draws: one stream a subject.
        hair_color: [B 3] albedo of the hair, which colours brows and stubble.
        feminine: [B] 0..1, how likely make-up is and stubble is not.
        bearded: [B] whether a beard grows over the skin.
    """
    tone, dark = draw_skin_tone(draws)
    made_up = draws.chance("made up", 0.6 * feminine)
    lipstick = np.stack([draws.uniform("lr", 0.18, 0.6), draws.uniform("lg", 0.01, 0.12),
                         draws.uniform("lb", 0.02, 0.16)], -1)  # fmt: skip
    natural = (
        tone
        * np.stack([0.86 - 0.1 * dark, 0.56 + 0.12 * dark, 0.6 + 0.14 * dark], -1)
        * np.exp(draws.normal("lip tint", 0.08, size=3))
    )
    painted = made_up & draws.chance("lipstick", 0.6)
    brow = np.minimum(hair_color, 0.28) * draws.uniform("brow shade", 0.45, 0.9)[:, None]
    shaved = np.where(draws.chance("stubble", 0.75), draws.uniform("growth", 0.0, 0.85), 0.0)
    return struct_of(
        SkinLook,
        tone=tone,
        lip=np.where(painted[:, None], lipstick, natural),
        lip_amount=np.where(painted, 0.95, draws.uniform("lip amount", 0.6, 0.95)),
        lip_height=draws.uniform("lip height", 0.8, 1.12),
        brow=brow,
        brow_amount=draws.uniform("brow amount", 0.45, 1.0),
        brow_width=draws.uniform("brow width", 0.045, 0.1) * (1.0 - 0.25 * feminine),
        brow_arch=draws.uniform("brow arch", 0.02, 0.13),
        brow_lift=draws.normal("brow lift", 0.025),
        iris=draw_eye_color(draws, dark),
        iris_size=draws.uniform("iris size", 0.37, 0.43),
        stubble=np.where(feminine > 0.5, 0.0, np.where(bearded, 0.8, shaved)),
        buzz=np.zeros(len(draws)),
        blush=draws.uniform("blush", 0.1, 0.7) + np.where(made_up, 0.35, 0.0),
        freckles=np.where(draws.chance("freckled", 0.14 * (1 - dark)),
                          draws.uniform("freckles", 0.3, 1.0), 0.0),
        mottle=draws.uniform("mottle", 0.3, 1.1),
        tired=draws.uniform("tired", 0.0, 0.8),
        liner=np.where(made_up, draws.uniform("liner", 0.4, 1.0), draws.uniform("lash", 0.2, 0.55)),
        shadow=draws.uniform("eyeshadow", 0.02, 0.45, size=3),
        shadow_amount=np.where(made_up, draws.uniform("eyeshadow amount", 0.0, 0.7), 0.0),
        wrinkles=draws.mixture("age", ((0.7, 0.0, 0.25), (0.3, 0.25, 1.0))),
        oil=draws.uniform("oil", 0.25, 1.0),
        dark=dark,
        offset=draws.uniform("offset", 0.0, 16.0, size=3),
    )  # fmt: skip


def beard_region(anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (m) a template point lies inside the area where beards grow.

    Positive inside: moustache, chin, jaw and the front of the ears; negative on lips, upper
    cheeks and neck.
    """
    ipd, ax = anchors["ipd"], x.abs() / anchors["ipd"]
    fy = (y - anchors["eye_y"]) / ipd
    cheek_line = polyline(ax, ((0.0, -0.9), (0.3, -0.93), (0.55, -1.1), (0.85, -0.85), (1.2, 0.0)))
    below_cheek = cheek_line - fy
    above_throat = fy - polyline(z, ((anchors["ear_z"], -1.55), (anchors["mouth_z"], -2.2)))
    lips = _outside_lips(anchors, x, y, 0.16)
    before_ear = (z - anchors["ear_z"]) / ipd - 0.28
    inside = torch.minimum(torch.minimum(below_cheek, above_throat), lips)
    return torch.minimum(inside, before_ear) * ipd


def _outside_lips(anchors: dict[str, float], x: Tensor, y: Tensor, margin: float) -> Tensor:
    ipd = anchors["ipd"]
    u = x / (anchors["corner"] * 1.02)
    v = (y - anchors["mouth_y"] + 0.03 * ipd) / (0.25 * ipd)
    return ((u * u + v * v).sqrt() - 1.0) * 0.3 - margin * 0.3


def shade_skin(
    look: Beside, anchors: dict[str, float], static: Tensor, noise: NoiseVolume
) -> tuple[Tensor, Tensor]:
    """Colours skin, lips, brows, eyes and the inside of the mouth.

    Args:
        look: `SkinLook` beside the points.
        anchors: of the anatomy.
        static: [8 P] template fields in the order of `anatomy.STATIC`.
        noise: solid noise.

    Returns:
        Linear albedo [3 P], and specular strength [P].
    """
    x, y, z, _, eye, inside, palm, _ = static
    ipd = anchors["ipd"]
    sx, fy = x / ipd, (y - anchors["eye_y"]) / ipd
    ax = sx.abs()
    face = smoothstep(anchors["ear_z"] + 0.25 * ipd, anchors["ear_z"] + 0.8 * ipd, z)
    face = face * smoothstep(-2.6, -2.2, fy)
    point = static[:3]
    broad = noise(point * 22.0 + look.offset, slice(3, 4))[0]
    fine = noise(point * 420.0 + look.offset, slice(2, 5))  # smooth3, fractal, cells
    albedo = _complexion(look, face, ax, sx, fy, broad, fine, palm)
    albedo = _wrinkles(look, albedo, face, ax, fy, broad)
    hairs = noise(point * torch.tensor([[700.0], [260.0], [500.0]]).to(point), GRAIN)[0]
    albedo = _stubble(look, albedo, anchors, x, y, z, hairs)
    albedo = _brows(look, albedo, face, ax, fy, hairs)
    albedo = _lids(look, albedo, face, ax, fy)
    albedo, gloss = _lips(look, albedo, anchors, face, x, y, fine)
    specular = look.oil * (0.35 + 0.25 * face) + gloss
    albedo, specular = _eyes(look, albedo, specular, anchors, static)
    return _mouth(albedo, specular, anchors, inside, x, y, z)


def _complexion(
    look: Beside, face: Tensor, ax: Tensor, sx: Tensor, fy: Tensor, broad: Tensor, fine: Tensor,
    palm: Tensor,
) -> Tensor:  # fmt: skip
    variation = 1.0 + look.mottle * (0.035 * broad + 0.025 * fine[1] + 0.02 * fine[0])
    albedo = look.tone * variation
    cheeks = bump(ax, 0.8, 0.32) * bump(fy, -0.62, 0.3)
    nose = bump(sx, 0.0, 0.17) * bump(fy, -0.6, 0.16)
    chin = 0.5 * bump(sx, 0.0, 0.3) * bump(fy, -1.75, 0.2)
    red = (look.blush * face * (0.9 * cheeks + 0.7 * nose + chin)).clamp(max=1.0)
    red = red + 0.12 * (broad * look.mottle).clamp(-1, 1)
    light = 0.35 + 0.65 * (1.0 - look.dark)
    albedo = albedo * torch.stack([1 + 0.1 * red, 1 - 0.2 * light * red, 1 - 0.16 * light * red])
    bags = face * bump(ax, 0.5, 0.2) * bump(fy, -0.24, 0.07) + 0.6 * face * bump(
        ax, 0.2, 0.1
    ) * bump(fy, 0.0, 0.14)
    albedo = albedo * (1.0 - 0.28 * look.tired * bags)
    spots = smoothstep(-1.35, -1.75, fine[2]) * (0.35 + smoothstep(-0.3, 0.8, broad))
    zone = 0.15 + face * bump(ax, 0.5, 0.5) * bump(fy, -0.5, 0.4)
    albedo = albedo * (1.0 - 0.42 * look.freckles * spots * zone)
    return mix(albedo, albedo * 1.35 + 0.05, palm * look.dark * 0.8)


def _wrinkles(
    look: Beside, albedo: Tensor, face: Tensor, ax: Tensor, fy: Tensor, broad: Tensor
) -> Tensor:
    fold = ax - polyline(fy, ((-1.35, 0.6), (-0.7, 0.27)))  # from the nose past the mouth
    fold = bump(fold, 0.0, 0.025) * smoothstep(-1.5, -1.2, fy) * smoothstep(-0.65, -0.8, fy)
    forehead = torch.sin((fy + 0.05 * broad) * 38.0).clamp_min(0.0).pow(6)
    forehead = forehead * bump(fy, 0.85, 0.2) * smoothstep(0.85, 0.4, ax)
    crow = torch.sin(fy * 45.0 + 2.5 * broad).clamp_min(0.0).pow(6)
    crow = crow * bump(ax, 0.98, 0.09) * bump(fy, 0.0, 0.16)
    lines = face * look.wrinkles * (0.8 * fold + 0.4 * forehead + 0.5 * crow)
    return albedo * (1.0 - 0.5 * lines.clamp(max=1.0))


def _stubble(
    look: Beside, albedo: Tensor, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor,
    hairs: Tensor,
) -> Tensor:  # fmt: skip
    where = smoothstep(-0.006, 0.012, beard_region(anchors, x, y, z))
    amount = look.stubble * where * (0.42 + 0.28 * hairs).clamp(0.0, 1.0)
    return mix(albedo, look.brow * 0.8 + 0.1 * look.tone, amount)


def _brows(
    look: Beside, albedo: Tensor, face: Tensor, ax: Tensor, fy: Tensor, hairs: Tensor
) -> Tensor:
    along = (ax - 0.18) / 0.84  # 0 at the nose, 1 at the tail
    middle = 0.27 + look.brow_lift + look.brow_arch * (1.0 - ((along - 0.66) / 0.62).square())
    half = look.brow_width * (1.0 - 0.72 * smoothstep(0.45, 1.05, along))
    off = (fy - middle).abs() / half.clamp_min(1e-3)
    inside = smoothstep(1.25, 0.6, off + 0.16 * hairs)
    inside = inside * smoothstep(-0.06, 0.12, along) * smoothstep(1.06, 0.92, along)
    return mix(albedo, look.brow, face * look.brow_amount * inside * (0.8 + 0.15 * hairs))


def _lids(look: Beside, albedo: Tensor, face: Tensor, ax: Tensor, fy: Tensor) -> Tensor:
    dx = (ax - 0.5) / 0.24
    open_edge = dx.square() + ((fy - 0.01) / 0.105).square()
    lash = smoothstep(2.0, 1.25, open_edge) * torch.where(fy > 0.0, 1.0, 0.35)
    wing = bump(fy - 0.02 - 0.22 * (ax - 0.74).clamp_min(0.0), 0.0, 0.028) * bump(ax, 0.76, 0.05)
    shadow = bump(dx, 0.1, 0.75) * smoothstep(0.0, 0.08, fy) * smoothstep(0.3, 0.12, fy)
    albedo = mix(albedo, look.shadow, face * look.shadow_amount * shadow)
    dark = (look.liner * face * torch.maximum(lash, wing)).clamp(0.0, 0.92)
    return mix(albedo, 0.35 * look.brow, dark)


def _lips(
    look: Beside, albedo: Tensor, anchors: dict[str, float], face: Tensor, x: Tensor, y: Tensor,
    fine: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    ipd = anchors["ipd"]
    u, v = (x / anchors["corner"]).abs(), (y - anchors["mouth_y"]) / ipd
    taper = (1.0 - u * u).clamp_min(0.0)
    bow = 1.0 - 0.16 * bump(u, 0.0, 0.12) + 0.1 * bump(u, 0.24, 0.12)
    upper = 0.185 * look.lip_height * taper.sqrt() * bow
    lower = 0.29 * look.lip_height * taper.pow(0.6)
    inside = smoothstep(0.02, -0.03, v - upper) * smoothstep(0.02, -0.03, -v - lower)
    amount = face * inside * (u < 1.0)
    line = bump(v, 0.0, 0.022) * (u < 1.04)
    albedo = mix(albedo, look.lip * (1.0 + 0.07 * fine[0]), amount * look.lip_amount)
    albedo = albedo * (1.0 - 0.55 * face * line)
    return albedo, 0.5 * amount


def _eyes(
    look: Beside, albedo: Tensor, specular: Tensor, anchors: dict[str, float], static: Tensor
) -> tuple[Tensor, Tensor]:
    x, y, z, _, eye = static[:5]
    dx, dy = x.abs() - anchors["eye_x"], y - anchors["eye_y"]
    dz = z - anchors["eye_z"]
    angle = torch.atan2((dx * dx + dy * dy).sqrt(), dz)
    turn = torch.atan2(dy, dx)
    r = angle / look.iris_size  # 0 at the pupil's centre, 1 at the limbus
    rays = 0.12 * torch.sin(turn * 23.0 + 4.0 * r) + 0.08 * torch.sin(turn * 41.0)
    iris = look.iris * (0.75 + 0.7 * bump(r, 0.55, 0.2) + rays)
    iris = iris * (1.0 - 0.75 * smoothstep(0.8, 1.0, r))
    iris = iris * smoothstep(0.33, 0.42, r)  # pupil
    white = torch.tensor([0.6, 0.55, 0.525]).to(albedo)[:, None].expand(3, x.shape[-1])
    veins = smoothstep(0.8, 1.9, angle)
    white = white * torch.stack([1 - 0.1 * veins, 1 - 0.4 * veins, 1 - 0.42 * veins])
    ball = mix(iris, white, smoothstep(0.95, 1.06, r))
    ball = ball * (1.0 - 0.6 * smoothstep(-0.02, 0.1, dy / anchors["ipd"]))  # the lid's shadow
    is_eye = eye > 0.5
    return torch.where(is_eye, ball, albedo), torch.where(is_eye, 2.2, specular)


def _mouth(
    albedo: Tensor, specular: Tensor, anchors: dict[str, float], inside: Tensor, x: Tensor,
    y: Tensor, z: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    ipd = anchors["ipd"]
    front = smoothstep(anchors["mouth_z"] - 0.75 * ipd, anchors["mouth_z"] - 0.3 * ipd, z)
    v = (y - anchors["mouth_y"]) / ipd
    teeth = front * smoothstep(-0.06, -0.02, v) * smoothstep(0.28, 0.2, v)
    gaps = 1.0 - 0.25 * torch.sin(x * (3.1416 / (0.13 * ipd))).abs().clamp_min(0.0).pow(12)
    flesh = torch.tensor([0.2, 0.045, 0.04]).to(albedo)[:, None]
    white = torch.tensor([0.66, 0.62, 0.54]).to(albedo)[:, None]
    cavity = mix(flesh * (0.25 + 0.75 * front), white * gaps, teeth)
    is_inside = inside > 0.5
    return torch.where(is_inside, cavity, albedo), torch.where(is_inside, 0.3, specular)
