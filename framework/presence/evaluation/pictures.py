"""Side-by-side pictures: portrait, mesh overlay, reconstruction, true and rendered novel view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from presence.evaluation.compare import composite
from presence.geometry import vertex_normals
from presence.interfaces import Body
from presence.rasterize import build_rasterizer, interpolate
from presence.structures import TrainSample, View

COLUMNS = ("portrait", "mesh overlay", "reconstruction", "true novel view", "novel view")


@torch.no_grad()
def side_by_side(
    sample: TrainSample,
    prediction: Mapping[str, Any],
    body: Body | None = None,
    background: float = 1.0,
) -> Tensor:
    """Lays out one row a subject, in the order of `COLUMNS`.

    Args:
        sample: a batch of B.
        prediction: what `model.predict(sample)` returned, drawn over black.
        body: the body model, for the overlay; None leaves the portrait bare there.
        background: grey level behind renderings and true views.

    Returns:
        [3, B * H, 5 * W] in 0..1 on the CPU, where H and W are the reference's size; targets
        of another size are resized.
    """
    reference, target = sample.reference, sample.target
    columns = [
        reference.portrait.rgb,
        reference.portrait.rgb if body is None else mesh_overlay(reference, body),
        _over(prediction["reference"], background),
        composite(target.portrait, background),
        _over(prediction["target"], background),
    ]
    size = reference.portrait.size
    columns = [
        c if c.shape[-2:] == size else nn.functional.interpolate(c, size, mode="area")
        for c in columns
    ]
    rows = torch.cat([column.float().clamp(0, 1).cpu() for column in columns], -1)  # [B 3 H 5W]
    return torch.cat(list(rows), -2)


@torch.no_grad()
def mesh_overlay(view: View, body: Body, opacity: float = 0.7) -> Tensor:
    """Draws the shaded body mesh of a batch of views over their pictures [B 3 H W]."""
    mesh = body(view.body)
    height, width = view.portrait.size
    faces = body.topology.faces
    fragments = build_rasterizer("auto")(
        view.camera.screen(mesh.vertices), faces, height=height, width=width
    )
    rotation = view.camera.cam_from_world[..., :3, :3]
    normals = vertex_normals(mesh.vertices, faces) @ rotation.transpose(-1, -2)
    facing = -interpolate(fragments, faces, normals)[..., 2:].clamp(-1, 0)  # [B H W 1]
    shade = (0.25 + 0.75 * facing) * facing.new_tensor([0.55, 0.75, 1.0])
    cover = opacity * (fragments.face_ids >= 0)[:, None].float()  # [B 1 H W]
    return view.portrait.rgb * (1 - cover) + shade.permute(0, 3, 1, 2) * cover


def to_bytes(picture: Tensor) -> Any:
    """Converts a picture [3 H W] in 0..1 to a numpy array [H W 3] of bytes."""
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _over(rendering: Any, background: float) -> Tensor:
    return rendering.rgb + (1 - rendering.alpha) * background
