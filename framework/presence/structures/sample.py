"""Training samples: a reference portrait and a target view of the same person."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from presence.structures.base import TensorStruct, tensor
from presence.structures.body import BodyParams
from presence.structures.camera import Camera
from presence.structures.image import Portrait


@dataclasses.dataclass(frozen=True, eq=False)
class View(TensorStruct):
    """One picture of a person with known geometry.

    Attributes:
        portrait: the picture and its mask.
        body: the person's parameters in it.
        camera: its camera.
    """

    portrait: Portrait
    body: BodyParams
    camera: Camera


@dataclasses.dataclass(frozen=True, eq=False)
class TrainSample(TensorStruct):
    """A reference-target pair (paper A.2): the avatar is built from one and drawn in both.

    Attributes:
        reference: the view that the avatar is reconstructed from.
        target: a second view, which the avatar must match after reposing.
        subject: [...] int64, the person's number in the data set (also its seed).
    """

    reference: View
    target: View
    subject: Tensor = tensor("")
