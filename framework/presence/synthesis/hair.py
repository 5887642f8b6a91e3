"""Hair, beards and glasses: what is drawn for a subject, and where it grows on the template."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct, tensor
from presence.synthesis.draws import Array, Draws
from presence.synthesis.fields import Beside, polyline, smoothstep, struct_of
from presence.synthesis.skin import beard_region

STYLES = ("bald", "buzzed", "short", "medium", "long", "curly", "tied")


@dataclasses.dataclass(frozen=True, eq=False)
class HairLook(TensorStruct):
    """Hair on the head and face, and glasses.

    Lengths are metres on the template; hairline shifts are in interocular distances.
    """

    hair: Tensor = tensor("")
    hanging: Tensor = tensor("")
    end: Tensor = tensor("")
    opening: Tensor = tensor("")
    reach: Tensor = tensor("")
    tucked: Tensor = tensor("")
    recede: Tensor = tensor("")
    fringe: Tensor = tensor("")
    parting: Tensor = tensor("")
    base: Tensor = tensor("")
    top: Tensor = tensor("")
    side: Tensor = tensor("")
    back: Tensor = tensor("")
    drape: Tensor = tensor("")
    bun: Tensor = tensor("")
    bun_height: Tensor = tensor("")
    curl: Tensor = tensor("")
    curl_frequency: Tensor = tensor("", unit="1/m")
    ragged: Tensor = tensor("")
    fuzz: Tensor = tensor("")
    color: Tensor = tensor("3")
    tip: Tensor = tensor("3")
    contrast: Tensor = tensor("")
    shine: Tensor = tensor("")
    beard: Tensor = tensor("")
    beard_depth: Tensor = tensor("")
    moustache_only: Tensor = tensor("")
    glasses: Tensor = tensor("")
    frame: Tensor = tensor("3")
    lens: Tensor = tensor("2")
    rim: Tensor = tensor("")
    squareness: Tensor = tensor("")
    offset: Tensor = tensor("3")


def draw_hair(
    draws: Draws, color: Array, feminine: Array, anchors: dict[str, float]
) -> tuple[HairLook, Array]:
    """Draws hair, beard and glasses.

    Args:
        draws: one stream a subject.
        color: [B 3] albedo.
        feminine: [B] 0..1, how likely long hair is and a beard is not.
        anchors: of the anatomy.

    Returns:
        The look, and [B] how much a shaved head's stubble colours the scalp.
    """
    male = np.asarray((0.07, 0.12, 0.5, 0.12, 0.05, 0.1, 0.04))
    female = np.asarray((0.0, 0.02, 0.08, 0.27, 0.33, 0.16, 0.14))
    style = draws.choice("style", male + (female - male) * feminine[:, None])
    bald, buzzed, short, medium, long, curly, tied = (style == k for k in range(len(STYLES)))
    hanging = medium | long | (curly & draws.chance("curly hangs", 0.35 + 0.45 * feminine))
    chin, neck = anchors["chin_y"], anchors["neck_y"]
    end = np.select(
        [long, curly], [draws.uniform("long end", neck - 0.38, neck - 0.08),
                        draws.uniform("curly end", neck - 0.16, chin + 0.02)],
        draws.uniform("medium end", neck - 0.04, chin + 0.06),
    )  # fmt: skip
    volume = draws.uniform("volume")
    big = curly * draws.uniform("afro", 0.02, 0.085)
    bearded = draws.chance("beard", 0.24 * (1.0 - feminine)) & (feminine < 0.5)
    wavy = np.where(curly, draws.uniform("curl", 0.006, 0.016),
                    draws.uniform("wave", 0.0, 0.006) * (1.0 + hanging))  # fmt: skip
    look = struct_of(
        HairLook,
        hair=(~bald & ~buzzed).astype(float),
        hanging=hanging.astype(float),
        end=end,
        opening=np.where(draws.chance("behind", 0.25) & ~curly, draws.uniform("back", 1.3, 1.9),
                         draws.uniform("opening", 0.62, 1.0) - 0.1 * curly),
        reach=np.where(long, draws.uniform("reach", 0.125, 0.17), 0.135 + big),
        tucked=((hanging | tied) & draws.chance("tucked", np.where(tied, 0.9, 0.12))).astype(float),
        recede=draws.normal("recede", 0.1) + np.where(
            short & (feminine < 0.5) & draws.chance("receding", 0.25),
            draws.uniform("receded", 0.15, 0.5), 0.0),
        fringe=np.where(draws.chance("fringe", 0.2 + 0.15 * feminine),
                        draws.uniform("fringe drop", 0.3, 0.9), draws.uniform("no", 0.0, 0.12)),
        parting=draws.normal("parting", 0.6),
        base=np.where(tied, 0.004, 0.006) + 0.006 * volume * ~tied,
        top=np.where(tied, 0.006, 0.01 + 0.035 * volume * draws.uniform("top", 0.3, 1.0))
        + big * 0.8,
        side=np.where(hanging, 0.012 + 0.02 * volume, np.where(
            short, draws.uniform("short side", 0.001, 0.012), 0.004)) + big,
        back=np.where(hanging, 0.012 + 0.025 * volume, 0.008) + big * 0.8,
        drape=np.where(long, draws.uniform("drape", 0.012, 0.03), 0.012) + 0.25 * big,
        bun=np.where(tied & draws.chance("bun", 0.7), draws.uniform("bun size", 0.03, 0.065), 0.0),
        bun_height=draws.uniform("bun height", -0.2, 1.5),
        curl=wavy,
        curl_frequency=draws.uniform("curl frequency", 14.0, 34.0),
        ragged=np.where(curly, 0.016, draws.uniform("ragged", 0.003, 0.012)),
        fuzz=np.where(curly, draws.uniform("frizz", 0.22, 0.42), draws.uniform("fuzz", 0.08, 0.3)),
        color=color,
        tip=color * np.where(draws.chance("ombre", 0.2), draws.uniform("o", 1.3, 2.6),
                             draws.uniform("tip", 0.8, 1.35))[:, None],
        contrast=draws.uniform("contrast", 0.25, 0.75),
        shine=np.where(curly, 0.25, draws.uniform("shine", 0.2, 1.0)),
        beard=bearded.astype(float),
        beard_depth=draws.mixture("beard depth", ((0.7, 0.003, 0.01), (0.3, 0.01, 0.028))),
        moustache_only=(bearded & draws.chance("moustache", 0.15)).astype(float),
        glasses=draws.chance("glasses", 0.2).astype(float),
        frame=np.where(draws.chance("dark frame", 0.65)[:, None], 0.02,
                       draws.uniform("frame", 0.02, 0.5, size=3)),
        lens=np.stack([draws.uniform("lens width", 0.36, 0.46),
                       draws.uniform("lens height", 0.26, 0.42)], -1),
        rim=draws.uniform("rim", 0.018, 0.05),
        squareness=draws.uniform("squareness", 2.0, 5.0),
        offset=draws.uniform("offset", 0.0, 16.0, size=3),
    )  # fmt: skip
    shaved = np.where(buzzed, draws.uniform("shaved", 0.45, 1.0), 0.0)
    return look, np.where(bald, draws.uniform("shadow", 0.0, 0.15), shaved)


def hair_field(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (about metres) template points lie inside the hair."""
    ipd = anchors["ipd"]
    fy, fz = (y - anchors["eye_y"]) / ipd, (z - anchors["ear_z"]) / ipd
    front = _hairline(look, x / ipd, fy, fz)
    low = fy - polyline(
        fz, ((-1.0, -1.25), (-0.55, -0.9), (-0.3, 0.32), (0.25, 0.36), (0.45, -0.3))
    )
    short = torch.minimum(front, low) * ipd
    turn = torch.atan2(x.abs(), z - anchors["neck_z"])
    curtain = (turn - look.opening) * 0.08
    above = smoothstep(anchors["mouth_y"], anchors["ear_y"], y) * 0.2  # the hairline rules there
    reach = look.reach - (x.square() + (z - anchors["neck_z"]).square()).sqrt()
    reach = torch.where(y > anchors["chin_y"], 1.0, reach)
    long = torch.minimum(torch.minimum(front * ipd, curtain + above), y - look.end)
    long = torch.minimum(long, reach)
    field = torch.where(look.hanging > 0.5, long, short)
    ear = ((z - anchors["ear_z"]).square() + (y - anchors["ear_y"]).square()).sqrt() - 0.58 * ipd
    ear = torch.where(x.abs() > 0.75 * anchors["ear_x"], ear, 1.0)
    field = torch.where(look.tucked > 0.5, torch.minimum(field, ear), field)
    return torch.where(look.hair > 0.5, field, -1.0)


