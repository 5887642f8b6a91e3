"""Picture metrics and the protocol by which every method is measured alike."""

from presence.evaluation.compare import Comparison, compare_views, composite, union_mask
from presence.evaluation.evaluator import Evaluation, evaluate
from presence.evaluation.lpips_net import get_lpips
from presence.evaluation.metrics import LPIPS, PSNR, SSIM, psnr, ssim, ssim_map

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "Comparison",
    "Evaluation",
    "compare_views",
    "composite",
    "evaluate",
    "get_lpips",
    "psnr",
    "ssim",
    "ssim_map",
    "union_mask",
]
