"""FLAME and MANO beside an SMPL-X body: where their vertices are seen, as the stages take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.assets import find_asset
from presence.bodies import Body
from presence.bodies.flame import Flame, load_flame
from presence.bodies.mano import Mano, load_mano
from presence.bodies.pickles import load_pickle
from presence.errors import AssetError
from presence.estimation.networks.rotations import mirrored
from presence.structures import PartModel
from presence.tracking.fusing.conversion import space_of
from presence.tracking.refinement.dense import DenseTarget
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack

HANDS = ("left_hand", "right_hand")
HEAD_STAGE = "head stage: "
"""How notes on whose head the head stage worked on begin."""
_FLAME_IDS, _MANO_IDS = "SMPL-X__FLAME_vertex_ids.npy", "MANO_SMPLX_vertex_ids.pkl"


@dataclasses.dataclass(frozen=True)
class DenseModels:
    """The part models whose files and correspondences are there.

    Attributes:
        flame: None without its file or correspondences.
        mano: the same.
        vertices: part ("face", "left_hand", "right_hand") to the body's vertex [V] of each
            vertex of the part's model.
        no_flame: why FLAME cannot stand in for the body's head; empty where it can.
    """

    flame: Flame | None
    mano: Mano | None
    vertices: Mapping[str, Tensor]
    no_flame: str = dataclasses.field(default="", compare=False)

    @classmethod
    def find(cls, body: Body) -> DenseModels:
        """Loads what configs/assets.yaml finds; nothing for bodies that are not SMPL-X.

        Raises:
            AssetError: a file is there and cannot be read.
        """
        folder = find_asset("correspondences").find()
        if space_of(body) == "annyx":
            return cls(None, None, {}, f"FLAME does not correspond to {body.name}'s head")
        vertices = {} if folder is None else correspondences(folder.parent)
        flame, mano = find_asset("flame").find(), find_asset("mano").find()
        missing = "" if flame else "there is no FLAME file"
        if "face" not in vertices:
            missing = f"there is no {_FLAME_IDS}"
        return cls(
            load_flame(flame) if flame and "face" in vertices else None,
            load_mano(mano) if mano and HANDS[0] in vertices else None,
            vertices,
            missing,
        )

    def head(
        self,
        body: Body,
        models: Sequence[Mapping[str, PartModel]],
        scale: float,
        shape: Tensor | None = None,
    ) -> tuple[tuple[FlameHead, FlameTrack] | None, str]:
        """Returns what the FLAME stage of T frames takes, None without it, and the reason.

        Args:
            body: whose head FLAME's stands in for.
            models: [T] part to what its own estimator found, px of the whole picture.
            scale: of the pixels wanted over those of the picture.
            shape: [S] FLAME's of the person where it is known, which then stays.
        """
        own = f"{HEAD_STAGE}the body's own head and the face points"
        if self.flame is None:
            return None, f"{own} ({self.no_flame})"
        faces = [found.get("face") for found in models]
        if all(face is None for face in faces):
            return None, f"{own} (FLAME tracking gave no head: zero FLAME)"
        head = FlameHead(body, self.flame, self.vertices["face"])
        track = FlameTrack.of_heads(self.flame, faces, scale, shape)
        note = f"{len(head.ids)} vertices of FLAME in the place of the body's, by an affine fit"
        return (head, track), HEAD_STAGE + note

    def targets(self, models: Sequence[Mapping[str, PartModel]], scale: float) -> list[DenseTarget]:
        """Returns where the hands' vertices are seen; frames without a hand weigh nothing.

        Args:
            models: [T] part to what its own estimator found, px of the whole picture.
            scale: of the pixels wanted over those of the picture.
        """
        found: list[DenseTarget] = []
        if self.mano is None:
            return found
        for part in HANDS:
            hands = [frame.get(part) for frame in models]
            if all(hand is None for hand in hands):
                continue
            vertices = self.vertices[part]
            pixels = torch.zeros(len(hands), len(vertices), 2)
            for number, hand in enumerate(hands):
                if hand is not None:
                    pixels[number] = hand_pixels(self.mano, hand) * scale
            valid = torch.tensor([float(hand is not None) for hand in hands])
            found.append(DenseTarget(pixels, valid, vertices=vertices, stage="hands"))
        return found


def hand_pixels(mano: Mano, hand: PartModel) -> Tensor:
    """Returns where a hand's vertices are seen, [V 2] px.

    Args:
        mano: the right hand's model; a left hand is posed mirrored and mirrored back.
        hand: unbatched.
    """
    left = hand.model == "mano_left"
    fingers = mirrored(hand.joints) if left else hand.joints
    points, wrist = mano(hand.shape, fingers)
    if left:
        flip = points.new_tensor([-1.0, 1.0, 1.0])
        points, wrist = points * flip, wrist * flip
    cam = hand.place(points, wrist)
    return (cam @ hand.K.mT)[:, :2] / cam[:, 2:].clamp_min(1e-3)


def correspondences(folder: Path) -> dict[str, Tensor]:
    """Reads the vertex numbers of FLAME and MANO on SMPL-X, as far as the files are there.

    Raises:
        AssetError: a file is not what its name says.
    """
    vertices: dict[str, Tensor] = {}
    try:
        if (folder / _FLAME_IDS).is_file():
            numbers = np.load(folder / _FLAME_IDS, allow_pickle=False)
            vertices["face"] = torch.from_numpy(numbers.astype(np.int64))
        if (folder / _MANO_IDS).is_file():
            table = load_pickle(folder / _MANO_IDS)
            for side in HANDS:
                vertices[side] = torch.from_numpy(np.asarray(table[side]).astype(np.int64))
    except (KeyError, ValueError, TypeError) as error:
        raise AssetError(f"{folder}: the correspondences cannot be read ({error})") from error
    return vertices
