"""Light: a soft sky in spherical harmonics, one lamp with a shadow map, and a camera's exposure."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.interfaces import MeshRasterizer
from presence.structures import TensorStruct, tensor
from presence.synthesis.anatomy import light_screen
from presence.synthesis.draws import Array, Draws
from presence.synthesis.fields import Beside, dot, smoothstep, struct_of, unit

SHADOW_SIZE = 320
_BIAS, _SOFTNESS = 0.012, 0.03  # metres along the light

# Real spherical harmonics times the cosine lobe's A_l / pi (Ramamoorthi & Hanrahan 2001), so
# that a coefficient of the constant term is radiosity over pi.
_BAND = np.array([1.0] + [2.0 / 3.0] * 3 + [0.25] * 5)


@dataclasses.dataclass(frozen=True, eq=False)
class LightLook(TensorStruct):
    """Light on a subject, the same in all views, and how the camera records it.

    Attributes:
        sky: [9 3] spherical-harmonic coefficients of the incoming light, bands folded in.
        toward: [3] unit direction to the lamp.
        lamp: [3] its colour.
        wrap: how far its light reaches around.
        gain: [3] exposure times white balance.
        contrast: strength of the camera's tone curve, 0..1.
    """

    sky: Tensor = tensor("9 3")
    toward: Tensor = tensor("3")
    lamp: Tensor = tensor("3")
    wrap: Tensor = tensor("")
    gain: Tensor = tensor("3")
    contrast: Tensor = tensor("")


def draw_light(draws: Draws, facing: Array) -> LightLook:
    """Draws the light of each scene.

    Args:
        draws: one stream a subject.
        facing: [B] yaw (rad) of the reference camera; lamps stand mostly on its side.
    """
    turn = facing + np.radians(draws.mixture("azimuth", ((0.8, -80, 80), (0.2, -180, 180))))
    up = np.radians(draws.uniform("elevation", 8.0, 72.0))
    toward = np.stack([np.sin(turn) * np.cos(up), np.sin(up), np.cos(turn) * np.cos(up)], -1)
    share = draws.mixture("lamp share", ((0.3, 0.0, 0.25), (0.45, 0.25, 0.6), (0.25, 0.6, 0.82)))
    warm = draws.normal("lamp warmth", 0.12)
    lamp = np.exp(np.stack([warm, 0.2 * warm, -1.1 * warm], -1)) * share[:, None] * 1.9
    sky = np.zeros((len(draws), 9, 3))
    tint = np.exp(draws.normal("sky tint", 0.07, size=3))
    sky[:, 0] = 0.95 * tint
    vertical = draws.uniform("sky vertical", 0.05, 0.75)
    sky[:, 1] = vertical[:, None] * np.exp(draws.normal("vertical tint", 0.1, size=3)) * tint
    front = draws.normal("sky front", 0.25) + 0.15
    side = draws.normal("sky side", 0.3)
    # World axes of the camera's sideways and forward directions.
    x = side * np.cos(facing) + front * np.sin(facing)
    z = front * np.cos(facing) - side * np.sin(facing)
    sky[:, 2] = z[:, None] * np.exp(draws.normal("z tint", 0.15, size=3))
    sky[:, 3] = x[:, None] * np.exp(draws.normal("x tint", 0.15, size=3))
    sky[:, 4:] = draws.normal("sky detail", 0.12, size=5)[:, :, None]
    sky = sky * (1.0 - share)[:, None, None] * _BAND[:, None]
    balance = np.exp(draws.normal("white balance", 0.045, size=3))
    return struct_of(
        LightLook,
        sky=sky,
        toward=toward,
        lamp=lamp,
        wrap=draws.uniform("wrap", 0.05, 0.4),
        gain=balance * np.exp(draws.normal("exposure", 0.22))[:, None] * 1.12,
        contrast=draws.uniform("contrast", 0.0, 1.0),
    )


def harmonics(normals: Tensor) -> Tensor:
    """Returns the nine real harmonics [... 9] up to second order of unit vectors [... 3].

    Ordered constant, y, z, x, xy, yz, 3z2-1, xz, x2-y2, each scaled to be 1 at its largest
    (the constant term is 1), which is how `LightLook.sky` counts.
    """
    x, y, z = normals.unbind(-1)
    return torch.stack(
        [torch.ones_like(x), y, z, x, 2 * x * y, 2 * y * z, 1.5 * z * z - 0.5, 2 * x * z,
         x * x - y * y], -1,
    )  # fmt: skip


def sky_light(light: LightLook, normals: Tensor) -> Tensor:
    """Returns diffuse sky light [B N 3] on surfaces with normals [B N 3]."""
    return (harmonics(normals) @ light.sky).clamp_min(0.02)


class ShadowMaps:
    """Depth pictures from the lamp, and soft look-ups in them.

    Args:
        rasterizer: of triangles.
        vertices: [B V 3] everything that casts a shadow, metres; faces with a non-finite
            corner cast none.
        faces: [F 3].
        toward: [B 3] unit direction to the lamp.
        extent: [B N 3] points that the maps must hold.
    """

    def __init__(
        self, rasterizer: MeshRasterizer, vertices: Tensor, faces: Tensor, toward: Tensor,
        extent: Tensor,
    ) -> None:  # fmt: skip
        screen = light_screen(vertices, toward, extent, SHADOW_SIZE)
        self._depth = rasterizer(
            screen, faces, SHADOW_SIZE, SHADOW_SIZE, orthographic=True, cull_backfaces=False
        ).depth
        self._axes = _projection(toward, extent)

    def lit(self, points: Tensor, normals: Tensor, index: Tensor) -> Tensor:
        """Returns how much [P] of the lamp's light arrives, 0..1.

        Args:
            points: [3 P] world, metres.
            normals: [3 P] unit; the look-up moves along them to avoid self-shadowing.
            index: [P] which map.
        """
        axes = self._axes.flatten(1).t().contiguous().index_select(1, index)  # [12 P]
        p = points + 0.01 * normals
        x, y, depth = (
            axes[4 * k] * p[0] + axes[4 * k + 1] * p[1] + axes[4 * k + 2] * p[2] + axes[4 * k + 3]
            for k in range(3)
        )
        total = torch.zeros_like(x)
        flat = self._depth.flatten()
        # Five taps in a rotated cross soften the edge.
        for dx, dy in ((0.0, 0.0), (1.3, 0.5), (-0.5, 1.3), (-1.3, -0.5), (0.5, -1.3)):
            column = (x + dx).long().clamp(0, SHADOW_SIZE - 1)
            row = (y + dy).long().clamp(0, SHADOW_SIZE - 1)
            nearest = flat.index_select(0, (index * SHADOW_SIZE + row) * SHADOW_SIZE + column)
            total = total + smoothstep(_BIAS + _SOFTNESS, _BIAS, depth - nearest)
        return total / 5.0


def _projection(toward: Tensor, extent: Tensor) -> Tensor:
    """Returns the affine map [B 3 4] from world points to `light_screen` coordinates."""
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)]).to(toward)[None]
    moved = light_screen(corners.expand(len(toward), -1, -1), toward, extent, SHADOW_SIZE)
    origin = moved[:, 0]
    return torch.cat([(moved[:, 1:] - origin[:, None]).mT, origin[..., None]], -1)


def illuminate(
    light: Beside, albedo: Tensor, specular: Tensor, hair: Tensor, sky: Tensor, lit: Tensor,
    normal: Tensor, view: Tensor, openness: Tensor,
) -> Tensor:  # fmt: skip
    """Lights surface points.

    Args:
        light: `LightLook` beside the points.
        albedo: [3 P] linear.
        specular: [P] strength of the highlight.
        hair: [P] true where the highlight is that of strands (Kajiya & Kay 1989).
        sky: [3 P] diffuse sky light.
        lit: [P] share of the lamp that arrives.
        normal: [3 P] unit, towards the viewer.
        view: [3 P] unit, to the camera.
        openness: [P] ambient occlusion, 1 is open.

    Returns:
        Linear light [3 P].
    """
    facing = dot(normal, light.toward)
    diffuse = ((facing + light.wrap) / (1.0 + light.wrap)).clamp_min(0.0) * lit
    half = unit(light.toward + view)
    sharp = 18.0 + 60.0 * (specular > 2.0)
    highlight = dot(normal, half).clamp_min(1e-4).pow(sharp)
    # Strands hang down: the tangent is the downward direction along the surface.
    down = torch.stack([normal[1] * normal[0], normal[1].square() - 1.0, normal[1] * normal[2]])
    across = (1.0 - dot(unit(down), half).square()).clamp(1e-4, 1.0).pow(40.0)
    highlight = torch.where(hair, across * (facing > -0.2), highlight)
    rim = (1.0 - dot(normal, view).clamp(0.0, 1.0)).pow(4)
    glint = specular * (0.09 * highlight * lit * light.lamp + 0.05 * rim * sky)
    return albedo * (sky * openness + light.lamp * diffuse) + glint


def develop(light: Beside, linear: Tensor) -> Tensor:
    """Exposes and tone-maps linear light [3 P] to display-linear 0..1."""
    exposed = linear * light.gain
    soft = exposed * (1.0 + exposed * 0.12) / (1.0 + 0.55 * exposed)  # rolls highlights off
    clipped = soft.clamp(0.0, 1.0)
    punchy = clipped * clipped * (3.0 - 2.0 * clipped) * 0.55 + clipped * 0.45
    return clipped + (punchy - clipped) * 0.5 * light.contrast
