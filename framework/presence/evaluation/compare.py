"""Putting a rendering and a photograph over one background, so that numbers mean the person."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.interfaces import Body
from presence.structures import Portrait, ProxyMesh, Rendering, View

if TYPE_CHECKING:
    from presence.evaluation.metrics import Metric
    from presence.evaluation.view_landmarks import ViewLandmarks


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two batches of pictures that may differ only inside the mask.

    Attributes:
        prediction: [B 3 H W] rendering over the background.
        target: [B 3 H W] photograph over the background.
        mask: [B 1 H W] bool, the union of both masks.
        rendering: what was compared, drawn over black (premultiplied).
        portrait: the true picture.
        view: the true picture with camera and body parameters, where these are known.
        body: the body model of those parameters.
        background: grey level of both pictures outside the mask.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor
    rendering: Rendering
    portrait: Portrait
    view: View | None = None
    body: Body | None = None
    background: float = 1.0

    def measure(self, metrics: Sequence[Metric]) -> dict[str, Tensor]:
        """Returns column name to values [B]; see `Metric.columns`."""
        values: dict[str, Tensor] = {}
        for metric in metrics:
            measured = metric.measure(self)
            values |= measured if isinstance(measured, dict) else {metric.name: measured}
        return values

    def over(self, background: float) -> Comparison:
        """Returns the same comparison over another grey."""
        return compare_views(self.rendering, self.portrait, background=background)

    def inside(self, parts: Sequence[str], reach: float) -> Comparison:
        """Returns the same comparison of some body parts alone, the rest set to the background.

        The parts are where the true body is: see `presence.evaluation.part_mask.part_mask`.

        Args:
            parts: names of the body's `vertex_parts`.
            reach: how far the parts go beyond the mesh, as a share of their own size.
        """
        from presence.evaluation.part_mask import part_mask

        mask = self.mask & part_mask(self, parts, reach)
        grey = torch.full_like(self.target, self.background)
        return dataclasses.replace(
            self,
            prediction=torch.where(mask, self.prediction, grey),
            target=torch.where(mask, self.target, grey),
            mask=mask,
        )

    @property
    def common(self) -> Tensor:
        """Where both pictures show the person [B 1 H W], the intersection of both masks."""
        return (self.rendering.alpha >= 0.5) & (self.portrait.alpha >= 0.5)

    @functools.cached_property
    def mesh(self) -> ProxyMesh:
        """The body in the true view, posed once for all metrics.

        Raises:
            ValueError: the comparison was made without view or body.
        """
        if self.view is None or self.body is None:
            raise ValueError("the comparison has no view with a body; see `compare_views`")
        return self.body(self.view.body)

    @functools.cached_property
    def seen_faces(self) -> Tensor:
        """Which triangle of the true body each pixel shows [B H W], -1 for none."""
        from presence.rasterize import build_rasterizer

        mesh = self.mesh
        assert self.view is not None and self.body is not None
        height, width = self.target.shape[-2:]
        px = self.view.camera.screen(mesh.vertices.float())
        faces = self.body.topology.faces
        return build_rasterizer("auto")(px, faces, height=height, width=width).face_ids

    def landmarks(self, name: str) -> ViewLandmarks:
        """Returns where the body model puts a landmark set in the true view."""
        from presence.evaluation.view_landmarks import view_landmarks

        mesh = self.mesh
        assert self.view is not None and self.body is not None
        return view_landmarks(self.body, mesh, self.view, name)


def compare_views(
    rendering: Rendering,
    portrait: Portrait,
    *,
    background: float = 1.0,
    view: View | None = None,
    body: Body | None = None,
) -> Comparison:
    """Prepares a rendering and the true picture for masked metrics.

    Both are composited over the same constant grey by their own alpha, and set to exactly that
    grey outside the union of the masks (alpha >= 0.5): a missing arm and an invented one both
    cost, the original background does not.

    Args:
        rendering: batched, drawn over black (premultiplied).
        portrait: batched alike, same size.
        background: grey level; white by default, as most of the field reports.
        view: the view of the portrait, for metrics that need to know where the person is.
        body: the body model of the view's parameters.
    """
    mask = union_mask(rendering.alpha, portrait.alpha)
    grey = torch.full_like(portrait.rgb, background)
    prediction = rendering.rgb + (1 - rendering.alpha) * background
    target = composite(portrait, background)
    return Comparison(
        prediction=torch.where(mask, prediction, grey).clamp(0, 1),
        target=torch.where(mask, target, grey).clamp(0, 1),
        mask=mask,
        rendering=rendering,
        portrait=portrait,
        view=view,
        body=body,
        background=background,
    )


def composite(portrait: Portrait, background: float = 1.0) -> Tensor:
    """Returns the person of a portrait over a constant grey [... 3 H W]."""
    return portrait.rgb * portrait.alpha + (1 - portrait.alpha) * background


def union_mask(first: Tensor, second: Tensor) -> Tensor:
    """Returns where either alpha [... 1 H W] is at least one half, as bool."""
    return (first >= 0.5) | (second >= 0.5)


def erode(mask: Tensor, margin: int) -> Tensor:
    """Takes away what lies within a margin of a mask's edge, in rows or columns.

    The picture's own border is no edge: a person whom it cuts off continues there.

    Args:
        mask: [B 1 H W] bool.
        margin: px.
    """
    outside = (~mask).float()
    for size in ((2 * margin + 1, 1), (1, 2 * margin + 1)):
        padding = (size[0] // 2, size[1] // 2)
        outside = F.max_pool2d(outside, size, stride=1, padding=padding)
    return outside == 0
