"""PLY and splat files, read back by a few lines of struct and numpy."""

import struct

import numpy as np
import pytest
import torch

from presence.geometry import quaternion_to_matrix
from presence.io.splats import write_ply, write_splat
from presence.structures import Gaussians


def random_gaussians(n: int = 50) -> Gaussians:
    g = torch.Generator().manual_seed(5)
    opacities = torch.rand(n, generator=g)
    opacities[0], opacities[1] = 0.0, 1.0
    scales = torch.exp(-7 + 3 * torch.rand(n, 3, generator=g))
    scales[2, 2] = 0.0
    quaternions = torch.randn(n, 4, generator=g)
    quaternions[3:7] = 3 * torch.eye(4)  # whose largest component is 1
    return Gaussians(
        means=torch.randn(n, 3, generator=g),
        quaternions=quaternions,
        scales=scales,
        opacities=opacities,
        colors=torch.rand(n, 3, generator=g),
    )


def read_ply(path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(lines[2].removeprefix("element vertex "))
    names = [line.removeprefix("property float ") for line in lines[3:]]
    values = struct.unpack(f"<{count * len(names)}f", body)
    return {name: np.array(values[i :: len(names)]) for i, name in enumerate(names)}


def columns(table, name: str, count: int) -> np.ndarray:
    return np.stack([table[f"{name}_{i}"] for i in range(count)], -1)


def read_splat(path) -> list[tuple]:
    return [
        (row[:3], row[3:6], row[6:10], row[10:14])
        for row in struct.iter_unpack("<3f3f4B4B", path.read_bytes())
    ]


def angles(first, second) -> torch.Tensor:
    """[N] degrees between rotations given as quaternions [N 4]."""
    relative = quaternion_to_matrix(first).mT @ quaternion_to_matrix(second)
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))


def test_a_ply_holds_everything_in_order(tmp_path):
    g, path = random_gaussians(), tmp_path / "a.ply"
    write_ply(g, path)
    table = read_ply(path)
    order = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2"
    assert list(table) == [*order.split(), "rot_3"]
    means = np.stack([table[axis] for axis in "xyz"], -1)
    assert np.array_equal(means, g.means.numpy())
    assert not any(table[axis].any() for axis in ("nx", "ny", "nz"))
    colours = 0.5 + columns(table, "f_dc", 3) / (2 * np.sqrt(np.pi))
    np.testing.assert_allclose(colours, g.colors, atol=1e-6)
    opacities = 1 / (1 + np.exp(-table["opacity"]))
    np.testing.assert_allclose(opacities, g.opacities, atol=2e-6)
    np.testing.assert_allclose(np.exp(columns(table, "scale", 3)), g.scales, rtol=1e-5, atol=2e-9)
    assert all(np.isfinite(column).all() for column in table.values())
    rotations = torch.from_numpy(columns(table, "rot", 4))
    np.testing.assert_allclose(rotations.norm(dim=-1), 1, atol=1e-6)
    assert angles(rotations, g.quaternions.double()).max() < 0.01


def test_another_library_reads_the_ply(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    g, path = random_gaussians(), tmp_path / "a.ply"
    write_ply(g, path)
    assert np.allclose(trimesh.load(path).vertices, g.means)


def test_a_splat_file_is_sorted_and_quantised(tmp_path):
    g, path = random_gaussians(), tmp_path / "a.splat"
    write_splat(g, path)
    assert path.stat().st_size == 32 * 50
    rows = read_splat(path)
    weights = [float(np.prod(np.float64(scale))) * rgba[3] / 255 for _, scale, rgba, _ in rows]
    kept = g.scales.double().prod(-1) * g.opacities.double()
    best = torch.argsort(kept, descending=True, stable=True)
    assert all(a >= b * 0.9 for a, b in zip(weights, weights[1:]) if b > 1e-12)
    for index, (position, scale, rgba, _) in zip(best.tolist(), rows):
        assert position == tuple(g.means[index].tolist())
        assert scale == tuple(g.scales[index].tolist())
        wanted = [*g.colors[index].tolist(), float(g.opacities[index])]
        assert np.abs(np.array(rgba) / 255 - wanted).max() <= 0.5 / 255 + 1e-6
    rotations = (torch.tensor([row[3] for row in rows]).double() - 128) / 128
    # Half a step of 1/128 in each of four components turns by at most 2 asin(|step|).
    limit = 2 * np.degrees(np.arcsin(np.sqrt(4) * 0.5 / 128))
    off = angles(rotations, g.quaternions[best].double())
    assert off.max() < limit
    axis_aligned = torch.isin(best, torch.arange(3, 7))
    assert off[axis_aligned].max() < 1e-5  # 1 has no byte, but -1 has


@pytest.mark.parametrize("write", [write_ply, write_splat])
def test_no_gaussians_and_batches(write, tmp_path):
    none = random_gaussians().map(lambda value: value[:0])
    write(none, tmp_path / "none")
    assert (tmp_path / "none").is_file()
    with pytest.raises(ValueError, match="one set of Gaussians"):
        write(random_gaussians().unsqueeze(), tmp_path / "batch")
    assert not (tmp_path / "batch").exists()
