"""The Triton backend beside the CPU backend, bit by bit.

On a machine with a GPU: pytest -s tests/rasterize/test_triton_rasterizer.py (prints timings).
"""

import pytest
import torch
from rasterize_reference import project, random_soup, sphere

from presence.rasterize import (
    AutoRasterizer,
    CPURasterizer,
    TritonRasterizer,
    interpolate,
    rasterize_uv,
)
from presence.structures import MeshTopology

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _assert_same(screen, faces, height, width, device, **options):
    expected = CPURasterizer()(screen, faces, height, width, **options)
    found = TritonRasterizer()(screen.to(device), faces.to(device), height, width, **options)
    assert found.face_ids.device.type == torch.device(device).type
    for name in ("face_ids", "depth", "barycentrics"):
        different = getattr(found, name).cpu() != getattr(expected, name)
        assert not different.any(), f"{name}: {different.sum()} values differ, {options}"
    return expected


def _soup(seed, batch, count, height, width, spread=0.6):
    points, faces = random_soup(seed, batch, count, spread)
    screen = project(points, height, width)
    centre = torch.tensor([width / 2, height / 2])
    screen[..., :2] = (screen[..., :2] - centre) * max(height, width) / 60 + centre
    screen[0, :9, 2] = torch.tensor([-1.0, 1, 1, float("nan"), 1, 1, 0, 0, 0])
    screen[0, 9:18] = screen[0, 18:27]  # the same face twice: an exact tie
    return screen, faces


def _lattice(seed, batch, count, size):
    """Faces as large as the picture, corners and edges on pixel centres, depths in 0.5 to 1.5."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 3 * count, 2)
    screen = torch.rand(batch, 3 * count, 3, generator=generator) + 0.5
    screen[..., :2] = torch.randint(-4, 2 * size + 4, shape, generator=generator) / 2
    screen[:, 1::6, 1] = screen[:, 0::6, 1]  # a horizontal edge in every other face
    return screen, torch.arange(3 * count).reshape(count, 3)


ALL_MODES = [
    dict(cull_backfaces=cull, orthographic=flat) for cull in (True, False) for flat in (True, False)
]


def check_small_cases(device):
    """The cases that are also quick in Triton's interpreter; run by both tests below."""
    for options in ALL_MODES[1:3]:
        screen, faces = _soup(1, 2, 14, 13, 18)
        assert (_assert_same(screen, faces, 13, 18, device, **options).face_ids >= 0).any()
    screen, faces = _lattice(2, 1, 12, 44)
    _assert_same(screen, faces, 44, 40, device, cull_backfaces=False)
    _assert_same(screen - 1, faces, 44, 40, device, cull_backfaces=False, orthographic=True)
    screen, faces = _lattice(3, 1, 24, 11)
    _assert_same(screen, faces, 11, 11, device, cull_backfaces=False)
    one = torch.tensor([[[-90.0, -90.0, 1.0], [-90.0, 90.0, 2.0], [90.0, -90.0, 3.0]]])
    _assert_same(one, torch.tensor([[0, 1, 2]]), 1, 37, device)
    for batch, count in [(0, 4), (2, 0)]:
        _assert_same(torch.ones(batch, 12, 3), faces[:count], 5, 7, device)


@needs_gpu
@pytest.mark.gpu
def test_small_cases_on_the_gpu():
    check_small_cases("cuda")


def test_small_cases_in_the_interpreter(run_interpreted):
    code = (
        "from presence.rasterize import cuda\n"
        "cuda.MAX_SMALL_TILES, cuda.QUEUE_LANES, cuda.TILE_LANES, cuda.LARGE_TILE = 4, 2, 1, 32\n"
        "cuda.FACES_PER_PROGRAM, cuda.PIXELS_PER_PROGRAM = 8, 1024\n"
        "import test_triton_rasterizer as tests; tests.check_small_cases('cpu')"
    )
    run_interpreted(code)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("options", ALL_MODES, ids=str)
