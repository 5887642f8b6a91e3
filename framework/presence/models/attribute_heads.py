"""Texel features to raw Gaussian attributes (paper A.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from presence.models.layers import two_layer_mlp
from presence.realtime.heads_training import can_train_fused, train_heads


class AttributeHeads(nn.Module):
    """One two-layer MLP for each Gaussian attribute (paper A.1).

    Args:
        inputs: channels a texel comes with.
        hidden: hidden width of each MLP.
        outputs: attribute name to channels.
        init_scale: factor on the last layers' weights at the start; with 0 all outputs are 0.
    """

    OUTPUTS: ClassVar[dict[str, int]] = {
        "color": 3,
        "opacity": 1,
        "offset": 3,
        "rotation": 4,
        "scale": 3,
    }

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        outputs: Mapping[str, int] | None = None,
        init_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.mlps = nn.ModuleDict(
            {
                name: two_layer_mlp(inputs, hidden, channels, init_scale=init_scale)
                for name, channels in (outputs or self.OUTPUTS).items()
            }
        )

    def forward(self, texels: Tensor) -> dict[str, Tensor]:
        """Maps texels [B N C] to raw attributes [B N ...].

        Without gradients, on a CPU, texels go through in pieces whose hidden layer stays in cache;
        with gradients, on a GPU under autocast, hidden layers are not stored either.
        """
        if torch.is_grad_enabled() and can_train_fused(self.mlps, texels):
            return train_heads(self.mlps, texels)
        if torch.is_grad_enabled() or texels.is_cuda:
            return {name: mlp(texels) for name, mlp in self.mlps.items()}
        pieces = texels.split(_CHUNK, dim=1)
        return {
            name: torch.cat([mlp(piece) for piece in pieces], 1) for name, mlp in self.mlps.items()
        }


# Texels at a time: 256 hidden channels of 2,048 texels are 2 MB.
_CHUNK = 2048
