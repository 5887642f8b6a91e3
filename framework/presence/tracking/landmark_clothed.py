"""Pictures of clothed people: where the pose model puts joints that clothes hide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from presence.bodies import Body
from presence.rasterize import build_rasterizer
from presence.structures import Camera, ProxyMesh
from presence.synthesis.people import FIRST_SEED, ProceduralPeople

# Framing, height and width (px) in turn: half bodies are the commonest portraits.
_PICTURES = (("half", 640, 512), ("head", 512, 512), ("half", 640, 512), ("full", 768, 512))


@dataclasses.dataclass(frozen=True)
class ClothedPerson:
    """One picture of a clothed person, with the body under the clothes.

    Attributes:
        image: [H W 3] uint8.
        mesh: unbatched.
        camera: unbatched.
    """

    image: np.ndarray
    mesh: ProxyMesh
    camera: Camera


def clothed_people(body: Body, count: int, first: int = 0) -> Iterator[ClothedPerson]:
    """Renders procedural people of the training split: half bodies, heads and full bodies.

    Args:
        body: the model that they are made of.
        count: how many.
        first: number of the first of them.
    """
    rasterizer = build_rasterizer("cpu")
    makers = {
        framing: ProceduralPeople(body, rasterizer, framings={framing: 1.0})
        for framing, _, _ in _PICTURES
    }
    for number in range(first, first + count):
        framing, height, width = _PICTURES[number % len(_PICTURES)]
        people = makers[framing]
        recipe = people.draw([FIRST_SEED["train"] + number], 1)
        view = people.render(recipe, (height, width))[0, 0]
        pixels = (view.portrait.rgb.clamp(0, 1) * 255).round().byte()
        image = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        yield ClothedPerson(image, body(view.body), view.camera)
