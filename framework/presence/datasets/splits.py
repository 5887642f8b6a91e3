"""Who is trained on and who validates, from a hash of the identity's name alone."""

from __future__ import annotations

import hashlib
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
