"""Garments as cuts and fits: where cloth is on the template, and how far it stands off."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct, tensor
from presence.synthesis.draws import Array, Draws, Mask
from presence.synthesis.fields import Beside, smoothstep, struct_of

BARE = 9.0  # metres: a cut so far away that nothing remains or nothing is cut


@dataclasses.dataclass(frozen=True, eq=False)
class GarmentLook(TensorStruct):
    """An outfit: a top, something for the legs, shoes, perhaps something over it.

    Lengths are metres on the template; sleeves count 1 to the elbow and 2 to the wrist;
    heights count metres above the neck joint for the top, template y for hems.
    """

    sleeve: Tensor = tensor("")
    neck: Tensor = tensor("")
    neck_width: Tensor = tensor("")
    scoop: Tensor = tensor("")
    vee: Tensor = tensor("")
    hem: Tensor = tensor("")
    waist: Tensor = tensor("")
    leg: Tensor = tensor("")
    shoe: Tensor = tensor("")
    one_piece: Tensor = tensor("")
    fit: Tensor = tensor("")
    sleeve_fit: Tensor = tensor("")
    leg_fit: Tensor = tensor("")
    folds: Tensor = tensor("")
    drape: Tensor = tensor("")
    collar: Tensor = tensor("")
    skirt: Tensor = tensor("")
    flare: Tensor = tensor("")
    outer: Tensor = tensor("")
    outer_sleeve: Tensor = tensor("")
    outer_hem: Tensor = tensor("")
    outer_neck: Tensor = tensor("")
    outer_fit: Tensor = tensor("")
    outer_open: Tensor = tensor("")
    outer_open_low: Tensor = tensor("")
    outer_collar: Tensor = tensor("")
    hood: Tensor = tensor("")
    placket: Tensor = tensor("")
    offset: Tensor = tensor("3")


def draw_garments(draws: Draws, anchors: dict[str, float], feminine: Array) -> GarmentLook:
    """Draws an outfit for each subject.

    Args:
        draws: one stream a subject.
        anchors: of the anatomy.
        feminine: [B] 0..1, how likely skirts, dresses and deep necklines are.
    """
    suit = draws.chance("suit", 0.06)  # overalls, space suits, ski suits
    dress = draws.chance("dress", 0.26 * feminine) & ~suit
    skirt = (draws.chance("skirt", 0.3 * feminine) | (dress & draws.chance("wide", 0.85))) & ~suit
    outer = draws.chance("outer", 0.3) & ~suit
    loose = draws.mixture("loose", ((0.35, 0.0, 0.15), (0.45, 0.15, 0.55), (0.2, 0.55, 1.0)))
    bulky = np.where(suit, draws.uniform("bulk", 0.5, 1.6), loose)
    knee, ankle, hip = anchors["knee_y"], anchors["ankle_y"], anchors["hip_y"]
    waist = draws.uniform("waist", hip + 0.04, hip + 0.2)
    tucked = draws.chance("tucked", 0.3)
    crop = draws.chance("crop", 0.1 * feminine)
    hem = np.where(tucked, waist - 0.02, waist - draws.uniform("hem", 0.0, 0.17))
    hem = np.where(crop, waist + draws.uniform("crop hem", 0.0, 0.09), hem)
    long = draws.uniform("trouser", ankle - 0.015, ankle + 0.06)
    shorts = draws.uniform("shorts", knee - 0.1, hip - 0.16)
    leg = np.where(draws.chance("short legs", 0.22), shorts, long)
    leg = np.where(skirt, draws.uniform("skirt length", knee - 0.25, hip - 0.2), leg)
    return struct_of(
        GarmentLook,
        **_necklines(draws.scoped("neck"), suit, feminine),
        **_outer(draws.scoped("outer"), outer, anchors, loose),
        sleeve=np.where(suit, 1.98, draws.mixture(
            "sleeve", ((0.1, 0.02, 0.12), (0.36, 0.4, 0.85), (0.1, 0.85, 1.6), (0.44, 1.75, 2.05))
        )),
        hem=np.where(dress | suit, -BARE, hem),
        waist=waist,
        leg=np.where(suit, ankle, leg),
        shoe=np.where(draws.chance("barefoot", 0.08), -BARE,
                      ankle + draws.mixture("shoe", ((0.7, -0.02, 0.03), (0.3, 0.05, 0.3)))),
        one_piece=(dress | suit).astype(float),
        fit=0.005 + 0.02 * bulky,
        sleeve_fit=0.004 + 0.026 * bulky * draws.uniform("sleeve fit", 0.5, 1.3),
        leg_fit=0.004 + 0.022 * np.where(suit, bulky, draws.uniform("leg fit") ** 1.5),
        folds=0.0015 + 0.007 * bulky * draws.uniform("folds", 0.5, 1.2),
        drape=np.clip(draws.uniform("drape", -0.3, 0.7) + 0.6 * bulky, 0.0, 1.1),
        skirt=skirt.astype(float),
        flare=draws.uniform("flare", 0.02, 0.5),
        placket=draws.choice("placket", (0.6, 0.25, 0.15)).astype(float),
        offset=draws.uniform("offset", 0.0, 16.0, size=3),
    )  # fmt: skip


def _necklines(draws: Draws, suit: Mask, feminine: Array) -> dict[str, Array]:
    kind = draws.choice("kind", (0.4, 0.14, 0.16, 0.2, 0.1))  # crew, vee, scoop, collar, turtle
    kind = np.where(suit, 3, kind)
    deep = 1.0 + 0.6 * feminine
    neck = np.select(
        [kind == 3, kind == 4],
        [draws.uniform("stand", 0.0, 0.035), draws.uniform("turtle", 0.03, 0.06)],
        draws.uniform("crew", -0.03, 0.005),
    )
    opened = np.where(draws.chance("opened", 0.6), draws.uniform("collar vee", 0.03, 0.11), 0.0)
    vee = np.select([kind == 1, (kind == 3) & ~suit],
                    [draws.uniform("depth", 0.05, 0.12) * deep, opened], 0.0)  # fmt: skip
    return dict(
        neck=neck,
        neck_width=draws.uniform("width", 0.3, 0.75),
        scoop=np.where(kind == 2, draws.uniform("scoop", 0.03, 0.08) * deep, 0.0),
        vee=vee,
        collar=np.where(suit, draws.uniform("ring", 0.01, 0.05),
                        np.where(kind == 3, draws.uniform("flared", 0.004, 0.014), 0.0)),
    )  # fmt: skip


def _outer(draws: Draws, worn: Mask, anchors: dict[str, float], loose: Array) -> dict[str, Array]:
    hip, knee = anchors["hip_y"], anchors["knee_y"]
    coat = draws.chance("coat", 0.2)
    closed = draws.chance("closed", 0.3)
    hem = np.where(coat, draws.uniform("coat hem", knee - 0.05, hip - 0.1),
                   draws.uniform("hem", hip - 0.08, hip + 0.1))  # fmt: skip
    vest = draws.chance("vest", 0.12)
    gap = draws.uniform("gap", 0.01, 0.1)
    return dict(
        outer=worn.astype(float),
        outer_sleeve=np.where(vest, draws.uniform("armhole", 0.02, 0.1),
                              draws.uniform("sleeve", 1.5, 2.05)),
        outer_hem=hem,
        outer_neck=draws.uniform("neck", -0.02, 0.035),
        outer_fit=0.012 + 0.02 * loose * draws.uniform("fit", 0.4, 1.2),
        outer_open=np.where(closed, -0.05, gap),
        outer_open_low=np.where(closed, -0.05, gap * draws.uniform("low", 0.3, 1.6)),
        outer_collar=draws.uniform("collar", 0.0, 0.025),
        hood=np.where(draws.chance("hood", 0.25), draws.uniform("hood depth", 0.03, 0.07), 0.0),
    )  # fmt: skip


def arm_length(anchors: dict[str, float], x: Tensor) -> Tensor:
    """Returns the position along the arm: 0 at the shoulder, 1 at the elbow, 2 at the wrist."""
    reach = x.abs()
    shoulder, elbow, wrist = (anchors[f"{j}_x"] for j in ("shoulder", "elbow", "wrist"))
    upper = (reach - shoulder) / (elbow - shoulder)
    return torch.where(upper < 1.0, upper, 1.0 + (reach - elbow) / (wrist - elbow))


def inner_field(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (about metres) points lie inside the inner layer: top, legs and shoes."""
    scale = anchors["elbow_x"] - anchors["shoulder_x"]
    sleeve = (look.sleeve - arm_length(anchors, x)) * scale
    top = torch.minimum(sleeve, y - look.hem)
    top = torch.minimum(top, _neck_field(look.neck, look, anchors, x, y, z))
    legs = torch.minimum(look.waist - y, y - look.leg)
    return torch.maximum(torch.maximum(top, legs), look.shoe - y)


