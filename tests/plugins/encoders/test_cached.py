"""The feature cache: hits, keys, bounds, damaged files."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.interfaces import Encoder
from presence.registry import ENCODERS
from presence.structures import ImageFeatures, Portrait
from presence_plugins.encoders.cached import CachedEncoder, FeatureStore, weight_digest


class Counting(Encoder):
    """Averages 8 x 8 squares and counts the pictures it sees."""

    out_channels = 3
    gain: Tensor

    def __init__(self, gain=1.0):
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain), persistent=False)
        self.seen = 0

    def forward(self, portrait):
        self.seen += portrait.batch_shape[0]
        cut_out = portrait.rgb * portrait.alpha
        return ImageFeatures(torch.nn.functional.avg_pool2d(cut_out, 8) * self.gain)


def _portraits(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.rand(batch, 3, 16, 24, generator=generator)
    return Portrait(rgb, torch.ones(batch, 1, 16, 24))


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_found_features_equal_computed_ones_and_are_not_computed_again(tmp_path, dtype, bits):
    inner = Counting()
    cached = CachedEncoder(inner, folder=str(tmp_path), dtype=dtype)
    portraits = _portraits()
    first = cached(portraits).grid
    assert inner.seen == 3
    again = cached(portraits[[2, 0]]).grid
    assert inner.seen == 3
    assert torch.equal(again, first[[2, 0]]) and again.dtype == torch.float32
    exact = Counting()(portraits).grid
    torch.testing.assert_close(first, exact, rtol=2.0**-bits, atol=0)
    assert not torch.equal(first, exact)


def test_only_new_portraits_are_encoded_and_order_is_kept(tmp_path):
    inner = Counting()
    cached = CachedEncoder(inner, folder=str(tmp_path))
    portraits = _portraits(4)
    cached(portraits[[1, 3]])
    assert inner.seen == 2
    grids = cached(portraits).grid
    assert inner.seen == 4
    torch.testing.assert_close(grids, Counting()(portraits).grid, rtol=1e-3, atol=0)


def test_another_process_finds_the_files(tmp_path):
    CachedEncoder(Counting(), folder=str(tmp_path))(_portraits())
    inner = Counting()
    CachedEncoder(inner, folder=str(tmp_path))(_portraits())
    assert inner.seen == 0


def test_the_key_depends_on_picture_mask_weights_and_options(tmp_path):
    portrait = _portraits(1)[0]
    base = CachedEncoder(Counting(), folder=str(tmp_path))
    bumped = portrait.rgb.clone()
    bumped[2, 15, 23] += 1e-3
    masked = portrait.alpha.clone()
    masked[0, 0, 0] = 0
    sapiens = dict(type="SapiensEncoder", size="0.3b", depth=1, weights="random", image_size=32)
    keys = [
        base.key(portrait),
        base.key(portrait.replace(rgb=bumped)),
        base.key(portrait.replace(alpha=masked)),
        base.key(portrait.map(lambda v: v.reshape(v.shape[0], 24, 16))),
        CachedEncoder(Counting(2.0), folder=str(tmp_path)).key(portrait),
        CachedEncoder(Counting(), folder=str(tmp_path), dtype="bfloat16").key(portrait),
        CachedEncoder(sapiens, folder=str(tmp_path)).key(portrait),
        CachedEncoder({**sapiens, "image_size": 48}, folder=str(tmp_path)).key(portrait),
        CachedEncoder({**sapiens, "background": "keep"}, folder=str(tmp_path)).key(portrait),
        CachedEncoder({**sapiens, "dtype": "float32"}, folder=str(tmp_path)).key(portrait),
    ]
    assert len(set(keys)) == len(keys)
    assert base.key(portrait) == CachedEncoder(Counting(), folder="elsewhere").key(portrait)


def test_a_trained_encoder_is_refused():
    trained = dict(type="CompactEncoder", widths=(8, 8, 8), heads=2, out_channels=4)
    with pytest.raises(ConfigError, match="needs a frozen encoder, but CompactEncoder trains"):
        ENCODERS.build(dict(type="CachedEncoder", encoder=trained, folder="unused"))


def test_features_beyond_float16_are_refused_with_advice(tmp_path):
    with pytest.raises(ConfigError, match="use dtype='bfloat16'"):
        CachedEncoder(Counting(1e6), folder=str(tmp_path))(_portraits())
    wide = CachedEncoder(Counting(1e6), folder=str(tmp_path), dtype="bfloat16")
    assert wide(_portraits()).grid.max() > 65504


def test_a_damaged_file_is_computed_again(tmp_path):
    inner = Counting()
    cached = CachedEncoder(inner, folder=str(tmp_path))
    expected = cached(_portraits(1)).grid
    (file,) = tmp_path.glob("*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert torch.equal(cached(_portraits(1)).grid, expected)
    assert inner.seen == 2
    assert torch.equal(
        CachedEncoder(Counting(), folder=str(tmp_path))(_portraits(1)).grid, expected
    )


def test_the_folder_stays_within_its_bound_and_loses_the_least_used(tmp_path):
    value = torch.zeros(250, dtype=torch.float16)
    store = FeatureStore(tmp_path, max_bytes=10_000_000)
    names = [f"{number:02d}key" for number in range(10)]
    for age, name in enumerate(names):
        store.put(name, value)
        os.utime(tmp_path / name[:2] / f"{name}.safetensors", (age, age))
    size = next(tmp_path.glob("*/*.safetensors")).stat().st_size
    assert store.get(names[0]) is not None  # used now, so younger than all the others
    store = FeatureStore(tmp_path, max_bytes=int(10.5 * size))
    store.put("99key", value)  # eleven files: down to nine
    left = {path.stem for path in tmp_path.glob("*/*.safetensors")}
    assert left == {names[0], "99key", *names[3:]}


def test_the_weight_digest_sees_one_changed_tensor():
    a, b = Counting(1.0), Counting(1.0)
    assert weight_digest(a) == weight_digest(b)
    b.gain += 1e-3
    assert weight_digest(a) != weight_digest(b)


def test_nothing_is_saved_with_checkpoints(tmp_path):
    inner = dict(type="DINOv2Encoder", size="s", depth=1, weights="random", image_size=28)
    cached = ENCODERS.build(dict(type="CachedEncoder", encoder=inner, folder=str(tmp_path)))
    assert not cached.state_dict() and not list(cached.parameters())
    cached.train()
    assert not cached.encoder.trunk.training
