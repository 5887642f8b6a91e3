"""Renders Gaussians on CUDA devices through gsplat's kernels."""

from __future__ import annotations

import functools
import subprocess

from torch import Tensor

from presence.errors import PresenceError
from presence.registry import RENDERERS
from presence.rendering.base import BatchedRenderer
from presence.structures import Gaussians


@RENDERERS.register()
class GsplatRenderer(BatchedRenderer):
    """The whole batch in one call of `gsplat.rasterization`; see `BatchedRenderer`.

    Needs the package gsplat (Apache-2.0, extra `gpu`) and CUDA tensors. gsplat compiles its
    kernels with nvcc on first use, which takes a few minutes, and keeps the result.

    Ye et al., "gsplat: An Open-Source Library for Gaussian Splatting" (2024).
    """

    def render_batch(
        self,
        gaussians: Gaussians,
        K: Tensor,
        cam_from_world: Tensor,
        background: Tensor,
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Renders the batch at once; see `BatchedRenderer.render_batch`.

        Raises:
            ValueError: the tensors are not on a CUDA device.
            PresenceError: gsplat is missing or its kernels cannot be built; the text says why.
        """
        if gaussians.device.type != "cuda":
            raise ValueError(
                f"GsplatRenderer draws CUDA tensors, got {gaussians.device}; "
                "CPURenderer and AutoRenderer take any"
            )
        problem = gsplat_problem()
        if problem:
            raise PresenceError(f"gsplat cannot be used: {problem}")
        from gsplat import rasterization

        # gsplat draws C cameras for each set of Gaussians; here C = 1.
        drawn, alpha, _ = rasterization(
            means=gaussians.means.contiguous(),
            quats=gaussians.quaternions.contiguous(),
            scales=gaussians.scales.contiguous(),
            opacities=gaussians.opacities.contiguous(),
            colors=gaussians.colors.contiguous(),
            viewmats=cam_from_world[:, None].contiguous(),
            Ks=K[:, None].contiguous(),
            width=width,
            height=height,
            near_plane=self.near,
            eps2d=self.eps2d,
            packed=False,
            tile_size=16,
            render_mode="RGB+ED",
            rasterize_mode="classic",
        )
        drawn = drawn[:, 0].permute(0, 3, 1, 2)  # [B 4 H W]
        alpha = alpha[:, 0].permute(0, 3, 1, 2)  # [B 1 H W]
        rgb = drawn[:, :3] + (1.0 - alpha) * background[:, :, None, None]
        return rgb, alpha, drawn[:, 3:]


@functools.cache
def gsplat_problem() -> str | None:
    """Returns why gsplat's CUDA kernels cannot be used here, or None if they can.

    The first call may build them.
    """
    try:
        from gsplat.cuda import _backend
    except ImportError as error:
        return f"{error} (pip install presence3d[gpu])"
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"its CUDA kernels did not build: {reason}"
    if _backend._C is None:
        return "there is no CUDA toolkit (nvcc) to build its kernels"
    return None
