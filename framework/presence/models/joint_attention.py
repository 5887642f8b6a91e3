"""Transformer blocks in which points and picture tokens attend to all of both (LHM, LAM).

Both streams have weights of their own and meet in one attention, as in Stable Diffusion 3
(Esser et al., 2024). Numbers follow the released networks; see docs/baselines.md.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import ConfigError

EPS = 1e-6  # of norms without weights and of query and key norms


class JointAttention(nn.Module):
    """Attention over two streams with separate projections and normalised queries and keys.

    Args:
        width: channels of a token.
        heads: attention heads.
        keep_context: whether the second stream is wanted too. Its query weights are kept without
            being trained where it is not: released files hold them.
    """

    def __init__(self, width: int, heads: int, *, keep_context: bool = True) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"heads={heads} must divide width={width}")
        self.heads, self.keep_context = heads, keep_context
        for stream in ("", "context_"):
            for name in ("q", "k", "v"):
                setattr(self, stream + name, nn.Linear(width, width))
            for name in ("norm_q", "norm_k"):
                setattr(self, stream + name, RMSNorm(width // heads, eps=EPS))
        self.out = nn.Linear(width, width)
        self.context_out = nn.Linear(width, width) if keep_context else None
        if not keep_context:
            self.get_submodule("context_q").requires_grad_(False)
            self.get_submodule("context_norm_q").requires_grad_(False)

    def forward(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor | None]:
        """Attends among points [B N C] and context [B T C]; returns both, a dropped one as None."""
        key = torch.cat(
            [
                self._split("k", points, "norm_k"),
                self._split("context_k", context, "context_norm_k"),
            ],
            2,
        )
        value = torch.cat([self._split("v", points), self._split("context_v", context)], 2)
        query = self._split("q", points, "norm_q")
        if self.context_out is None:
            return self.out(_attend(query, key, value)), None
        query = torch.cat([query, self._split("context_q", context, "context_norm_q")], 2)
        mixed = _attend(query, key, value)
        count = points.shape[1]
        return self.out(mixed[:, :count]), self.context_out(mixed[:, count:])

    def _split(self, name: str, tokens: Tensor, norm: str | None = None) -> Tensor:
        """Projects tokens [B T C] to heads [B H T C/H]."""
        split = self.get_submodule(name)(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split if norm is None else self.get_submodule(norm)(split)


class RMSNorm(nn.RMSNorm):
    """torch's, with the weight in the input's type: autocast would leave the fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last axis of x [... C]."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class JointBlock(nn.Module):
    """LAM's block: norm, joint attention, residual; norm, MLP, residual; nothing modulates it.

    Args:
        width: channels of a token.
        heads: attention heads.
        last: the context stream ends here.
    """

    def __init__(self, width: int, heads: int, *, last: bool = False) -> None:
        super().__init__()
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)  # eps 1e-5
        self.attention = JointAttention(width, heads, keep_context=not last)
        self.mlp = feed_forward(width)
        self.context_mlp = None if last else feed_forward(width)

    def forward(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Transforms points [B N C] and context [B T C]."""
        change, context_change = self.attention(self.norm(points), self.context_norm(context))
        points = points + change
        points = points + self.mlp(_plain_norm(points))
        if self.context_mlp is None:
            return points, context
        context = context + context_change
        return points, context + self.context_mlp(_plain_norm(context))


class ModulatedJointBlock(nn.Module):
    """LHM's block: joint attention and MLPs, shifted, scaled and gated by a global vector.

    The modulation starts at zero (AdaLN-Zero; Peebles and Xie, 2023).

    Args:
        width: channels of a token.
        heads: attention heads.
        last: the context stream ends here.
    """

    def __init__(self, width: int, heads: int, *, last: bool = False) -> None:
        super().__init__()
        self.modulation = _zero_linear(width, 6 * width)
        self.context_modulation = _zero_linear(width, (2 if last else 6) * width)
        self.attention = JointAttention(width, heads, keep_context=not last)
        self.mlp = feed_forward(width)
        self.context_mlp = None if last else feed_forward(width)

    def forward(self, points: Tensor, context: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Transforms points [B N C] and context [B T C], modulated by a vector [B 1 C]."""
        vector = F.silu(vector)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(vector).chunk(6, -1)
        own = self.context_modulation(vector)
        if self.context_mlp is None:  # scale comes first here, unlike in the other blocks
            context_scale, context_shift = own.chunk(2, -1)
        else:
            context_shift, context_scale, context_gate, *context_mlp = own.chunk(6, -1)
        change, context_change = self.attention(
            _modulate(points, shift, scale), _modulate(context, context_shift, context_scale)
        )
        points = points + gate * change
        points = points + mlp_gate * self.mlp(_modulate(points, mlp_shift, mlp_scale))
        if self.context_mlp is None:
            return points, context
        context = context + context_gate * context_change
        context_change = self.context_mlp(_modulate(context, context_mlp[0], context_mlp[1]))
        # Twice, once with and once without its gate: the released weights were trained so.
        return points, context + context_mlp[2] * context_change + context_change


def feed_forward(width: int) -> nn.Sequential:
    """Returns a two-layer MLP of four times the width; GELU in its tanh approximation."""
    return nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
    )


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def _plain_norm(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=EPS)


def _modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return _plain_norm(tokens) * (1 + scale) + shift


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
