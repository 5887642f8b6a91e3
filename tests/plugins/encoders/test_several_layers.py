"""Encoders that hand over several layers: which, in which order, and normalised or not."""

from __future__ import annotations

import pytest
import torch

from presence.errors import ConfigError
from presence.structures import Portrait
from presence_plugins.encoders.dinov2 import DINOv2Encoder
from presence_plugins.encoders.sapiens import SapiensEncoder

TEST = dict(weights="random", dtype="float32")


@pytest.fixture(scope="module")
def portrait():
    torch.manual_seed(4)
    return Portrait(torch.rand(1, 3, 56, 84), torch.ones(1, 1, 56, 84))


def block_outputs(encoder, portrait):
    """What went into the first block and out of each, seen from outside."""
    seen = []
    blocks = encoder.trunk.blocks
    hooks = [blocks[0].register_forward_pre_hook(lambda m, args: seen.append(args[0]))]
    hooks += [b.register_forward_hook(lambda m, args, out: seen.append(out)) for b in blocks]
    grid = encoder(portrait).grid
    for hook in hooks:
        hook.remove()
    return grid, seen


@torch.no_grad()
def test_sapiens_returns_raw_hidden_states_in_the_order_asked_for(portrait):
    encoder = SapiensEncoder(size="0.3b", depth=3, image_size=(32, 48), states=(3, 0, 1), **TEST)
    grid, seen = block_outputs(encoder, portrait)
    assert grid.shape == (1, encoder.out_channels, 2, 3) and encoder.out_channels == 3 * 1024
    for part, state in zip(grid.chunk(3, 1), (3, 0, 1), strict=True):
        assert torch.equal(part.flatten(2).transpose(1, 2), seen[state][:, 1:])  # class token off


@torch.no_grad()
def test_sapiens_runs_no_block_beyond_the_last_state(portrait):
    encoder = SapiensEncoder(size="0.3b", depth=3, image_size=32, states=(1,), **TEST)
    _, seen = block_outputs(encoder, portrait)
    assert len(seen) == 2


@torch.no_grad()
def test_dinov2_joins_normalised_blocks(portrait):
    encoder = DINOv2Encoder(
        size="s", registers=False, depth=3, joined=(0, 2), image_size=42, **TEST
    )
    grid, seen = block_outputs(encoder, portrait)
    assert encoder.out_channels == grid.shape[1] == 2 * 384
    for part, state in zip(grid.chunk(2, 1), (1, 3), strict=True):
        expected = encoder.trunk.norm(seen[state])[:, 1:]
        torch.testing.assert_close(part.flatten(2).transpose(1, 2), expected)


def test_layers_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match=r"states=\[4\] should lie within 0..3"):
        SapiensEncoder(size="0.3b", depth=3, image_size=32, states=(4,), **TEST)
    with pytest.raises(ConfigError, match="exclude each other"):
        DINOv2Encoder(size="s", depth=3, joined=(1,), fused=(1,), **TEST)
