"""Windows of a picture: cut one out, scale it, and bring landmarks back to the picture."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Window:
    """A rectangle in picture pixels; it may leave the picture.

    Attributes:
        left: px.
        top: px.
        width: px.
        height: px.
    """

    left: float
    top: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Pixel x and y of the middle."""
        return self.left + self.width / 2, self.top + self.height / 2

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def contains(self, x: float, y: float) -> bool:
        """Tells whether a pixel position lies inside."""
        return 0 <= x - self.left <= self.width and 0 <= y - self.top <= self.height

    def scaled(self, factor: float) -> Window:
        """Returns the window grown about its middle."""
        x, y = self.centre
        return Window.around(x, y, self.width * factor, self.height * factor)

    def square(self) -> Window:
        """Returns the smallest square window with the same middle that contains this one."""
        x, y = self.centre
        size = max(self.width, self.height)
        return Window.around(x, y, size, size)

    def overlap(self, other: Window) -> float:
        """Returns intersection over union with another window."""
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / max(self.area + other.area - shared, 1e-9)

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Window:
        """Builds a window from its middle."""
        return cls(x - width / 2, y - height / 2, width, height)

    @classmethod
    def whole(cls, image: np.ndarray) -> Window:
        """Returns the window of a whole picture [H W ...]."""
        return cls(0.0, 0.0, float(image.shape[1]), float(image.shape[0]))


def cut(image: np.ndarray, window: Window, long_side: int) -> np.ndarray:
    """Cuts a window out of [H W 3] uint8, repeating the rim outside, `long_side` px long."""
    import cv2

    scale = long_side / max(window.width, window.height)
    width = max(int(round(window.width * scale)), 1)
    height = max(int(round(window.height * scale)), 1)
    if scale < 0.5:  # warpAffine does not average: shrink first, so that nothing aliases
        shrink = 2 * scale
        size = (
            max(int(round(image.shape[1] * shrink)), 1),
            max(int(round(image.shape[0] * shrink)), 1),
        )
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        fx, fy = size[0] / image.shape[1], size[1] / image.shape[0]
        window = Window(window.left * fx, window.top * fy, window.width * fx, window.height * fy)
        image = small
    # Pixel centres at +0.5 on both sides.
    sx, sy = window.width / width, window.height / height
    image_from_crop = np.array(
        [[sx, 0, window.left + 0.5 * sx - 0.5], [0, sy, window.top + 0.5 * sy - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, image_from_crop, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


def paste(
    crop: np.ndarray, window: Window, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a crop's map [h w] back into a picture.

    Returns:
        values [H W] float32 and coverage [H W] float32, 0 outside the window.
    """
    import cv2

    sx, sy = crop.shape[1] / window.width, crop.shape[0] / window.height
    crop_from_image = np.array(
        [[sx, 0, (0.5 - window.left) * sx - 0.5], [0, sy, (0.5 - window.top) * sy - 0.5]],
        np.float64,
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size, values = (width, height), crop.astype(np.float32)
    pasted = cv2.warpAffine(
        values, crop_from_image, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    ys, xs = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside_x = (xs >= window.left) & (xs <= window.left + window.width)
    inside_y = (ys >= window.top) & (ys <= window.top + window.height)
    covered = (inside_y[:, None] & inside_x[None]).astype(np.float32)
    return pasted * covered, covered