def _hairline(look: Beside, sx: Tensor, fy: Tensor, fz: Tensor) -> Tensor:
    """Returns the distance (interocular) behind the line from forehead to sideburn."""
    sweep = smoothstep(1.3, -0.3, (sx - look.parting).abs()) * 0.5 + 0.5
    centre = smoothstep(1.05, 0.75, sx.abs())
    raised = fy + look.fringe * sweep * centre - look.recede * smoothstep(0.1, 0.9, fy)
    line = polyline(
        raised,
        ((-0.2, 0.42), (0.3, 0.5), (0.55, 0.72), (0.85, 1.05), (1.1, 1.4), (1.28, 1.8), (1.5, 2.8)),
    )
    return (line - fz) * 0.75


def shaved_scalp(anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns where [P] short stubble shows on a shaved head, 0..1."""
    ipd = anchors["ipd"]
    fy, fz = (y - anchors["eye_y"]) / ipd, (z - anchors["ear_z"]) / ipd
    line = polyline(
        fy, ((0.3, 0.5), (0.55, 0.72), (0.85, 1.05), (1.1, 1.4), (1.28, 1.8), (1.5, 2.8))
    )
    low = fy - polyline(
        fz, ((-1.0, -1.25), (-0.55, -0.9), (-0.3, 0.32), (0.25, 0.36), (0.45, -0.3))
    )
    return smoothstep(-0.15, 0.4, torch.minimum((line - fz) * 0.75, low))


def beard_field(look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Returns how far (m) template points lie inside a beard that stands off the skin."""
    field = beard_region(anchors, x, y, z) - 0.004
    above_lip = (y - anchors["mouth_y"]) - 0.05 * anchors["ipd"]
    above_lip = torch.minimum(above_lip, 0.62 * anchors["ipd"] - x.abs())
    field = torch.where(look.moustache_only > 0.5, torch.minimum(field, above_lip), field)
    return torch.where(look.beard > 0.5, field, -1.0)


def glasses_field(
    look: Beside, anchors: dict[str, float], x: Tensor, y: Tensor, z: Tensor
) -> Tensor:
    """Returns how far (m) template points lie inside the frame of the glasses."""
    ipd = anchors["ipd"]
    ax, fy = x.abs() / ipd, (y - anchors["eye_y"]) / ipd
    u, v = (ax - 0.52).abs() / look.lens[0], (fy + 0.06).abs() / look.lens[1]
    power = look.squareness
    radius = (u.clamp_min(1e-4).pow(power) + v.clamp_min(1e-4).pow(power)).pow(1.0 / power)
    rim = look.rim - (radius - 1.0).abs() * look.lens.mean(0)
    bridge = torch.minimum(look.rim - (fy - 0.03).abs(), 0.52 - look.lens[0] - ax)
    front = torch.where(z > anchors["eye_z"] - 0.3 * ipd, torch.maximum(rim, bridge), -1.0)
    temple = look.rim - (fy - 0.03).abs()
    temple = torch.minimum(temple, (z - anchors["ear_z"]) / ipd)
    temple = torch.where(ax > 0.85, temple, -1.0)
    field = torch.maximum(front, temple) * ipd
    return torch.where(look.glasses > 0.5, field, -1.0)
