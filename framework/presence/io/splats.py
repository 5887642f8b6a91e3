"""Gaussians in two layouts of other programs: PLY as in 3D Gaussian splatting, and splat.

PLY is the layout of Kerbl et al., "3D Gaussian Splatting" (2023), with colours as spherical
harmonics of degree 0; splat is the 32 bytes a Gaussian that viewers on web pages load. Both hold
positions in the world of the Gaussians they are given, metres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from presence.io.atomic import write_bytes
from presence.structures import Gaussians

SH_DEGREE_0 = 0.28209479177387814
"""The spherical harmonic of degree 0, 1 / (2 sqrt(pi)): colour = 0.5 + SH_DEGREE_0 * f_dc."""
PLY_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
"""The columns of a PLY file, all float32."""
SPLAT_ROW = np.dtype(
    [("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)]
)
"""A row of a splat file: metres, metres, 0..255, and (w, x, y, z) as 128 + 128 q."""
OPACITY_MARGIN = 1e-6
"""Opacities are kept this far from 0 and 1, where their logit has no end."""
SCALE_MIN = 1e-9
"""Scales below this (metres) have a logarithm that some readers cannot hold."""


def write_ply(gaussians: Gaussians, path: str | Path) -> None:
    """Writes Gaussians (no batch axis) as a binary PLY file, in their own order."""
    write_bytes(path, ply_bytes(gaussians))


def write_splat(gaussians: Gaussians, path: str | Path) -> None:
    """Writes Gaussians (no batch axis) as a splat file, the largest and most opaque first."""
    write_bytes(path, splat_rows(gaussians).tobytes())


def ply_bytes(gaussians: Gaussians) -> bytes:
    """Returns the PLY file of N Gaussians: a header and N rows of `PLY_FIELDS`.

    Example:
        >>> one = Gaussians(
        ...     means=torch.zeros(1, 3), quaternions=torch.eye(4)[:1],
        ...     scales=torch.ones(1, 3), opacities=torch.ones(1), colors=torch.ones(1, 3),
        ... )
        >>> ply_bytes(one).split(b"end_header")[0].splitlines()[:3]
        [b'ply', b'format binary_little_endian 1.0', b'element vertex 1']
    """
    g = _on_cpu(gaussians)
    opacities = g.opacities.double().clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    columns = [
        g.means,
        torch.zeros_like(g.means),  # normals, which readers expect and nobody uses
        (g.colors - 0.5) / SH_DEGREE_0,
        torch.logit(opacities).float()[:, None],
        g.scales.clamp_min(SCALE_MIN).log(),
        F.normalize(g.quaternions, dim=-1),
    ]
    rows = torch.cat(columns, -1).numpy().astype("<f4")  # [N 17]
    fields = [f"property float {name}" for name in PLY_FIELDS]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *fields]
    return "\n".join([*head, "end_header\n"]).encode("ascii") + rows.tobytes()


def splat_rows(gaussians: Gaussians) -> np.ndarray:
    """Returns [N] of `SPLAT_ROW`, sorted by volume times opacity, descending.

    So a viewer that has read a part of the file shows what matters most. Colours and opacities are
    rounded to 1/255, components of rotations to 1/128.
    """
    g, order = _on_cpu(gaussians), splat_order(gaussians)
    g = g.map(lambda value: value[order])
    rows = np.empty(len(order), SPLAT_ROW)
    rows["position"], rows["scale"] = g.means.numpy(), g.scales.numpy()
    rgba = torch.cat([g.colors, g.opacities[:, None]], -1)
    rows["rgba"] = (rgba.clamp(0, 1) * 255).round().byte().numpy()
    rows["rotation"] = _rotation_bytes(g.quaternions).numpy()
    return rows


def splat_order(gaussians: Gaussians) -> torch.Tensor:
    """Returns the indices [N] of Gaussians in the order of `splat_rows`."""
    weight = gaussians.scales.detach().cpu().double().prod(-1)
    weight = weight * gaussians.opacities.detach().cpu().double()
    return torch.argsort(weight, descending=True, stable=True)


def _rotation_bytes(quaternions: torch.Tensor) -> torch.Tensor:
    """Quantises quaternions [N 4] of any length to bytes [N 4] as 128 + 128 q."""
    unit = F.normalize(quaternions, dim=-1)
    # q and -q are one rotation. A byte reaches -1 but not +1, so the largest component is negative.
    largest = unit.gather(-1, unit.abs().argmax(-1, keepdim=True))
    unit = torch.where(largest > 0, -unit, unit)
    return (unit * 128 + 128).round().clamp(0, 255).byte()


def _on_cpu(gaussians: Gaussians) -> Gaussians:
    if gaussians.batch_shape:
        raise ValueError(f"a file holds one set of Gaussians, got batch {gaussians.batch_shape}")
    return gaussians.detach().to("cpu", torch.float32)
