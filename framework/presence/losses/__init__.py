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
    SmoothnessLoss,
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
    "SmoothnessLoss",
    "over_background",
]
