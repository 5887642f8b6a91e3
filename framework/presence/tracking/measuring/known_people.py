"""Rendered people whose bodies are known: single pictures by framing, and a clip of a motion."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from presence.bodies import Body
from presence.io.atomic import write_bytes
from presence.motion import Motion, retarget
from presence.rasterize import build_rasterizer
from presence.structures import BodyParams, Camera, Portrait, View, cat
from presence.synthesis.people import ProceduralPeople

# Framing to its pictures' height and width, px; test seeds from here on, which nothing trains on.
_SIZES = {"head": (512, 512), "half": (640, 512), "full": (768, 512)}
FIRST_SEED = {"head": 100_000, "half": 110_000, "full": 120_000}
FRAMINGS = tuple(_SIZES)


@dataclasses.dataclass(frozen=True)
class KnownPerson:
    """One rendered picture and the truth behind it.

    Attributes:
        name: such as "half_110003".
        framing: "head", "half" or "full".
        portrait: unbatched, with an alpha of ones: trackers find their own mask.
        body: unbatched.
        camera: unbatched.
    """

    name: str
    framing: str
    portrait: Portrait
    body: BodyParams
    camera: Camera


class KnownPeople:
    """Renders people of the test split, one picture each.

    Args:
        body: the model that they are made of.
        supersample: samples along a pixel's side.
        kept: folder where single pictures are kept and looked for; None renders each anew.
    """

    def __init__(self, body: Body, *, supersample: int = 2, kept: str | Path | None = None) -> None:
        self.body = body
        self.kept = None if kept is None else Path(kept)
        rasterizer = build_rasterizer("cpu")
        self.people = {
            framing: ProceduralPeople(
                body, rasterizer, framings={framing: 1.0}, supersample=supersample
            )
            for framing in FRAMINGS
        }

    def person(self, framing: str, index: int) -> KnownPerson:
        """Renders one person.

        Args:
            framing: one of `FRAMINGS`.
            index: number of the person in that framing.
        """
        name = f"{framing}_{FIRST_SEED[framing] + index}"
        path = None if self.kept is None else self.kept / f"{name}.npz"
        if path is not None and path.is_file():
            return _read(path, framing)
        people = self.people[framing]
        recipe = people.draw([FIRST_SEED[framing] + index], 1)
        person = _known(name, framing, people.render(recipe, _SIZES[framing])[0, 0])
        if path is not None:
            _write(path, person)
        return person

    def clip(
        self, motions: Sequence[Motion], index: int, size: tuple[int, int] = (512, 448)
    ) -> Iterator[KnownPerson]:
        """Renders a half-body person who makes motions, frame by frame, before a still camera.

        Args:
            motions: made one after the other.
            index: number of the person.
            size: height and width, px.
        """
        seed = FIRST_SEED["half"] + index
        people = self.people["half"]
        recipe = people.draw([seed], 1)
        names = list(self.body.expression_names)
        params = cat([retarget(motion, recipe.body[0, 0], names) for motion in motions])
        camera = None
        for number in range(params.batch_shape[0]):
            moved = recipe.replace(body=params[number : number + 1].unsqueeze())
            views = people.render(moved, size, camera)
            camera = views.camera
            yield _known(f"clip_{number:05d}", "half", views[0, 0])


def _known(name: str, framing: str, view: View) -> KnownPerson:
    portrait = view.portrait.replace(alpha=torch.ones_like(view.portrait.alpha))
    return KnownPerson(name, framing, portrait, view.body, view.camera)


def _write(path: Path, person: KnownPerson) -> None:
    memory = io.BytesIO()
    body, camera = person.body, person.camera
    rgb = (person.portrait.rgb.clamp(0, 1) * 255).round().byte()
    fields = {name: value.numpy() for name, value in body.tensors().items()}
    fields |= {"rgb": rgb.numpy(), "K": camera.K.numpy()}
    np.savez(memory, cam_from_world=camera.cam_from_world.numpy(), **fields)
    write_bytes(path, memory.getvalue())


def _read(path: Path, framing: str) -> KnownPerson:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    rgb = arrays.pop("rgb").float() / 255
    height, width = rgb.shape[-2:]
    camera = Camera(arrays.pop("K"), arrays.pop("cam_from_world"), width, height)
    portrait = Portrait(rgb, torch.ones_like(rgb[:1]))
    return KnownPerson(path.stem, framing, portrait, BodyParams(**arrays), camera)


def shares(count: int) -> dict[str, int]:
    """Divides people among framings: a quarter heads, a third full, the rest half bodies.

    Example:
        >>> shares(12)
        {'head': 3, 'half': 5, 'full': 4}
    """
    head, full = count // 4, count // 3
    return {"head": head, "half": count - head - full, "full": full}
