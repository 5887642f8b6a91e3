import pytest
import torch

from presence.errors import InputError
from presence.pipeline.framing import MARGIN, cut_window, frame_portrait, person_window
from presence.structures import Camera, Portrait


def picture(height: int, width: int, rows: slice, columns: slice) -> Portrait:
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    alpha = torch.zeros(1, height, width)
    alpha[0, rows, columns] = 1.0
    return Portrait(torch.stack([xs / width, ys / height, torch.full_like(xs, 0.5)]), alpha)


def camera(height: int, width: int) -> Camera:
    return Camera.look_at(torch.tensor([0.0, 0.0, 4.0]), torch.zeros(3), 0.4, width, height)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((400, 600), slice(100, 300), slice(250, 350)),  # whole, in the middle
        ((400, 600), slice(100, 400), slice(200, 420)),  # cut off below
        ((400, 600), slice(50, 400), slice(500, 600)),  # at the right border
        ((600, 200), slice(20, 600), slice(10, 190)),  # taller than the picture is wide
        ((200, 600), slice(0, 200), slice(100, 500)),  # wider than the picture is tall
        ((512, 512), slice(10, 512), slice(0, 512)),  # fills the picture
    ],
)
def test_the_window_holds_the_person_and_ends_where_they_are_cut(size, rows, columns):
    window = person_window(picture(*size, rows, columns))
    assert window.left <= columns.start and window.left + window.side >= columns.stop
    assert window.top <= rows.start and window.top + window.side >= rows.stop
    if rows.stop == size[0] and rows.start > 0:
        assert window.top + window.side == size[0]
    extent = max(rows.stop - rows.start, columns.stop - columns.start)
    assert extent <= window.side <= max(extent, round(extent * (1 + 2 * MARGIN)))


def test_camera_and_picture_are_cut_alike():
    """A point's colour in the window is its colour in the picture: both ramps are coordinates."""
    portrait = picture(300, 500, slice(40, 300), slice(120, 330))
    cam = camera(300, 500)
    framed, framed_camera, window = frame_portrait(portrait, cam, 128)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.2, -0.3, 0.2], [-0.3, 0.2, -0.1]])
    before, _ = cam.project(points)
    after, depth = framed_camera.project(points)
    torch.testing.assert_close(depth, cam.project(points)[1])
    for source, target in zip(before, after):
        x, y = (target - 0.5).round().long().tolist()
        shown = framed.rgb[:2, y, x] * torch.tensor([500.0, 300.0])
        assert (shown - source).abs().max() < 0.75 * window.side / 128
    assert (framed_camera.width, framed_camera.height) == (128, 128)


def test_nothing_outside_the_picture_counts_as_seen():
    portrait = picture(200, 80, slice(0, 200), slice(0, 80))
    window = person_window(portrait)
    framed = cut_window(portrait, window, 64)
    assert window.left < 0 and float(framed.alpha[..., 0].max()) == 0.0
    assert float(framed.alpha[..., 32].min()) > 0.99


def test_an_empty_or_tiny_mask_is_refused():
    for rows in (slice(0, 0), slice(50, 60)):
        with pytest.raises(InputError, match="empty or tiny"):
            frame_portrait(picture(100, 100, rows, slice(50, 60)), camera(100, 100))
