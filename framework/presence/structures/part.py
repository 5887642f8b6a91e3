"""`PartEstimate`: how far one part of an estimate or a tracking may be used."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PartEstimate:
    """How far an estimate of one part may be used.

    Attributes:
        confidence: 0..1; what it is made of is the estimator's to say, in `reason`.
        valid: whether the part may be used at all.
        source: the estimator that found it, and by what, such as "hamer" or "pixie/hand".
        reason: why it is valid or not, one line.
    """

    confidence: float
    valid: bool
    source: str
    reason: str
