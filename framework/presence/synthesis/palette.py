"""Distributions of colour: skin, hair, eyes and cloth, as linear light."""

from __future__ import annotations

import colorsys

import numpy as np

from presence.synthesis.draws import Array, Draws, Mask
from presence.synthesis.fields import linear_from_srgb

# sRGB 0..255, from light to dark; people are drawn along the curve, then vary around it.
_SKIN = ((244, 208, 190), (234, 190, 166), (220, 170, 141), (196, 142, 110), (158, 106, 77),
         (116, 74, 53), (78, 49, 37), (54, 35, 28))  # fmt: skip
_HAIR = (
    (24, 20, 18),
    (42, 31, 25),
    (70, 48, 34),
    (104, 72, 46),
    (150, 110, 68),
    (196, 158, 104),
    (222, 198, 150),
    (128, 62, 34),
    (160, 84, 44),
    (150, 148, 146),
    (212, 210, 206),
)
_HAIR_WEIGHTS = (0.24, 0.18, 0.16, 0.11, 0.08, 0.06, 0.04, 0.03, 0.02, 0.04, 0.04)  # fmt: skip
_EYES = ((60, 36, 20), (92, 58, 30), (128, 92, 46), (104, 112, 66), (92, 124, 142), (124, 142, 152))
_NEUTRALS = ((18, 18, 20), (40, 40, 44), (84, 84, 88), (150, 150, 152), (226, 226, 224),
             (245, 244, 240), (28, 36, 62), (44, 60, 100), (210, 196, 168), (150, 126, 96),
             (92, 70, 52), (72, 78, 56), (110, 30, 38))  # fmt: skip
_DENIM = ((34, 44, 66), (52, 72, 108), (88, 116, 156), (134, 162, 192), (40, 40, 46), (24, 26, 34))


def _pick(table: tuple, index: np.ndarray) -> Array:
    return np.asarray(table, dtype=np.float64)[index] / 255.0


def _tint(color: Array, draws: Draws, name: str, amount: float) -> Array:
    return np.clip(color * np.exp(draws.normal(name, amount, size=3)), 0.004, 0.97)


def draw_skin_tone(draws: Draws) -> tuple[Array, Array]:
    """Returns skin albedo [B 3] and its darkness [B] in 0..1."""
    dark = draws.mixture("melanin", ((0.45, 0.05, 0.4), (0.3, 0.3, 0.65), (0.25, 0.6, 0.97)))
    knots = np.linspace(0.0, 1.0, len(_SKIN))
    table = linear_from_srgb(np.asarray(_SKIN) / 255.0)
    tone = np.stack([np.interp(dark, knots, table[:, k]) for k in range(3)], -1)
    warmth = draws.normal("undertone", 0.05)
    tone = tone * np.exp(np.stack([warmth, np.zeros_like(warmth), -1.5 * warmth], -1))
    return _tint(tone, draws, "tone", 0.04), dark


def draw_hair_color(draws: Draws, dark_skin: Array) -> Array:
    """Returns hair albedo [B 3]; fair hair is rarer on dark skin, dyed hair rare on all."""
    weights = np.tile(np.asarray(_HAIR_WEIGHTS), (len(draws), 1))
    weights[:, 3:9] *= np.clip(1.25 - 1.25 * dark_skin, 0.05, 1.0)[:, None]
    color = linear_from_srgb(_pick(_HAIR, draws.choice("hair", weights)))
    dyed = linear_from_srgb(saturated(draws, "dye", (0.4, 0.9), (0.3, 0.9)))
    color = np.where(draws.chance("dyed", 0.03)[:, None], dyed, color)
    shade = np.exp(draws.normal("hair shade", 0.2))[:, None]
    return _tint(np.clip(color * shade, 0.0, 0.9), draws, "hair tint", 0.045)


def draw_eye_color(draws: Draws, dark_skin: Array) -> Array:
    """Returns iris albedo [B 3]; light eyes are rare on dark skin."""
    weights = np.tile(np.asarray((0.3, 0.24, 0.14, 0.1, 0.13, 0.09)), (len(draws), 1))
    weights[:, 2:] *= np.clip(1.4 - 1.8 * dark_skin, 0.05, 1.0)[:, None]
    return _tint(linear_from_srgb(_pick(_EYES, draws.choice("iris", weights))), draws, "tint", 0.15)


def saturated(
    draws: Draws, name: str, saturation: tuple[float, float], value: tuple[float, float]
) -> Array:
    """Returns sRGB colours [B 3] of any hue within ranges of saturation and value."""
    hue = draws.uniform(f"{name} hue")
    sat = draws.uniform(f"{name} saturation", *saturation)
    val = draws.uniform(f"{name} value", *value)
    return np.asarray([colorsys.hsv_to_rgb(*hsv) for hsv in zip(hue, sat, val)]).reshape(-1, 3)


def draw_cloth_color(draws: Draws, name: str, denim: Mask | None = None) -> Array:
    """Returns cloth albedo [B 3]: neutrals, pastels, strong colours, or denim where [B] is true."""
    kind = draws.choice(f"{name} kind", (0.42, 0.2, 0.38))
    neutral = _pick(_NEUTRALS, draws.choice(f"{name} neutral", np.ones(len(_NEUTRALS))))
    pastel = saturated(draws, f"{name} pastel", (0.1, 0.42), (0.62, 0.97))
    strong = saturated(draws, f"{name} strong", (0.45, 0.98), (0.22, 0.95))
    color = np.select([(kind == 0)[:, None], (kind == 1)[:, None]], [neutral, pastel], strong)
    if denim is not None:
        blue = _pick(_DENIM, draws.choice(f"{name} denim", np.ones(len(_DENIM))))
        color = np.where(denim[:, None], blue, color)
    return _tint(linear_from_srgb(color), draws, f"{name} tint", 0.12)