def _neck_field(
    neck: Tensor, look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor
) -> Tensor:
    level = anchors["neck_y"] - 0.02
    tilt = 0.45 * (z - anchors["neck_z"])  # a collar stands higher at the back
    half = 0.068 + 0.05 * look.neck_width
    # The hole is round: nothing farther from the neck's axis is cut, however high it is.
    around = _beside_neck(anchors, x, y, z, half)
    crew = torch.maximum(neck - (y + tilt - level), around)
    front = z > anchors["neck_z"]
    # A vee's edges rise from its point towards the sides of the neck.
    above = y - (level - look.vee)
    width = 0.07 * look.neck_width + 0.02
    edge = (x.abs() * look.vee - above * width) / (look.vee.square() + width * width).sqrt()
    vee = torch.where(front & (look.vee > 0), torch.maximum(edge, -above), BARE)
    drop = torch.where(front, look.scoop, 0.35 * look.scoop).clamp_min(1e-3)
    wide = half + 0.012
    low = ((x / wide).square() + ((y + tilt - level).clamp(max=0.0) / drop).square()).sqrt()
    scoop = torch.where(look.scoop > 0, (low - 1.0) * drop, BARE)
    return torch.minimum(torch.minimum(crew, vee), scoop)


def _beside_neck(
    anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor, radius: Tensor | float
) -> Tensor:
    """Returns how far shoulders are from a hole around the neck; the head does not count."""
    around = (x.square() + (z - anchors["neck_z"]).square()).sqrt() - radius
    return torch.where(y > anchors["neck_y"], -BARE, around)