@pytest.mark.parametrize(
    ("batch", "count", "height", "width", "spread"),
    [(1, 27_420, 512, 512, 0.03), (3, 400, 300, 517, 1.0), (2, 60, 512, 512, 30.0)],
    ids=["many small", "medium", "few huge"],
)
def test_soups_have_the_cpu_backends_bits(options, batch, count, height, width, spread):
    screen, faces = _soup(3, batch, count, height, width, spread)
    found = _assert_same(screen, faces, height, width, "cuda", **options)
    assert (found.face_ids >= 0).float().mean() > 0.05


def _body_sized_sphere(size, batch=1):
    """20,480 faces and a second, slightly larger shell of them, turning from image to image."""
    points, faces = sphere(5)
    centre = torch.tensor([0.0, 0.0, 4.0])
    both = torch.cat([points, (points - centre) * 1.03 + centre])
    turns = torch.linspace(0, 1, batch)[:, None, None] * torch.tensor([0.6, 0.3, 0.0])
    screen = project(both + turns, size, size)
    screen[..., :2] = (screen[..., :2] - size / 2) * size / 64 + size / 2
    return screen, faces, torch.cat([faces, faces + len(points)])


@needs_gpu
@pytest.mark.gpu
def test_shells_and_batches_have_the_cpu_backends_bits():
    screen, body, both = _body_sized_sphere(512, batch=32)
    for faces in (body, both):
        _assert_same(screen, faces, 512, 512, "cuda")
    _assert_same(screen[:2], both, 512, 512, "cuda", cull_backfaces=False)


@needs_gpu
@pytest.mark.gpu
def test_atlas_and_interpolation_on_the_gpu():
    index = torch.arange(81).reshape(9, 9)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
    steps = torch.linspace(0.02, 0.98, 9)
    uv = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
    topology = MeshTopology(faces=faces, faces_uv=faces, uv=uv, num_vertices=81)
    expected, found = rasterize_uv(topology, 512), rasterize_uv(topology.to("cuda"), 512)
    assert torch.equal(found.face_ids.cpu(), expected.face_ids)
    values = torch.randn(81, 4)
    blended = interpolate(found, faces.cuda(), values.cuda())
    torch.testing.assert_close(blended.cpu(), interpolate(expected, faces, values))


@needs_gpu
@pytest.mark.gpu
def test_the_host_never_waits():
    screen, faces, _ = _body_sized_sphere(256)
    screen, faces, rasterizer = screen.cuda(), faces.cuda(), AutoRasterizer()
    rasterizer(screen, faces, 256, 256)  # compiles
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = rasterizer(screen, faces, 256, 256)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert (found.face_ids >= 0).any()


@needs_gpu
@pytest.mark.gpu
def test_runs_on_the_device_and_stream_of_its_tensors():
    screen, faces, _ = _body_sized_sphere(128)
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    expected = CPURasterizer()(screen, faces, 128, 128)
    screen, faces, stream = screen.to(device), faces.to(device), torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        found = TritonRasterizer()(screen, faces, 128, 128)
    stream.synchronize()
    assert found.depth.device == device
    assert torch.equal(found.face_ids.cpu(), expected.face_ids)


@needs_gpu
@pytest.mark.gpu
def test_speed(capsys):
    limits = {1: 1.0, 8: 8.0, 32: 32.0}
    for batch, limit in limits.items():
        screen, body, both = (t.cuda() for t in _body_sized_sphere(512, batch))
        half = torch.tensor([[0.0, 0.0, 1.0], [0.0, 512.0, 1.0], [512.0, 512.0, 1.0]]).cuda()
        cases = {
            "20,480 faces": (screen, body),
            "two shells, 40,960 faces": (screen, both),
            "1 face over half the picture": (
                half.expand(batch, -1, -1),
                torch.arange(3)[None].cuda(),
            ),
        }
        for name, (corners, faces) in cases.items():
            milliseconds = _milliseconds(corners, faces)
            with capsys.disabled():
                print(f"\nB={batch} 512x512, {name}: {milliseconds:.3f} ms", end="")
            assert milliseconds < limit * (2 if faces is both else 1)


def _milliseconds(screen, faces, repeats=50):
    rasterizer = TritonRasterizer()
    for _ in range(5):
        rasterizer(screen, faces, 512, 512)
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        rasterizer(screen, faces, 512, 512)
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / repeats
