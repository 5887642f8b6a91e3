"""The errors that a user can cause: one clear line each, and exit code 2 from the tools."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PresenceError(Exception):
    """Base of every error whose message is meant for the user as it stands."""


class ConfigError(PresenceError):
    """A configuration names something that does not exist or does not fit."""


class InputError(PresenceError):
    """A file or picture given by the user cannot be used; the message says why."""


class AssetError(PresenceError):
    """An external file (weights, body model) is missing or is not what it should be."""


def check_known(what: str, given: str, known: Iterable[str]) -> None:
    """Checks that a name is one of those that there are.

    Args:
        what: kind of thing, as in "view".
        given: the user's word for it.
        known: all there are.

    Raises:
        ConfigError: it is none of them; the nearest is proposed.
    """
    names = list(known)
    if given not in names:
        raise ConfigError(
            f"unknown {what} `{given}`.{did_you_mean(given, names)} Available: {', '.join(names)}."
        )


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Returns `` Did you mean `x`?`` for the candidate nearest to `name`, or an empty string.

    Example:
        >>> did_you_mean("widht", ["width", "depth"])
        ' Did you mean `width`?'
    """
    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.6)
    return f" Did you mean `{by_fold[near[0]]}`?" if near else ""