def outer_field(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (about metres) points lie inside the jacket, coat or vest."""
    scale = anchors["elbow_x"] - anchors["shoulder_x"]
    sleeve = (look.outer_sleeve - arm_length(anchors, x)) * scale
    tilt = 0.45 * (z - anchors["neck_z"])
    around = _beside_neck(anchors, x, y, z, 0.085)
    neck = torch.maximum(look.outer_neck + 0.02 - (y + tilt - anchors["neck_y"]), around)
    top, low = anchors["neck_y"] - 0.03, anchors["hip_y"]
    down = ((top - y) / (top - low)).clamp(0.0, 1.5)
    gap = look.outer_open + (look.outer_open_low - look.outer_open) * down
    opening = torch.where(z > 0.3 * anchors["neck_z"], x.abs() - gap, BARE)
    field = torch.minimum(torch.minimum(sleeve, neck), torch.minimum(opening, y - look.outer_hem))
    return torch.where(look.outer > 0.5, field, -BARE)


def garment_slot(look: Beside, y: Tensor, layer: Tensor) -> Tensor:
    """Returns which fabric [P] a cloth point is of: 0 top, 1 legs, 2 outer, 3 shoes."""
    legs = (y < torch.minimum(look.waist, look.hem)) & (look.one_piece < 0.5)
    slot = torch.where(legs, 1, 0)
    slot = torch.where(y < look.shoe, 3, slot)
    return torch.where(layer == 2, 2, slot)


def fit_offsets(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (m) the inner layer stands off the smoothed body."""
    arm = smoothstep(-0.1, 0.35, arm_length(anchors, x))
    legs = smoothstep(anchors["hip_y"] + 0.03, anchors["hip_y"] - 0.1, y)
    body = look.fit * (1.0 + 0.8 * smoothstep(anchors["spine3_y"] + 0.05, anchors["spine1_y"], y))
    stand = torch.where(arm > 0, body + (look.sleeve_fit - body) * arm, body)
    stand = stand + (look.leg_fit - stand) * legs
    collar = smoothstep(anchors["neck_y"] - 0.05, anchors["neck_y"] + 0.03, y)
    stand = stand + look.collar * collar * (arm < 0.05)
    shoe = smoothstep(look.shoe + 0.01, look.shoe - 0.01, y)
    return stand + (0.008 - stand) * shoe


def outer_offsets(
    look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor
) -> Tensor:
    """Returns how far (m) the outer layer stands off the inner one."""
    collar = smoothstep(anchors["neck_y"] - 0.06, anchors["neck_y"] + 0.02, y)
    back = smoothstep(anchors["neck_z"], anchors["neck_z"] - 0.08, z)
    near = smoothstep(0.12, 0.05, x.abs()) * smoothstep(0.16, 0.04, (y - anchors["neck_y"]).abs())
    low = smoothstep(anchors["spine1_y"], anchors["hip_y"] - 0.1, y)
    return look.outer_fit * (1.0 + 0.6 * low) + look.outer_collar * collar + look.hood * back * near
