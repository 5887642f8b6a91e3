"""Where chosen parts of the true body are in a picture, for metrics of parts alone.

The paper's Table 1 has LAM, which makes heads, a second time "with non-facial parts parsed out". A
parser would be one more network; the true body, which every sample has, says the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from presence.evaluation.compare import Comparison, erode
from presence.interfaces import Body


def part_mask(comparison: Comparison, parts: Sequence[str], reach: float) -> Tensor:
    """Returns where body parts are in the true view [B 1 H W] bool, hair and hats about them too.

    The posed true body is rasterised. Its pixels that show the parts count, and what lies within
    `reach` of them in rows and columns, unless the mesh shows another part there: hair around the
    head belongs to it, the shoulders below and a hand before it do not.

    Args:
        comparison: with view and body.
        parts: names of the body's `vertex_parts`; a triangle belongs to them if all its corners do.
        reach: as a share of the parts' size in the picture, the root of their area.
    """
    assert comparison.body is not None
    faces = comparison.seen_faces  # [B H W]
    chosen = part_faces(comparison.body, parts)  # [F]
    on_body = (faces >= 0)[:, None]
    shown = on_body & chosen[faces.clamp_min(0)][:, None]  # [B 1 H W]
    masks = []
    for one, others in zip(shown, on_body & ~shown):
        margin = round(reach * one.sum().sqrt().item())
        near = ~erode(~one[None], margin)[0] if margin else one
        masks.append(near & ~others)
    return torch.stack(masks)


def part_faces(body: Body, parts: Sequence[str]) -> Tensor:
    """Returns which triangles have all corners in some of the parts [F] bool."""
    faces = body.topology.faces
    inside = torch.zeros(body.topology.num_vertices, dtype=torch.bool, device=faces.device)
    for part in parts:
        inside[body.vertex_parts[part]] = True
    return inside[faces].all(-1)


def no_parts(body: Body | None, parts: Sequence[str]) -> str | None:
    """Returns why parts cannot be told apart on a body, None if they can."""
    if body is None:
        return "the model has no body to say where its parts are"
    unknown = [part for part in parts if part not in body.vertex_parts]
    if unknown:
        known = ", ".join(sorted(body.vertex_parts))
        return f"body `{body.name}` has no part `{unknown[0]}`; it has {known}"
    return None
