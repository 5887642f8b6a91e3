"""What happens around training iterations, as mmengine hooks."""

from presence.engine.hooks.average import AverageHook
from presence.engine.hooks.interrupt import InterruptHook
from presence.engine.hooks.pictures import PicturesHook
from presence.engine.hooks.progress import ProgressHook, TrainingDiverged
from presence.engine.hooks.save import SaveHook
from presence.engine.hooks.step import StepHook

__all__ = [
    "AverageHook",
    "InterruptHook",
    "PicturesHook",
    "ProgressHook",
    "SaveHook",
    "StepHook",
    "TrainingDiverged",
]
