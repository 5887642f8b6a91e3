"""Random masking of UV features: what a decoder must learn to fill (paper A.1)."""

from __future__ import annotations

import torch

from presence.structures import UVFeatures


def drop_cells(features: UVFeatures, most: float) -> UVFeatures:
    """Hides a random share of the cells, drawn from U(0, `most`) for every sample.

    Args:
        features: [B] maps; texels of a hidden core cell are hidden with it.
        most: largest share.
    """
    batch, _, size, _ = features.core.shape
    device, patch = features.core.device, features.texels.shape[-1] // size
    share = most * torch.rand(batch, 1, 1, 1, device=device)
    core = (torch.rand(batch, 1, size, size, device=device) >= share).float()
    shell = (torch.rand(features.shell_seen.shape, device=device) >= share).float()
    texels = core.repeat_interleave(patch, -1).repeat_interleave(patch, -2)
    return features.replace(
        core=features.core * core,
        core_seen=features.core_seen * core,
        shell=features.shell * shell,
        shell_seen=features.shell_seen * shell,
        texels=features.texels * texels,
        texels_seen=features.texels_seen * texels,
    )
