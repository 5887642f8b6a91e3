"""The contract of mesh rasterizers: pixel convention, depth, culling, shared edges, batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from presence.structures import Fragments
from presence.testing.contracts.common import require, require_equal

_HEIGHT, _WIDTH = 20, 24


def check_rasterizer(rasterizer: Any, *, device: str = "cpu") -> None:
    """Checks a rasterizer against closed forms.

    Args:
        rasterizer: called as `presence.interfaces.MeshRasterizer` says.
        device: where the vertices are.

    Raises:
        ContractError: what is broken.
    """
    _check_plane(rasterizer, device, orthographic=False)
    _check_plane(rasterizer, device, orthographic=True)
    _check_culling_and_order(rasterizer, device)
    _check_shared_edges(rasterizer, device)
    _check_batch(rasterizer, device)


def _call(rasterizer: Any, screen: Tensor, faces: Tensor, **options: bool) -> Fragments:
    return rasterizer(screen, faces, _HEIGHT, _WIDTH, **options)


def _centres(device: str) -> tuple[Tensor, Tensor]:
    rows = torch.arange(_HEIGHT, device=device) + 0.5
    columns = torch.arange(_WIDTH, device=device) + 0.5
    grid = torch.meshgrid(rows, columns, indexing="ij")
    return grid[0], grid[1]


def _check_plane(rasterizer: Any, device: str, *, orthographic: bool) -> None:
    """A tilted triangle: coverage, barycentrics and depth are known for every pixel centre."""
    corners = torch.tensor([[2.2, 1.1, 1.0], [4.3, 18.7, 2.0], [22.4, 6.2, 4.0]], device=device)
    faces = torch.tensor([[0, 1, 2]], device=device)
    found = _call(rasterizer, corners[None], faces, orthographic=orthographic)
    require(isinstance(found, Fragments), rasterizer, "a call should give Fragments")
    require(found.face_ids.shape == (1, _HEIGHT, _WIDTH), rasterizer, "face ids are [B H W]")
    require(found.face_ids.dtype == torch.int64, rasterizer, "face ids are int64")
    linear = _screen_barycentrics(corners, device)  # [H W 3]
    inside = (linear > 1e-4).all(-1)
    outside = (linear < -1e-4).any(-1)
    ids = found.face_ids[0]
    require((ids[inside] == 0).all(), rasterizer, "centres inside a triangle should be covered")
    require((ids[outside] == -1).all(), rasterizer, "centres outside should be background (-1)")
    require(torch.isposinf(found.depth[0][outside]).all(), rasterizer, "background depth is +inf")
    require(
        (found.barycentrics[0][outside] == 0).all(), rasterizer, "background barycentrics are 0"
    )
    depth = corners[:, 2]
    weights = linear if orthographic else linear / depth
    weights = weights / weights.sum(-1, keepdim=True)
    error = (found.barycentrics[0] - weights)[inside].abs().max()
    name = "linear on the screen" if orthographic else "perspective-correct"
    require(error < 1e-3, rasterizer, f"barycentrics should be {name}, off by {float(error):.3g}")
    expected = (weights * depth).sum(-1)
    error = (found.depth[0] - expected)[inside].abs().max()
    require(error < 4e-3, rasterizer, f"depth should follow the plane, off by {float(error):.3g}")


def _screen_barycentrics(corners: Tensor, device: str) -> Tensor:
    """Returns signed barycentrics [H W 3] of every pixel centre on the screen."""
    rows, columns = _centres(device)
    x, y = corners[:, 0].double(), corners[:, 1].double()
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    parts = []
    for k in range(3):
        a, b = (k + 1) % 3, (k + 2) % 3
        parts.append(((x[a] - columns) * (y[b] - rows) - (x[b] - columns) * (y[a] - rows)) / area)
    return torch.stack(parts, -1).float()


def _check_culling_and_order(rasterizer: Any, device: str) -> None:
    near = [[4.0, 4.0, 1.0], [4.0, 16.0, 1.0], [16.0, 4.0, 1.0]]  # counter-clockwise as seen
    far = [[2.0, 2.0, 3.0], [2.0, 18.0, 3.0], [20.0, 2.0, 3.0]]
    screen = torch.tensor([far + near], device=device)
    front = torch.tensor([[0, 1, 2], [3, 4, 5]], device=device)
    ids = _call(rasterizer, screen, front).face_ids[0]
    require(ids[6, 6] == 1 and ids[3, 3] == 0, rasterizer, "the nearest face should win")
    turned = front.flip(-1)
    culled = _call(rasterizer, screen, turned).face_ids
    require((culled == -1).all(), rasterizer, "faces seen from behind should be culled")
    kept = _call(rasterizer, screen, turned, cull_backfaces=False).face_ids[0]
    require(torch.equal(kept, ids), rasterizer, "without culling both sides are drawn alike")


def _check_shared_edges(rasterizer: Any, device: str) -> None:
    """A fan around a pixel centre: no gap, and with equal depths every centre has one face."""
    angle = torch.linspace(0, 2 * torch.pi, 9)[:-1]
    rim = torch.stack([12 + 9 * angle.cos(), 10 + 9 * angle.sin(), torch.full_like(angle, 2.0)], -1)
    hub = torch.tensor([[12.5, 10.5, 2.0]])
    screen = torch.cat([hub, rim])[None].to(device)
    faces = torch.tensor([[0, 1 + (k + 1) % 8, 1 + k] for k in range(8)], device=device)
    whole = _call(rasterizer, screen, faces).face_ids[0] >= 0
    counts = torch.zeros_like(whole, dtype=torch.int64)
    for face in faces:
        counts += (_call(rasterizer, screen, face[None]).face_ids[0] >= 0).long()
    require((counts <= 1).all(), rasterizer, "a centre on an edge belongs to one face only")
    require(torch.equal(counts == 1, whole), rasterizer, "faces that share edges leave no gaps")
    rows, columns = _centres(device)
    middle = ((columns - 12) ** 2 + (rows - 10) ** 2) < 7.5**2
    require(whole[middle].all(), rasterizer, "the inside of a closed fan should be covered")


def _check_batch(rasterizer: Any, device: str) -> None:
    generator = torch.Generator().manual_seed(7)
    screen = torch.rand(2, 30, 3, generator=generator) * torch.tensor([_WIDTH, _HEIGHT, 2.0])
    screen = (screen + torch.tensor([0.0, 0.0, 1.0])).to(device)
    faces = torch.randint(0, 30, (20, 3), generator=generator).to(device)
    both = _call(rasterizer, screen, faces, cull_backfaces=False)
    for index in range(2):
        alone = _call(rasterizer, screen[index : index + 1], faces, cull_backfaces=False)
        require_equal(alone[0], both[index], rasterizer, "meshes should not see each other")
    total = both.barycentrics.sum(-1)[both.face_ids >= 0]
    require((total - 1).abs().max() < 1e-3, rasterizer, "barycentrics should sum to 1")
