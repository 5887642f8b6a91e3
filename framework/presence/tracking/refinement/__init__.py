"""The three refinement stages (paper, Appendix C): body, head, hands, over many frames."""

from presence.tracking.refinement.dense import DenseTarget
from presence.tracking.refinement.evidence import FrameEvidence, gather
from presence.tracking.refinement.posing import BatchRig, FrameStates
from presence.tracking.refinement.refiner import RefineOptions, Refiner
from presence.tracking.refinement.stages import BACK, FRONT, SIDE, Stage, stages_for

__all__ = [
    "BACK",
    "FRONT",
    "SIDE",
    "BatchRig",
    "DenseTarget",
    "FrameEvidence",
    "FrameStates",
    "RefineOptions",
    "Refiner",
    "Stage",
    "gather",
    "stages_for",
]
