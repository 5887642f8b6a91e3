"""Colours for texels that a portrait does not show: the mirrored one, else what is near."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from presence.interfaces import Body
from presence.projection.queries import part_vertices, points_inside
from presence.projection.surface import SurfaceMap


def mirrored_points(body: Body, surface: SurfaceMap) -> Tensor:
    """Returns [N] for each surface point the point nearest to its left-right mirror image."""
    from scipy.spatial import cKDTree

    with torch.no_grad():
        rest = body(body.default_params()).rest_vertices.cpu()
    points = surface.binding.to("cpu").interpolate(rest).double().numpy()
    _, nearest = cKDTree(points).query(points * [-1.0, 1.0, 1.0])
    return torch.as_tensor(nearest, dtype=torch.long)


def complete_colours(colours: Tensor, seen: Tensor, mirror: Tensor) -> Tensor:
    """Fills unseen texels in closed form.

    Args:
        colours: [B N 3], anything where unseen.
        seen: [B N 1], 1 where the portrait shows the texel, else 0.
        mirror: [N] the texel that mirrors each one, see `mirrored_points`.

    Returns:
        [B N 3]: seen colours as they are; unseen ones from the mirrored texel; where that is
        unseen too, the mean of all others (0 if there are none).
    """
    colours, known = _from_mirror(colours, seen, mirror)
    mean = (colours * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
    return colours * known + mean * (1 - known)


class NearbyColours(nn.Module):
    """Fills unseen texels from the mirrored one, else from what is seen near them on the body.

    Nearness is measured in the rest pose through space, where steps across the body (around arms)
    and from front to back count less than those along it: a back takes the colour of all that is
    seen at its height, so that nothing held before the chest shows on it, and a sleeve takes
    nothing of the trousers beside it. Heads ask heads, arms arms, and the rest of the body itself.
    Hands ask hands first, then the face about the nose, where neither hair nor beard is, and
    sleeves only where none of these is seen (as the hand term of Eq. 12 has it).

    What is near often has several colours, whose mean is none of them: from the mean, mean shift
    (Comaniciu and Meer, "Mean Shift", 2002) climbs to the colour that most of them are close to,
    so that a back has hems rather than gradients.

    Args:
        body: names each vertex's mirror image.
        surface: the texels' points on the body.
        cells: side of the UV grid in which colours are filled.
        sources: side of the UV grid in which seen colours are gathered.
        reach: metres at which a seen cell counts exp(-1/2) times; farther ones fade, and decide
            only where nothing nearer is seen.
        across: what a metre across the body counts; for arms, which the rest pose holds out to the
            sides, up and down.
        depth: what a metre from front to back counts.
        likeness: for each step of the mean shift, the distance between colours (of 0 to 1) at which
            one counts exp(-1/2) times; none leaves the mean.
    """

    mirror: Tensor
    cell: Tensor
    source: Tensor
    weights: Tensor

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        *,
        cells: int = 64,
        sources: int = 32,
        reach: float = 0.06,
        across: float = 0.4,
        depth: float = 0.5,
        likeness: Sequence[float] = (0.3, 0.2, 0.15),
    ) -> None:
        super().__init__()
        with torch.no_grad():
            rest = body(body.default_params()).rest_vertices.cpu()
        points = surface.binding.to("cpu").interpolate(rest)
        filled, asked = (_Cells(body, surface, points, side) for side in (cells, sources))
        constants = dict(
            mirror=mirrored_points(body, surface),
            cell=filled.of_texel,
            source=asked.of_texel,
            weights=_nearness(filled, asked, reach, across, depth),
        )
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.likeness = tuple(likeness)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, colours: Tensor, seen: Tensor) -> Tensor:
        """Fills colours [B N 3] where `seen` [B N 1] is 0; all zeros where nothing is seen."""
        colours, known = _from_mirror(colours.float(), seen.float(), self.mirror)
        gathered = torch.cat([colours * known, known], -1)
        total = gathered.new_zeros(len(gathered), self.weights.shape[1], 4)
        total = total.index_add(1, self.source, gathered)  # [B Q 4]
        near, sources = _mean(self.weights @ total), _mean(total)  # [B P 3], [B Q 3]
        for width in self.likeness:
            near = _mean(self._alike(near, sources, width) @ total)
        return colours * known + near[:, self.cell] * (1 - known)

    @torch.no_grad()
    def _alike(self, colours: Tensor, sources: Tensor, width: float) -> Tensor:
        """Returns [B P Q] the weights of sources [B Q 3], of those like colours [B P 3]."""
        apart = torch.cdist(colours, sources, compute_mode="use_mm_for_euclid_dist")
        return self.weights * torch.exp(-0.5 * (apart / width) ** 2)


class _Cells:
    """The cells of a UV grid that hold texels: where they are and what they are mostly on.

    Attributes:
        of_texel: [N] the cell of each texel.
        middle: [P 3] mean place in the rest pose, metres.
        face, head, arms, hands: [P] bool; faces count as heads.
    """

    def __init__(self, body: Body, surface: SurfaceMap, points: Tensor, side: int) -> None:
        _, self.of_texel = surface.cells(side).cpu().unique(return_inverse=True)
        self.count = torch.bincount(self.of_texel)
        total = torch.zeros(len(self.count), 3).index_add(0, self.of_texel, points)
        self.middle = total / self.count[:, None]
        self.face = self._on(body, surface, "face")
        self.head = self._on(body, surface, "head") | self.face
        self.arms, self.hands = (self._on(body, surface, part) for part in ("arm", "hand"))

    def _on(self, body: Body, surface: SurfaceMap, part: str) -> Tensor:
        """Returns [P] bool, the cells mostly on body parts whose name ends in `part`."""
        names = [name for name in body.vertex_parts if name.endswith(part)]
        vertices = part_vertices(body.vertex_parts, names, body.topology.num_vertices)
        inside = points_inside(surface.binding.to("cpu"), vertices)
        return torch.bincount(self.of_texel, inside.double()) > 0.5 * self.count


def _nearness(cells: _Cells, sources: _Cells, reach: float, across: float, depth: float) -> Tensor:
    """Returns [P Q] how much each source counts for each cell, see `NearbyColours`."""
    upright, lying = torch.tensor([across, 1.0, depth]), torch.tensor([1.0, across, depth])
    distance = torch.where(
        (cells.arms | cells.hands)[:, None],
        torch.cdist(cells.middle * lying, sources.middle * lying),
        torch.cdist(cells.middle * upright, sources.middle * upright),
    )
    weights = torch.exp(-0.5 * (distance / reach) ** 2) + 1e-4 * torch.exp(-distance / _FAR)
    weights[cells.head[:, None] != sources.head] *= 1e-3
    limbs, source_limbs = cells.arms | cells.hands, sources.arms | sources.hands
    weights[limbs[:, None] != source_limbs] *= 1e-3
    weights[cells.hands] *= sources.hands + 1e-6
    weights[cells.hands] += 1e-3 * _skin(sources.middle, sources.face)
    return weights


def _mean(total: Tensor) -> Tensor:
    """Sums of colours and of their weights [... 4] to mean colours [... 3], 0 without any."""
    return total[..., :3] / total[..., 3:].clamp_min(1e-30)


def _skin(middle: Tensor, face: Tensor) -> Tensor:
    """Returns [P] how much a cell of the face tells of bare skin: most at the nose, its tip."""
    tip = middle[face][middle[face][:, 2].argmax()] if face.any() else middle[0]
    near = torch.exp(-0.5 * ((middle - tip).norm(dim=-1) / _NOSE).square())
    return face * (near + 1e-4)


_NOSE = 0.025  # m
_FAR = 0.1  # m, in which what is beyond reach fades to 1/e


def _from_mirror(colours: Tensor, seen: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Returns colours [B N 3] with mirrored ones where unseen, and where either is known."""
    mirrored, mirrored_seen = colours[:, mirror], seen[:, mirror]
    colours = colours * seen + mirrored * mirrored_seen * (1 - seen)
    return colours, torch.maximum(seen, mirrored_seen)
