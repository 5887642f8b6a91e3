"""The training objective, term by term (paper A.2)."""

from presence.losses.reconstruction import ReconstructionLoss, over_background
from presence.losses.regularizers import (
    HandConsistencyLoss,
    IsotropyLoss,
    OffsetHingeLoss,
    OffsetLoss,
    OpacityLoss,
    Regularizer,
    ScaleLoss,
)

__all__ = [
    "HandConsistencyLoss",
    "IsotropyLoss",
    "OffsetHingeLoss",
    "OffsetLoss",
    "OpacityLoss",
    "ReconstructionLoss",
    "Regularizer",
    "ScaleLoss",
    "over_background",
]
