import pytest
import torch
from rasterize_reference import project, random_soup

from presence.rasterize import CPURasterizer, PyTorch3DRasterizer
from presence.rasterize.pytorch3d import to_ndc


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 90), (90, 30)])
def test_pixels_of_the_corners_are_where_pytorch3d_has_them(height, width):
    # Its documentation: +x left, +y up, the shorter side from -1 to 1, pixels square.
    long = max(height, width) / min(height, width)
    right, top = (-long, 1.0) if width >= height else (-1.0, long)
    corners = torch.tensor([[0.0, 0.0, 7.0], [width, height, 7.0], [width / 2, height / 2, 7.0]])
    expected = torch.tensor([[-right, top, 7.0], [right, -top, 7.0], [0.0, 0.0, 7.0]])
    torch.testing.assert_close(to_ndc(corners, height, width), expected)


@pytest.mark.parametrize("cull", [True, False])
@pytest.mark.parametrize("orthographic", [True, False])
@pytest.mark.parametrize(("height", "width"), [(14, 14), (11, 17), (17, 11)])
def test_agrees_with_the_cpu_backend(height, width, orthographic, cull):
    pytest.importorskip("pytorch3d", reason="pytorch3d is not installed")
    points, faces = random_soup(6, 2, 12, 1.5)
    screen = project(points, height, width)
    screen[..., :2] = (screen[..., :2] - 7) / 3 + 7
    screen[0, 0, 2] = -1.0  # below the near plane: a dropped face, unless orthographic
    options = dict(cull_backfaces=cull, orthographic=orthographic)
    theirs = PyTorch3DRasterizer()(screen, faces, height, width, **options)
    ours = CPURasterizer()(screen, faces, height, width, **options)
    same = theirs.face_ids == ours.face_ids
    assert same.float().mean() > 0.99
    hit = same & (ours.face_ids >= 0)
    assert hit.any() and (theirs.depth[theirs.face_ids < 0] == torch.inf).all()
    torch.testing.assert_close(theirs.depth[hit], ours.depth[hit], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(theirs.barycentrics[hit], ours.barycentrics[hit], atol=5e-3, rtol=0)
