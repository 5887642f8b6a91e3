"""The vision transformer: positions by each rule, attention written out, token order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from presence.models.vit import VisionTransformer, resize_positions


def _cubic(t):
    """Keys' kernel with a = -0.75, which torch's bicubic uses."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _weights(new, old, scale):
    """[new old]: how each new cell is made of old ones, edges repeated."""
    matrix = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) / scale - 0.5
        for k in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[i, min(max(k, 0), old - 1)] += _cubic(centre - k)
    return matrix


@pytest.mark.parametrize("rule", ["bicubic", "bicubic_offset"])
@pytest.mark.parametrize("new", [(9, 4), (3, 11)])
def test_positions_are_resized_as_written_out(rule, new):
    old, offset = (6, 5), 0.1 if rule == "bicubic_offset" else 0.0
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(1, 2 + 30, 3, generator=generator, dtype=torch.float64)
    got = resize_positions(positions, old, new, 2, rule).numpy()
    rows = _weights(new[0], old[0], (new[0] + offset) / old[0])
    columns = _weights(new[1], old[1], (new[1] + offset) / old[1])
    expected = np.einsum("ai,bj,ijc->abc", rows, columns, positions[0, 2:].numpy().reshape(6, 5, 3))
    np.testing.assert_allclose(got[0, :2], positions[0, :2], atol=1e-6)
    np.testing.assert_allclose(got[0, 2:], expected.reshape(-1, 3), atol=1e-5)


def test_antialiased_positions_average_when_they_shrink():
    stripes = torch.zeros(1, 36, 1)
    stripes[0, 0::2] = 1  # columns 1 0 1 0 1 0
    plain = resize_positions(stripes, (6, 6), (6, 2), 0, "bicubic")
    smooth = resize_positions(stripes, (6, 6), (6, 2), 0, "bicubic_antialias")
    assert (smooth - 0.5).abs().max() < 0.2 < (plain - 0.5).abs().max()


def test_the_learned_grid_is_used_as_it_is():
    positions = torch.randn(1, 17, 4)
    assert resize_positions(positions, (4, 4), (4, 4), 1, "bicubic_offset") is positions


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(registers=3, layer_scale=True, mlp="swiglu"),
        dict(class_token=False, patch_padding=2),
    ],
)
def test_one_block_equals_its_formula_in_float64(options):
    torch.manual_seed(0)
    net = VisionTransformer(16, 1, 2, patch=8, grid=(4, 3), **options).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p), alpha=0.2)
    images = torch.randn(2, 3, 32, 24, dtype=torch.float64)
    with torch.no_grad():
        (got,) = net.tokens(images, [0])
        expected = _one_block(net, images)
    assert got.shape == (2, 12 + net.prefix, 16)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def _norm(x, layer):
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return centred / spread * layer.weight + layer.bias


def _one_block(net, images):
    pad = net.patch.padding[0]
    padded = torch.nn.functional.pad(images, [pad] * 4)
    patches = [
        padded[:, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].flatten(1)
        for i in range(4)
        for j in range(3)
    ]
    x = torch.stack(patches, 1) @ net.patch.weight.flatten(1).T + net.patch.bias
    position = net.position
    if net.class_token is not None:
        x = torch.cat([net.class_token.expand(2, -1, -1), x], 1)
    x = x + position
    if net.registers is not None:
        x = torch.cat([x[:, :1], net.registers.expand(2, -1, -1), x[:, 1:]], 1)
    block = net.blocks[0]
    q, k, v = (
        _norm(x, block.norm1) @ block.attention.qkv.weight.T + block.attention.qkv.bias
    ).chunk(3, -1)
    mixed = []
    for head in (slice(0, 8), slice(8, 16)):
        weights = (q[..., head] @ k[..., head].mT / math.sqrt(8)).softmax(-1)
        mixed.append(weights @ v[..., head])
    change = torch.cat(mixed, -1) @ block.attention.out.weight.T + block.attention.out.bias
    x = x + change * (1 if block.scale1 is None else block.scale1)
    y = _norm(x, block.norm2)
    if isinstance(block.mlp, torch.nn.Sequential):
        hidden = y @ block.mlp[0].weight.T + block.mlp[0].bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        change = hidden @ block.mlp[2].weight.T + block.mlp[2].bias
    else:
        both = y @ block.mlp.gate_and_value.weight.T + block.mlp.gate_and_value.bias
        gate, value = both.chunk(2, -1)
        change = (gate / (1 + (-gate).exp()) * value) @ block.mlp.out.weight.T + block.mlp.out.bias
    return x + change * (1 if block.scale2 is None else block.scale2)


def test_maps_of_several_layers_stop_early_and_are_laid_out_row_by_row():
    torch.manual_seed(0)
    net = VisionTransformer(8, 4, 2, patch=4, grid=(3, 3), registers=1).eval()
    images = torch.randn(1, 3, 8, 20)
    with torch.no_grad():
        first, second = net.maps(images, [0, 2])
        tokens = net.norm(net.tokens(images, [2])[0])
        net.blocks[3] = None  # never reached
        again = net.maps(images, [2])[0]
    assert first.shape == second.shape == (1, 8, 2, 5)
    assert torch.equal(second[0, :, 1, 3], tokens[0, 2 + 1 * 5 + 3])
    assert torch.equal(again, second)


@pytest.mark.parametrize("layers", [[], [1, 0], [0, 0], [0, 4], [-1]])
def test_wrong_layers_are_refused(layers):
    net = VisionTransformer(8, 4, 2, patch=4, grid=(3, 3))
    with pytest.raises(ValueError, match="should ascend within 0..3"):
        net.tokens(torch.zeros(1, 3, 8, 8), layers)
