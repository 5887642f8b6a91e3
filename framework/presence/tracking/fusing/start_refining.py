"""The refinement stages on one picture's fused start."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from presence.bodies import Body
from presence.structures import PartModel, Portrait, Tracking
from presence.tracking.detection import Detection
from presence.tracking.fusing.conversion import estimate_of, tracking_of
from presence.tracking.fusing.dense_models import DenseModels
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.refinement import FrameStates, RefineOptions, Refiner, gather
from presence.tracking.refinement.head_tie import HeadTie
from presence.tracking.refinement.posing import fit_camera, seen_by_camera

FAR = RefineOptions(near=0.4, near_place=0.3, robust=10.0, steps=2.0)
"""Ours: a network's start is farther off than that of a fit, so more may move, for longer."""


class StartRefiner:
    """Refines a start in three stages: body, head, hands (paper, Eq. 19-21).

    Args:
        body: the model, on the CPU.
        landmarks: where the detector's landmarks lie on it.
        options: settings of the stages, `FAR` if None.
        device: where they run.
        regimes: whose thresholds tell an upper body; None for the map that ships.
    """

    def __init__(
        self,
        body: Body,
        landmarks: LandmarkMap,
        options: RefineOptions | None = None,
        device: str = "cpu",
        regimes: RegimeMap | None = None,
    ) -> None:
        self.body, self.dense, self.regimes = body, DenseModels.find(body), regimes
        self.refiner = Refiner(body, landmarks, options or FAR, device)

    def __call__(
        self,
        portrait: Portrait,
        start: Tracking,
        detection: Detection,
        models: Mapping[str, PartModel] | None = None,
        *,
        betas: bool = True,
        flame_shape: Tensor | None = None,
    ) -> Tracking:
        """Returns the refined tracking; what is said of the start stays.

        On an SMPL-X body, with a FLAME file and FLAME's view of the head among the models, the
        shape is tied to FLAME's, where it may change, and the head stage ends on FLAME's head,
        which the tracking has as offsets; a note says so, or why not.

        Args:
            portrait: with the person's alpha.
            start: in the portrait's pixels, its principal point in the middle.
            detection: of the portrait or a smaller copy.
            models: part to what its own estimator found, for the dense terms; px of the portrait.
            betas: whether the shape may change.
            flame_shape: [S] FLAME's of the person where it is known, which then stays.
        """
        width, height = detection.width, detection.height
        camera = start.camera.resized(width, height)
        states = FrameStates.from_params(seen_by_camera(self.body, start).unsqueeze())
        mask = torch.nn.functional.interpolate(
            portrait.alpha[None].cpu(), (height, width), mode="bilinear", antialias=True
        )[0, 0]
        evidence = gather([detection], [mask.numpy()], width, height, self.regimes)
        scale, focal = width / start.camera.width, float(camera.K[0, 0])
        targets = self.dense.targets([models or {}], scale)
        flame, note = self.dense.head(self.body, [models or {}], scale, flame_shape)
        tie = HeadTie(flame[0], flame[1].shape) if betas and flame is not None else None
        refined = self.refiner(
            states, evidence, focal, betas=betas, dense=targets, flame=flame, tie=tie
        )
        found = refined.params()[0]
        seen = Tracking(found, fit_camera(start.camera.K, *_size(start)))
        moved = tracking_of(estimate_of(seen, self.body, {}, "refined"), self.body)
        notes = (*start.notes, note)
        return start.replace(body=moved.body, camera=moved.camera, notes=notes)


def _size(tracking: Tracking) -> tuple[int, int]:
    return tracking.camera.width, tracking.camera.height
