"""Directional pairs, view labels, and the split by identity."""

import itertools
import math
import subprocess
import sys

import pytest

from presence.datasets import LABELS, allowed_pairs, in_share, label_of_yaw, split_of
from presence.errors import InputError

# Written out from the paper (3.2): who may teach whom among generated views.
TEACHES = {("front", "front"), ("front", "side"), ("front", "back"), ("side", "back")}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_combination_of_labels_follows_the_table(count):
    for labels in itertools.product(LABELS, repeat=count):
        expected = {
            (i, j)
            for i in range(count)
            for j in range(count)
            if i != j and (labels[i], labels[j]) in TEACHES
        }
        assert set(allowed_pairs(labels)) == expected


def test_rendered_views_pair_freely_whatever_they_are_called():
    assert len(allowed_pairs(["a", "b", "back", "front"], "free")) == 12


def test_a_misspelt_label_is_named():
    with pytest.raises(InputError, match="unknown view label `bakc`. Did you mean `back`?"):
        allowed_pairs(["front", "bakc"])


def test_labels_from_the_cameras_turn():
    seen = {angle: label_of_yaw(math.radians(angle)) for angle in (0, 44, -46, 134, -136, 180, 350)}
    assert list(seen.values()) == ["front", "front", "side", "side", "back", "back", "front"]


def test_one_in_twenty_validates():
    splits = [split_of(f"person {k}") for k in range(20_000)]
    assert 0.045 < splits.count("val") / len(splits) < 0.055  # 3.2 standard deviations


def test_splits_are_the_same_in_another_process():
    """Python's own `hash` of a string would not be."""
    code = (
        "from presence.datasets import split_of;"
        "print(*[k for k in range(300) if split_of(str(k)) == 'val'])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    there = [int(word) for word in printed.stdout.split()]
    assert there == [k for k in range(300) if split_of(str(k)) == "val"] != []


def test_shares_have_their_size_and_do_not_follow_the_split():
    people = [f"p{k}" for k in range(20_000)]
    third = [p for p in people if in_share(p, 0.33)]
    assert 0.32 < len(third) / len(people) < 0.34
    assert 0.04 < sum(split_of(p) == "val" for p in third) / len(third) < 0.06
    assert all(in_share(p, 1.0) for p in people) and not any(in_share(p, 0.0) for p in people)
