"""From what the detector saw to one start: which estimators, fused how, refined from there."""
