"""Who is trained on, who validates and who is evaluated, from a hash of the name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

Split = Literal["train", "val", "all"]
VALIDATED = 20
"""One identity in this many validates: the paper's 19:1."""


def identity_number(identity: str, salt: str = "") -> int:
    """Returns a number of 63 bits that only depends on the name, on every machine.

    Example:
        >>> identity_number("anna") == identity_number("anna")
        True
    """
    digest = hashlib.blake2b(f"{salt}/{identity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def split_of(identity: str) -> Literal["train", "val"]:
    """Returns the split of an identity, 19:1 (paper 4.1); all views of a person share it.

    Adding or removing other people never moves anyone from one side to the other.
    """
    return "val" if identity_number(identity, "split") % VALIDATED == 0 else "train"


def in_share(identity: str, share: float) -> bool:
    """Says whether an identity belongs to a share (0..1) of the data; small shares are nested.

    Example:
        >>> all(in_share(str(k), 0.33) for k in range(999) if in_share(str(k), 0.03))
        True
    """
    return identity_number(identity, "share") < share * 2.0**63


def seeded_choice(
    names: Iterable[str], count: int | None, seed: int, group: Callable[[str], str] = str
) -> list[str]:
    """Returns `count` names of an evaluation set, the same ones on every machine.

    Names are ordered by a hash; everybody's first comes before anybody's second, so that few
    clips are of many people.

    Args:
        names: of clips or pictures, in any order.
        count: how many; None for all of them.
        seed: another seed is another list.
        group: name to whom it is of.

    Example:
        >>> clips = [f"{who}/{k}" for who in "abc" for k in range(9)]
        >>> sorted(name[0] for name in seeded_choice(clips, 3, 0, lambda name: name[0]))
        ['a', 'b', 'c']
    """
    ordered = sorted(names, key=lambda name: (identity_number(name, f"evaluation {seed}"), name))
    turns: dict[str, int] = {}
    ranked = []
    for name in ordered:
        turn = turns[group(name)] = turns.get(group(name), -1) + 1
        ranked.append((turn, name))
    ranked.sort(key=lambda entry: entry[0])  # stable: within a turn, the order of the hashes
    return [name for _, name in ranked[:count]]
