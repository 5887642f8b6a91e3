"""`Scene`: a batch of people dressed, posed and before their cameras, ready to be looked at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor

from presence.structures import Camera
from presence.synthesis.anatomy import Anatomy
from presence.synthesis.glyphs import Glyphs
from presence.synthesis.noise import NoiseVolume
from presence.synthesis.shells import Shells

if TYPE_CHECKING:
    from presence.synthesis.people import Recipe


@dataclasses.dataclass(frozen=True)
class Scene:
    """B subjects in n views each, with the tools that every step of rendering shares.

    Attributes:
        recipe: [B] what was drawn.
        shells: [B] displacements and cuts.
        layers: [B n l V 3] posed vertices, metres.
        normals: [B n l V 3] unit.
        turns: [B n V 3 3] skinning rotations.
        cut: [B l V] vertices that are left out, with their faces.
        faces: [F 3] of each layer.
        camera: [B n].
        anatomy: of the body.
        noise: solid noise.
        glyphs: for lettering.
    """

    recipe: Recipe
    shells: Shells
    layers: Tensor
    normals: Tensor
    turns: Tensor
    cut: Tensor
    faces: list[Tensor]
    camera: Camera
    anatomy: Anatomy
    noise: NoiseVolume
    glyphs: Glyphs

    @property
    def views(self) -> int:
        """Pictures of each subject, n."""
        return self.layers.shape[1]
