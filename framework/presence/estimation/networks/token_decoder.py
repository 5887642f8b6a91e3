"""The token decoder that HaMeR and Multi-HMR share: queries that attend image tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.models.weight_files import renamed


class TokenDecoder(nn.Module):
    """Query tokens to query tokens: self-attention, attention to a context, MLP; all pre-norm.

    Source: the decoder of 4D-Humans (Goel et al., 2023). Norms have torch's eps of 1e-5.

    Args:
        inputs: channels of a query.
        context: channels of a context token.
        depth: blocks.
        head_width: channels of each of the 8 heads.
        width: channels inside.
    """

    def __init__(
        self, inputs: int, context: int, *, depth: int, head_width: int, width: int = 1024
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(inputs, width)
        self.position = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            _Block(width, context, heads=8, head_width=head_width) for _ in range(depth)
        )

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Decodes queries [B P I] with a context [B N C] to [B P width]."""
        x = self.embedding(queries) + self.position
        for block in self.blocks:
            x = block(x, context)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, context: int, *, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(context, 2 * inner, bias=False)
        self.cross_out = nn.Linear(inner, width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Transforms tokens x [B T W] that also look at the context [B N C]."""
        query, key, value = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(self._attend(query, key, value))
        key, value = self.key_value(context).chunk(2, -1)
        x = x + self.cross_out(self._attend(self.query(self.norm2(x)), key, value))
        return x + self.mlp(self.norm3(x))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends in heads: queries [B T H*D], keys and values [B N H*D] to [B T H*D]."""
        split = [t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value)]
        return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


def official_name(name: str) -> str:
    """Returns the released files' name of a weight of `TokenDecoder`, below its own root.

    Example:
        >>> official_name("blocks.2.query.weight")
        'transformer.layers.2.1.fn.to_q.weight'
    """
    return renamed(name, _RENAMES)


_RENAMES = (
    (r"^embedding\.", "to_token_embedding."),
    (r"^position$", "pos_embedding"),
    (r"^blocks\.", "transformer.layers."),
    (r"\.norm1\.", ".0.norm."),
    (r"\.norm2\.", ".1.norm."),
    (r"\.norm3\.", ".2.norm."),
    (r"\.qkv\.", ".0.fn.to_qkv."),
    (r"\.out\.", ".0.fn.to_out.0."),
    (r"\.query\.", ".1.fn.to_q."),
    (r"\.key_value\.", ".1.fn.to_kv."),
    (r"\.cross_out\.", ".1.fn.to_out.0."),
    (r"\.mlp\.0\.", ".2.fn.net.0."),
    (r"\.mlp\.2\.", ".2.fn.net.3."),
)
