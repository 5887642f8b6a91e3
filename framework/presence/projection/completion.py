"""Colours for texels that a portrait does not show: the mirrored one, else what is near."""

from __future__ import annotations

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
    nothing of the trousers beside it. Heads ask heads, and the rest of the body itself. Hands ask
    hands first, then the face about the nose, where neither hair nor beard is, and sleeves only
    where none of these is seen (as the hand term of Eq. 12 has it).

    Args:
        body: names each vertex's mirror image.
        surface: the texels' points on the body.
        cells: side of the UV grid in which colours are gathered.
        reach: metres at which a seen cell counts exp(-1/2) times; farther ones fade, and decide
            only where nothing nearer is seen.
        across: what a metre across the body counts; for arms, which the rest pose holds out to the
            sides, up and down.
        depth: what a metre from front to back counts.
    """

    mirror: Tensor
    cell: Tensor
    weights: Tensor

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        *,
        cells: int = 64,
        reach: float = 0.06,
        across: float = 0.4,
        depth: float = 0.5,
    ) -> None:
        super().__init__()
        with torch.no_grad():
            rest = body(body.default_params()).rest_vertices.cpu()
        points = surface.binding.to("cpu").interpolate(rest)
        _, cell = surface.cells(cells).cpu().unique(return_inverse=True)
        count = torch.bincount(cell)
        middle = torch.zeros(len(count), 3).index_add(0, cell, points) / count[:, None]
        parts = ("hand", "face", "head", "arm")
        hands, face, head, arms = (_mostly_on(body, surface, part, cell) for part in parts)
        head |= face
        upright = middle * torch.tensor([across, 1.0, depth])
        lying = middle * torch.tensor([1.0, across, depth])
        distance = torch.cdist(upright, upright)
        distance = torch.where((arms | hands)[:, None], torch.cdist(lying, lying), distance)
        weights = torch.exp(-0.5 * (distance / reach) ** 2) + 1e-4 * torch.exp(-distance / _FAR)
        weights[head[:, None] != head] *= 1e-3
        weights[hands] *= hands + 1e-6
        weights[hands] += 1e-3 * _skin(middle, face)
        constants = dict(mirror=mirrored_points(body, surface), cell=cell, weights=weights)
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, colours: Tensor, seen: Tensor) -> Tensor:
        """Fills colours [B N 3] where `seen` [B N 1] is 0; all zeros where nothing is seen."""
        colours, known = _from_mirror(colours, seen, self.mirror)
        gathered = torch.cat([colours * known, known], -1)
        total = gathered.new_zeros(len(gathered), len(self.weights), 4)
        total = self.weights @ total.index_add(1, self.cell, gathered)  # [B P 4]
        near = (total[..., :3] / total[..., 3:].clamp_min(1e-12))[:, self.cell]
        return colours * known + near * (1 - known)


def _mostly_on(body: Body, surface: SurfaceMap, part: str, cell: Tensor) -> Tensor:
    """Returns [P] bool, the cells mostly on body parts whose name ends in `part`."""
    names = [name for name in body.vertex_parts if name.endswith(part)]
    vertices = part_vertices(body.vertex_parts, names, body.topology.num_vertices)
    inside = points_inside(surface.binding.to("cpu"), vertices)
    return torch.bincount(cell, inside.double()) > 0.5 * torch.bincount(cell)


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
