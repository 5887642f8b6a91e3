"""Picture metrics and the protocol by which every method is measured alike."""

from presence.evaluation.compare import Comparison, compare_views, composite, erode, union_mask
from presence.evaluation.evaluator import Evaluation, evaluate
from presence.evaluation.identity import IdentitySimilarity
from presence.evaluation.landmarks import LandmarkAgreement
from presence.evaluation.lpips_net import get_lpips
from presence.evaluation.metrics import (
    LPIPS,
    PSNR,
    SSIM,
    PSNRInside,
    PSNROver,
    psnr,
    ssim,
    ssim_map,
)

__all__ = [
    "LPIPS",
    "PSNR",
    "PSNRInside",
    "PSNROver",
    "SSIM",
    "Comparison",
    "Evaluation",
    "IdentitySimilarity",
    "LandmarkAgreement",
    "compare_views",
    "composite",
    "erode",
    "evaluate",
    "get_lpips",
    "psnr",
    "ssim",
    "ssim_map",
    "union_mask",
]
