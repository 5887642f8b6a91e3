"""Every registered component keeps the contract of its kind; new plugins are found by themselves.

A plugin whose defaults are large gets small options in `SMALL`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import presence.testing.contracts as contracts
from presence.registry import (
    BODIES,
    DATASETS,
    DECODERS,
    ENCODERS,
    ESTIMATORS,
    PROJECTORS,
    RASTERIZERS,
    RENDERERS,
    TRACKERS,
)
from presence.structures import ImageFeatures, UVFeatures

CHANNELS = 6
# Released networks cut to a block or two, with random weights instead of their files.
RELEASED = dict(weights="random", image_size=112, dtype="float32", frozen=False)
COMPACT: dict[str, Any] = dict(
    type="CompactEncoder",
    widths=(8, 16, 24),
    conv_blocks=(1, 1),
    attention_blocks=1,
    heads=2,
    out_channels=CHANNELS,
)
PEOPLE: dict[str, Any] = dict(num_subjects=3, split="test", size=48)
SMALL: dict[str, dict[str, Any]] = {
    "CompactEncoder": {k: v for k, v in COMPACT.items() if k != "type"},
    "DINOv2Encoder": dict(size="s", depth=2, fused=(0, 1), **RELEASED),
    "SapiensEncoder": dict(size="0.3b", depth=1, **RELEASED),
    "Sapiens2Encoder": dict(size="0.1b", depth=1, **RELEASED),
    "CachedEncoder": dict(encoder=dict(type="DINOv2Encoder", size="s", depth=1, **RELEASED)),
    "DualUVProjector": dict(core_size=16, shell_size=8),
    "DualUVDecoder": dict(core_size=16, shell_size=8, width=32, blocks=1, heads=2, hidden=16),
    "GUAVADecoder": dict(
        layers=1,
        image_size=32,
        levels=(8, 8, 8, 8),
        uv_channels=4,
        vertex_channels=8,
        vertex_learned=8,
        vertex_global=8,
        uv_inpainted=8,
        uv_learned=4,
        colors=5,
        style=16,
        scale=0.03,
        width=16,
    ),
    "IDOLDecoder": dict(
        layers=1, grid=4, width=32, blocks=2, heads=2, deconvolutions=(16, 16), convolutions=(16,)
    ),
    "LHMDecoder": dict(
        head_encoder=COMPACT, points=64, width=32, layers=2, heads=2, hidden=16, head_size=32
    ),
    "LAMDecoder": dict(parts=("neck",), width=32, layers=2, heads=2, hidden=16),
    "BodyCropsDataset": dict(dataset=dict(type="ProceduralPeopleDataset", **PEOPLE)),
    "ProceduralPeopleDataset": PEOPLE,
    "MixedDataset": dict(sources=[dict(type="ProceduralPeopleDataset", **PEOPLE)] * 2),
    "HeadCrops": dict(source=dict(type="ProceduralPeopleDataset", **PEOPLE), target=0.5),
    "MultiViewFolder": dict(split="all", size=48),
}
# Estimators cut down likewise.
SMALL_ESTIMATORS: dict[str, dict[str, Any]] = {
    "HamerEstimator": dict(depth=1),
    "MultiHmrEstimator": dict(depth=1),
    "OsxEstimator": dict(depth=1),
    "SapiensPoseEstimator": dict(size="0.3b", depth=1),
}
# Readers of layouts: test_evaluation_sets.py makes miniatures and checks the contract on them.
EVALUATION_SETS = {"ClipFolder", "NeRSemble", "OpenHumanVid", "RenderMe360", "SHHQ"}
TOYS = "presence.testing"


def _names(registry) -> list[str]:
    return [n for n in registry.names() if not registry.module_dict[n].__module__.startswith(TOYS)]


def _needs_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"{name} needs a CUDA device")


@pytest.mark.parametrize("name", _names(BODIES))
def test_body(name):
    contracts.check_body(BODIES.build(dict(type=name, **SMALL.get(name, {}))))


@pytest.mark.parametrize("name", _names(ENCODERS))
def test_encoder(name, tmp_path):
    options = dict(SMALL.get(name, {}))
    if name == "Sapiens2Encoder":
        pytest.importorskip("timm", reason="Sapiens2 needs the package timm")
    if name == "CachedEncoder":  # caches what does not change
        frozen = {**options["encoder"], "frozen": True}
        options = dict(encoder=frozen, folder=str(tmp_path))
    contracts.check_encoder(ENCODERS.build(dict(type=name, **options)))


@pytest.mark.parametrize("name", _names(PROJECTORS))
def test_projector(name, body, surface):
    from presence.rasterize import build_rasterizer

    built = dict(body=body, surface=surface, rasterizer=build_rasterizer("cpu"))
    projector = PROJECTORS.build(dict(type=name, **SMALL.get(name, {})), **built)
    contracts.check_projector(projector, body, channels=CHANNELS)


def _features(kind: str, options: dict[str, Any]) -> UVFeatures | ImageFeatures:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(2, *shape, generator=generator)

    if kind == "image":
        return ImageFeatures(draw(CHANNELS, 8, 8))
    core, shell = options.get("core_size", 16), options.get("shell_size", 8)
    seen = (draw(1, core, core) > 0.4).float()
    shell_seen = (draw(1, shell, shell) > 0.4).float()
    texels_seen = (draw(1, 64, 64) > 0.4).float()
    return UVFeatures(
        draw(CHANNELS, core, core) * seen,
        seen,
        draw(CHANNELS, shell, shell) * shell_seen,
        shell_seen,
        draw(3, 64, 64) * texels_seen,
        texels_seen,
    )


@pytest.mark.parametrize("name", _names(DECODERS))
def test_decoder(name, body, surface):
    from presence.rasterize import build_rasterizer

    options = SMALL.get(name, {})
    built = dict(body=body, surface=surface, in_channels=CHANNELS)
    built["rasterizer"] = build_rasterizer("cpu")
    decoder = DECODERS.build(dict(type=name, **options), **built)
    contracts.check_decoder(decoder, body, _features(decoder.needs, options))


@pytest.mark.parametrize("extra", [dict(texel_rgb=True), dict(shell_size=0), dict(merge=2)])
def test_dual_uv_variants(extra, body, surface):
    options = {**SMALL["DualUVDecoder"], **extra}
    decoder = DECODERS.build(
        dict(type="DualUVDecoder", **options), body=body, surface=surface, in_channels=CHANNELS
    )
    features = _features("uv", SMALL["DualUVDecoder"])
    contracts.check_decoder(decoder, body, features)


@pytest.mark.parametrize("name", _names(RENDERERS))
def test_renderer_on_the_cpu(name):
    if name == "GsplatRenderer":
        _needs_gpu(name)
    device = "cuda" if name == "GsplatRenderer" else "cpu"
    contracts.check_renderer(RENDERERS.build(dict(type=name)), device=device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [n for n in _names(RENDERERS) if n != "CPURenderer"])
def test_renderer_on_cuda(name):
    _needs_gpu(name)
    contracts.check_renderer(RENDERERS.build(dict(type=name)), device="cuda")


@pytest.mark.parametrize("name", _names(RASTERIZERS))
def test_rasterizer_on_the_cpu(name):
    if name == "TritonRasterizer":
        _needs_gpu(name)
    if name == "PyTorch3DRasterizer":
        pytest.importorskip("pytorch3d", reason="PyTorch3D is an optional backend")
    device = "cuda" if name == "TritonRasterizer" else "cpu"
    contracts.check_rasterizer(RASTERIZERS.build(dict(type=name)), device=device)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["AutoRasterizer", "TritonRasterizer"])
def test_rasterizer_on_cuda(name):
    _needs_gpu(name)
    contracts.check_rasterizer(RASTERIZERS.build(dict(type=name)), device="cuda")


@pytest.mark.parametrize("name", sorted({*_names(DATASETS)} - EVALUATION_SETS))
def test_dataset(name, body, tmp_path):
    options = dict(SMALL.get(name, {}))
    if name == "MixedDataset":  # two sources of different people
        first, second = options["sources"]
        options["sources"] = [first, {**second, "first_seed": 70_000}]
    if name == "MultiViewFolder":  # reads pictures from disk
        from presence.datasets import export_multiview
        from presence.rasterize import build_rasterizer
        from presence.synthesis import ProceduralPeople

        people = ProceduralPeople(body, build_rasterizer("cpu"), supersample=1)
        export_multiview(people, [1, 2], tmp_path, size=64, turns=(0.0, 90.0))
        options["root"] = str(tmp_path)
    contracts.check_dataset(DATASETS.build(dict(type=name, **options)))


def _flame_files(folder) -> dict[str, Any]:
    """A toy head and 51 landmarks on it, in the layout of the released files."""
    import numpy as np

    from presence.testing.toy_bodies import toy_flame_arrays

    np.savez(folder / "flame.npz", **toy_flame_arrays(12, 18))
    places = dict(lmk_face_idx=np.arange(51) * 4, lmk_b_coords=np.full((51, 3), 1 / 3))
    np.savez(folder / "marks.npz", **places)
    files = dict(weights=str(folder / "flame.npz"), embedding=str(folder / "marks.npz"))
    return dict(steps=5, **files)


@pytest.mark.parametrize("name", _names(ESTIMATORS))
def test_estimator(name, tmp_path):
    from presence.structures import Cues, Portrait

    options = SMALL_ESTIMATORS.get(name, {})
    if name == "FlameEstimator":
        options = _flame_files(tmp_path)
    if name == "MediaPipeEstimator":
        pytest.importorskip("mediapipe", reason="MediaPipe's estimator needs the package mediapipe")
        from skimage import data

        rgb = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
        portrait = Portrait(rgb, torch.ones_like(rgb[:1]))
        contracts.check_estimator(ESTIMATORS.build(dict(type=name)), portrait, Cues())
        return
    estimator = ESTIMATORS.build(dict(type=name, **{"weights": "random", **options}))
    generator = torch.Generator().manual_seed(3)

    def points(count, left, top):
        xy = torch.rand(count, 2, generator=generator) * 30 + torch.tensor([left, top])
        return torch.cat([xy, torch.ones(count, 1)], 1)

    portrait = Portrait(torch.rand(3, 120, 90, generator=generator), torch.ones(1, 120, 90))
    cues = Cues(
        person=torch.tensor([10.0, 8.0, 80.0, 116.0]),
        keypoints=dict(
            pose=points(33, 20.0, 20.0),
            face=points(478, 30.0, 12.0),
            left_hand=points(21, 50.0, 60.0),
            right_hand=points(21, 10.0, 62.0),
        ),
    )
    contracts.check_estimator(estimator, portrait, cues)


@pytest.mark.slow
@pytest.mark.parametrize("name", _names(TRACKERS))
def test_tracker(name, body):
    pytest.importorskip("mediapipe", reason="the default tracker needs the package mediapipe")
    from skimage import data

    from presence.structures import Portrait

    rgb = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    portrait = Portrait(rgb, torch.ones_like(rgb[:1]))
    tracker = TRACKERS.build(dict(type=name, **SMALL.get(name, {})), body=body)
    contracts.check_tracker(tracker, body, portrait)
