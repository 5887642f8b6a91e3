import pytest
import torch

from presence.errors import AssetError, ConfigError
from presence.rasterize import (
    AutoRasterizer,
    CPURasterizer,
    PyTorch3DRasterizer,
    TritonRasterizer,
    build_rasterizer,
)
from presence.registry import RASTERIZERS

FACES = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("auto", AutoRasterizer),
        ("cpu", CPURasterizer),
        ("cuda", TritonRasterizer),
        ("pytorch3d", PyTorch3DRasterizer),
    ],
)
def test_backends_build_by_name_and_from_configs(name, cls):
    built = build_rasterizer(name, near=0.25)
    assert type(built) is cls and built.near == 0.25
    configured = RASTERIZERS.build(dict(type=cls.__name__, near=0.5))
    assert type(configured) is cls and configured.near == 0.5


def test_unknown_backend_names_the_nearest():
    with pytest.raises(
        ConfigError, match="unknown rasterizer backend `cudda`. Did you mean `cuda`"
    ):
        build_rasterizer("cudda")


def test_auto_draws_cpu_tensors_with_the_cpu_backend():
    screen = torch.tensor([[0.0, 0.0, 2.0], [0.0, 8.0, 2.0], [8.0, 0.0, 3.0]])
    auto, cpu = AutoRasterizer()(screen, FACES, 8, 8), CPURasterizer()(screen, FACES, 8, 8)
    assert torch.equal(auto.depth, cpu.depth) and (auto.face_ids == 0).any()


@pytest.mark.parametrize(
    ("screen", "faces", "size", "message"),
    [
        (torch.ones(3, 2), FACES, (4, 4), r"screen should be floating \[... V 3\]"),
        (torch.ones(3, 3).long(), FACES, (4, 4), "got torch.int64"),
        (torch.ones(3, 3), FACES.int(), (4, 4), r"faces should be int64 \[F 3\]"),
        (torch.ones(3, 3), FACES[0], (4, 4), r"got torch.int64 \(3,\)"),
        (torch.ones(2, 3), FACES, (4, 4), "index 2 vertices, but run from 0 to 2"),
        (torch.ones(3, 3), FACES - 1, (4, 4), "run from -1 to 1"),
        (torch.ones(3, 3), FACES, (0, 4), "got 0x4"),
        (torch.ones(3, 3), FACES, (4, 20_000), "got 4x20000"),
    ],
)
def test_wrong_input_is_named(screen, faces, size, message):
    with pytest.raises(ValueError, match=message):
        CPURasterizer()(screen, faces, *size)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="near should be at least 0"):
        CPURasterizer(near=-1.0)
    with pytest.raises(ValueError, match="threads should be at least 1"):
        CPURasterizer(threads=0)


def test_triton_refuses_cpu_tensors_in_one_line():
    pytest.importorskip("triton")
    with pytest.raises(ValueError, match="needs tensors on a GPU, got cpu; the rasterizer `auto`"):
        TritonRasterizer()(torch.ones(3, 3), FACES, 4, 4)


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("pytorch3d", "pytorch3d.renderer.mesh.rasterize_meshes", "needs the package `pytorch3d`"),
        ("cuda", "presence.rasterize.triton_kernels", "needs the package `triton`"),
    ],
)
def test_missing_packages_are_named(name, package, message, monkeypatch):
    import sys

    import presence.rasterize

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delattr(presence.rasterize, "triton_kernels", raising=False)
    with pytest.raises(AssetError, match=message):
        build_rasterizer(name)(torch.ones(3, 3), FACES, 4, 4)
