"""What garments are made of: colours and patterns drawn for each of an outfit's four fabrics."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor

from presence.structures import TensorStruct, tensor
from presence.synthesis.draws import Array, Draws
from presence.synthesis.fields import struct_of
from presence.synthesis.palette import draw_cloth_color

SLOTS = 4  # top, legs, outer, shoes
DECALS = 4
PATTERNS = (
    "plain", "stripes", "plaid", "dots", "blotches", "flowers", "letters", "gradient", "blocks",
    "zigzag",
)  # fmt: skip
_PATTERN_WEIGHTS = (0.4, 0.12, 0.1, 0.06, 0.06, 0.06, 0.05, 0.05, 0.06, 0.04)


@dataclasses.dataclass(frozen=True, eq=False)
class FabricLook(TensorStruct):
    """Fabrics of a subject; `s` runs over top, legs, outer and shoes."""

    ground: Tensor = tensor("s 3")
    second: Tensor = tensor("s 3")
    third: Tensor = tensor("s 3")
    pattern: Tensor = tensor("s")
    frequency: Tensor = tensor("s", unit="1/m")
    turn: Tensor = tensor("s", unit="rad")
    duty: Tensor = tensor("s")
    weave: Tensor = tensor("s")
    weave_frequency: Tensor = tensor("s", unit="1/m")
    wear: Tensor = tensor("s")
    crease: Tensor = tensor("s")
    gloss: Tensor = tensor("s")
    trim: Tensor = tensor("s")
    trim_width: Tensor = tensor("s", unit="m")
    offset: Tensor = tensor("s 3")


@dataclasses.dataclass(frozen=True, eq=False)
class DecalLook(TensorStruct):
    """Prints, patches, pockets and marks; `d` runs over the places of a subject.

    `place` is 0 none, 1 chest, 2 back, 3 upper arm; `slot` the fabric it sits on.
    """

    place: Tensor = tensor("d")
    center: Tensor = tensor("d 2", unit="m")
    size: Tensor = tensor("d 2", unit="m")
    shape: Tensor = tensor("d")
    content: Tensor = tensor("d")
    points: Tensor = tensor("d")
    turn: Tensor = tensor("d", unit="rad")
    ground: Tensor = tensor("d 3")
    ink: Tensor = tensor("d 3")
    third: Tensor = tensor("d 3")
    filled: Tensor = tensor("d")
    seed: Tensor = tensor("d")


def draw_fabrics(draws: Draws) -> FabricLook:
    """Draws the fabrics of each subject's outfit."""
    rows = [_fabric(draws.scoped(f"slot{slot}"), slot) for slot in range(SLOTS)]
    return struct_of(
        FabricLook, **{name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
    )


def _fabric(draws: Draws, slot: int) -> dict[str, Array]:
    count = len(draws)
    jeans = draws.chance("jeans", (0.05, 0.42, 0.12, 0.0)[slot])
    weights = np.tile(np.asarray(_PATTERN_WEIGHTS), (count, 1))
    plain = np.asarray([0.0, 0.9, 0.6, 1.4][slot])
    weights[:, 0] += plain + 20.0 * jeans
    pattern = draws.choice("pattern", weights)
    coarse = draws.mixture("scale", ((0.35, 7.0, 16.0), (0.4, 16.0, 40.0), (0.25, 40.0, 110.0)))
    upright = draws.choice("direction", (0.45, 0.35, 0.2))
    turn = np.select([upright == 0, upright == 1], [0.0, np.pi / 2], draws.uniform("turn", 0, 3.14))
    ground = draw_cloth_color(draws, "ground", jeans)
    other = draw_cloth_color(draws, "second")
    tone = ground * draws.uniform("tone on tone", 0.35, 1.8)[:, None]
    same = draws.chance("related", 0.35)[:, None]
    return dict(
        ground=ground,
        second=np.clip(np.where(same, tone, other), 0.004, 0.95),
        third=draw_cloth_color(draws, "third"),
        pattern=pattern.astype(float),
        frequency=coarse,
        turn=turn,
        duty=draws.uniform("duty", 0.2, 0.7),
        weave=np.where(jeans, 0.16, draws.mixture("weave", ((0.6, 0.02, 0.08), (0.4, 0.08, 0.25)))),
        weave_frequency=draws.mixture("thread", ((0.6, 500, 900), (0.4, 160, 420))),
        wear=draws.uniform("wear", 0.0, 0.12) + 0.2 * jeans,
        crease=draws.uniform("crease", 0.15, 1.0),
        gloss=draws.mixture("gloss", ((0.75, 0.0, 0.15), (0.25, 0.15, 1.0))),
        trim=draws.choice("trim", (0.5, 0.25, 0.25)).astype(float),
        trim_width=draws.uniform("trim width", 0.008, 0.03),
        offset=draws.uniform("offset", 0.0, 16.0, size=3),
    )


def draw_decals(draws: Draws, anchors: dict[str, float], fabrics: FabricLook) -> DecalLook:
    """Draws prints and patches; many outfits have none, some several."""
    rows = []
    lively = draws.uniform("lively")
    for number in range(DECALS):
        own = draws.scoped(f"decal{number}")
        present = lively < (0.42, 0.2, 0.12, 0.12)[number]
        place = own.choice("place", ((0.9, 0.1, 0.0), (0.7, 0.1, 0.2), (0.3, 0.4, 0.3),
                                     (0.2, 0.1, 0.7))[number]) + 1  # fmt: skip
        big = own.chance("big", 0.55 if number == 0 else 0.15)
        width = np.where(big, own.uniform("width", 0.1, 0.24), own.uniform("small", 0.03, 0.1))
        middle = np.where(big, 0.0, own.uniform("left right", -0.13, 0.13))
        chest = anchors["spine3_y"] + own.uniform("height", -0.1, 0.07) - np.where(big, 0.04, 0.0)
        shoulder = anchors["shoulder_x"] + own.uniform("along arm", 0.06, 0.17)
        on_arm = place == 3
        width = np.where(on_arm, np.minimum(width, 0.085), width)
        rows.append(dict(
            place=np.where(present, place, 0).astype(float),
            center=np.stack(
                [np.where(on_arm, 0.03, middle), np.where(on_arm, shoulder, chest)], -1
            ),
            size=np.stack([width, width * own.uniform("aspect", 0.35, 1.25)], -1),
            shape=own.choice("shape", (0.3, 0.3, 0.2, 0.2)).astype(float),
            content=own.choice("content", (0.35, 0.2, 0.2, 0.25)).astype(float),
            points=np.floor(own.uniform("points", 3.0, 9.0)),
            turn=own.normal("turn", 0.06),
            ground=draw_cloth_color(own, "ground"),
            ink=draw_cloth_color(own, "ink"),
            third=draw_cloth_color(own, "third"),
            filled=own.chance("filled", 0.6).astype(float),
            seed=np.floor(own.uniform("seed", 0.0, 997.0)),
        ))  # fmt: skip
    return struct_of(
        DecalLook, **{name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
    )
