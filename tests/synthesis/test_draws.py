"""Named draws against a plain-integer splitmix64, and their distributions against theory."""

import zlib

import numpy as np
import pytest

from presence.synthesis.draws import Draws, splitmix64

MASK = (1 << 64) - 1


def reference_splitmix(value):
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_splitmix_is_the_published_generator():
    # First outputs of the published generator for state 0 and for state 1234567.
    assert int(splitmix64(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF
    assert int(splitmix64(np.array([1234567], np.uint64))[0]) == 6457827717110365317


def test_uniform_equals_plain_integers():
    seeds, size = [0, 5, 2**40], 3
    drawn = Draws(seeds, "a.").uniform("b", size=size)
    tag = reference_splitmix(zlib.crc32(b"a.b"))
    for row, seed in enumerate(seeds):
        for k in range(size):
            key = (reference_splitmix(seed) + ((tag + k * 0xD1342543DE82EF95) & MASK)) & MASK
            assert drawn[row, k] == (reference_splitmix(key) >> 11) * 2.0**-53


def test_a_draw_depends_on_seed_and_name_alone():
    alone = Draws([9])
    value = alone.uniform("height")
    crowd = Draws([4, 9, 17])
    crowd.uniform("something new")
    crowd.scoped("x").normal("else", size=5)
    assert crowd.uniform("height")[1] == value[0]
    assert alone.uniform("weight")[0] != value[0]
    assert alone.scoped("s").uniform("height")[0] != value[0]


def test_distributions():
    draws = Draws(range(20000))
    unit = draws.uniform("u")
    assert unit.mean() == pytest.approx(0.5, abs=0.01)
    assert unit.var() == pytest.approx(1 / 12, abs=0.003)
    normal = draws.normal("n", 2.0, limit=10.0)
    assert normal.std() == pytest.approx(2.0, rel=0.03)
    assert (np.abs(normal) < 2.0).mean() == pytest.approx(0.6827, abs=0.015)
    picked = np.bincount(draws.choice("c", (1.0, 3.0, 4.0)), minlength=3) / 20000
    assert picked == pytest.approx([0.125, 0.375, 0.5], abs=0.015)
    mixed = draws.mixture("m", ((0.25, 0.0, 1.0), (0.75, 5.0, 6.0)))
    assert (mixed > 3).mean() == pytest.approx(0.75, abs=0.015)
    assert ((mixed < 1) | (mixed > 5)).all()
    columns = draws.uniform("two", size=2)
    assert abs(np.corrcoef(columns.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(unit[:-1], unit[1:])[0, 1]) < 0.03


def test_limits_for_each_subject():
    low = np.array([0.0, 10.0])
    drawn = Draws([1, 2]).uniform("x", low, low + 1.0, size=4)
    assert (drawn[0] < 1).all() and (drawn[1] >= 10).all()
