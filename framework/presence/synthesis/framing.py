"""Where the camera stands: framings from the head alone to the whole body, and turned views."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.structures import Camera, ProxyMesh, TensorStruct, tensor
from presence.synthesis.draws import Array, Draws
from presence.synthesis.fields import struct_of

# Framing number -> (share of the body's middle in the look-at height, picture height / stature).
_FRAMING = ((0.0, 0.00, 0.235), (0.2, 0.12, 0.40), (0.4, 0.34, 0.62), (1.0, 0.93, 1.26))
FRAMINGS = {"head": (0.0, 0.12), "half": (0.3, 0.52), "full": (0.92, 1.0), "any": (0.0, 1.0)}


@dataclasses.dataclass(frozen=True, eq=False)
class Viewpoint(TensorStruct):
    """How a subject is looked at in each of n views.

    Attributes:
        yaw: [... n] rad, of the camera around the subject, 0 straight ahead of the body.
        elevation: [... n] rad, positive from above.
        fov: [... n] vertical field of view, rad.
        blend: [... n] weight of the vertical middle against the head in the look-at height.
        extent: [... n] picture height at the subject, as a share of the stature.
        shift: [... n 2] displacement of the subject in the picture, in picture heights.
    """

    yaw: Tensor = tensor("n", unit="rad")
    elevation: Tensor = tensor("n", unit="rad")
    fov: Tensor = tensor("n", unit="rad")
    blend: Tensor = tensor("n")
    extent: Tensor = tensor("n")
    shift: Tensor = tensor("n 2")


def draw_viewpoints(
    draws: Draws,
    views: int,
    *,
    framings: dict[str, float],
    target_yaw: tuple[tuple[float, float, float], ...],
    reference_yaw: tuple[tuple[float, float, float], ...],
) -> Viewpoint:
    """Draws the cameras of each subject's views; the first is the reference.

    Args:
        draws: one stream a subject.
        views: n.
        framings: weight of each of `FRAMINGS`.
        target_yaw: (weight, low, high) degrees between reference and target, either way round.
        reference_yaw: the same for the reference, from straight ahead.
    """
    kind = draws.choice("framing", list(framings.values()))
    limits = np.asarray([FRAMINGS[name] for name in framings])[kind]
    number = draws.uniform("framing number", limits[:, 0], limits[:, 1])
    # 20 degrees is what trackers assume, so it is the middle of the distribution.
    fov = np.clip(20.0 * np.exp(draws.normal("fov", 0.38)), 14.0, 60.0)
    first = _signed(draws, "reference", reference_yaw)
    rows: dict[str, list[Array]] = {k: [] for k in ("yaw", "elevation", "fov", "number", "zoom")}
    shifts = []
    for view in range(views):
        own = draws.scoped(f"view{view}")
        turn = _signed(own, "target", target_yaw) if view else 0.0
        same = own.chance("same framing", 0.6)
        jitter = np.where(same, 0.0, own.normal("framing jitter", 0.1))
        rows["number"].append(np.clip(number + (jitter if view else 0.0), 0.0, 1.0))
        rows["yaw"].append(first + turn)
        rows["elevation"].append(own.normal("elevation", 6.0) + 2.0)
        rows["fov"].append(fov)
        rows["zoom"].append(np.exp(own.normal("zoom", 0.07)))
        shifts.append(own.normal("shift", 0.035, size=2))
    number_all = np.stack(rows["number"], 1)
    knots = np.asarray(_FRAMING)
    return struct_of(
        Viewpoint,
        yaw=np.radians(np.stack(rows["yaw"], 1)),
        elevation=np.radians(np.stack(rows["elevation"], 1)),
        fov=np.radians(np.stack(rows["fov"], 1)),
        blend=np.interp(number_all, knots[:, 0], knots[:, 1]),
        extent=np.interp(number_all, knots[:, 0], knots[:, 2]) * np.stack(rows["zoom"], 1),
        shift=np.stack(shifts, 1) * np.minimum(1.0, 0.4 + number_all)[..., None],
    )


def _signed(draws: Draws, name: str, parts: tuple[tuple[float, float, float], ...]) -> Array:
    sign = np.where(draws.chance(f"{name} side", 0.5), 1.0, -1.0)
    return sign * draws.mixture(name, parts)


def look_at_point(mesh: ProxyMesh, blend: Tensor) -> Tensor:
    """Returns the look-at point [... 3] of a posed body (paper Eq. 16-17).

    Horizontally the mean of pelvis and head; vertically a blend of the vertices' middle with
    the head joint. The weight of the middle is ours (design section 4, Look-at).

    Args:
        mesh: [...] posed.
        blend: [...] weight of the middle.
    """
    pelvis, head = mesh.joints[..., 0, :], mesh.joints[..., 15, :]
    height = mesh.vertices[..., 1]
    middle = 0.5 * (height.amin(-1) + height.amax(-1))
    target = 0.5 * (pelvis + head)
    vertical = blend * middle + (1.0 - blend) * head[..., 1]
    return torch.stack([target[..., 0], vertical, target[..., 2]], -1)


def place_cameras(
    viewpoint: Viewpoint, mesh: ProxyMesh, facing: Tensor, height: int, width: int
) -> Camera:
    """Builds the cameras [B n] for posed meshes [B n].

    Args:
        viewpoint: [B] with n views.
        mesh: [B n] posed.
        facing: [B n] yaw of the bodies, rad.
        height: rows of the pictures.
        width: columns of the pictures.
    """
    rest = mesh.rest_vertices[..., 1]
    stature = rest.amax(-1) - rest.amin(-1)
    # A narrow picture must still hold the shoulders.
    extent = viewpoint.extent * stature * max(1.0, 0.75 * height / width)
    target = look_at_point(mesh, viewpoint.blend)
    # Wide lenses stand close: the nearest point must stay before the camera.
    distance = extent / (2.0 * torch.tan(viewpoint.fov / 2)) + 0.12 * stature * extent.clamp(max=1)
    yaw = viewpoint.yaw + facing
    flat = torch.cos(viewpoint.elevation)
    direction = torch.stack(
        [torch.sin(yaw) * flat, torch.sin(viewpoint.elevation), torch.cos(yaw) * flat], -1
    )
    camera = Camera.look_at(
        target + distance[..., None] * direction, target, viewpoint.fov, width, height
    )
    intrinsics = camera.K.clone()
    intrinsics[..., 0, 2] += viewpoint.shift[..., 0] * height
    intrinsics[..., 1, 2] += viewpoint.shift[..., 1] * height
    return camera.replace(K=intrinsics)
