"""Rendered people with known bodies, by framing and by how far they are turned away."""

from __future__ import annotations

import copy

from presence.bodies import Body
from presence.rasterize import build_rasterizer
from presence.structures import Portrait, View
from presence.synthesis.people import ProceduralPeople
from presence.tracking.fusing.regimes import Framing

# Height and width, px; the first seed of the framing, within the test split's range.
_SIZES = {"head": (512, 512), "half": (640, 512), "full": (768, 512)}
_FIRST = {"head": 60_000, "half": 70_000, "full": 80_000}


class TurnedPeople:
    """Renders people of the test split.

    Args:
        body: the model that they are made of.
        yaws: (low, high) degrees of each range of turns, either way round.
        supersample: samples along a pixel's side.
    """

    def __init__(
        self, body: Body, yaws: list[tuple[float, float]], *, supersample: int = 2
    ) -> None:
        self.yaws = yaws
        self._maker = ProceduralPeople(body, build_rasterizer("cpu"), supersample=supersample)

    def view(self, framing: Framing, number: int, index: int) -> View:
        """Renders one person: picture with the true mask, body and camera, unbatched.

        Args:
            framing: of the picture.
            number: which range of turns.
            index: which person of that framing and range.
        """
        maker = copy.copy(self._maker)  # the anatomy behind it is shared
        maker.framings, maker.reference_yaw = {framing: 1.0}, ((1.0, *self.yaws[number]),)
        recipe = maker.draw([_FIRST[framing] + 1000 * number + index], 1)
        return maker.render(recipe, _SIZES[framing])[0, 0]


def uncut(portrait: Portrait) -> Portrait:
    """Returns a portrait whose alpha says nothing, as a photograph's."""
    return portrait.replace(alpha=portrait.alpha.new_ones(portrait.alpha.shape))
