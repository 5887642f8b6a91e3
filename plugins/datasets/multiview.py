"""Reference-target pairs from a folder of multi-view pictures, such as a generator's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from presence.bodies.loading import body_name
from presence.datasets import allowed_pairs, find_identities, in_share, load_view, split_of
from presence.datasets.multiview import Framing, IdentityFolder, ViewFile
from presence.datasets.pairing import Pairing
from presence.datasets.splits import identity_number
from presence.errors import InputError
from presence.interfaces import Body, SampleSource
from presence.registry import DATASETS
from presence.structures import TrainSample
from presence.tracking.files import load_tracking


@DATASETS.register()
class MultiViewFolder(SampleSource):
    """One sample for each pair of views that may teach one another.

    The layout is `presence.datasets.multiview`'s. A person has one shape: every view takes the
    shape coefficients of the most reliable one.

    Args:
        root: folder with one folder a person.
        split: "train" and "val" share people 19:1 by a hash of the name; "all" takes everybody.
        share: of the split's people, 0..1, for ablations; smaller shares are nested in larger.
        pairing: "directional" for generated data (front to side and back, side to back, never
            from a back), "free" for rendered data, where every view is exact.
        labels: only views with these labels; None takes all.
        size: side of the square pictures, px.
        framing: "person" cuts the square around the person, "picture" keeps the picture's.
        body: the body in use, built, by name or by file: trackings of another one are refused;
            None takes any.

    Raises:
        InputError: the folder holds nobody for this split, or nobody whose views pair.
    """

    def __init__(
        self,
        root: str,
        *,
        split: Literal["train", "val", "all"] = "train",
        share: float = 1.0,
        pairing: Pairing = "directional",
        labels: Sequence[str] | None = None,
        size: int = 512,
        framing: Framing = "person",
        body: Body | str | None = None,
    ) -> None:
        self.body_name = body_name(body)
        self.root, self.split, self.size, self.framing = root, split, size, framing
        chosen = [
            person
            for person in find_identities(root)
            if split in ("all", split_of(person.name)) and in_share(person.name, share)
        ]
        self.pairs = _pairs(chosen, labels, pairing)
        if not self.pairs:
            raise InputError(
                f"{root}: {len(chosen)} people for split `{split}` (share {share:g}), "
                f"but no pair of views that may teach one another ({pairing})"
            )

    def __len__(self) -> int:
        """Returns the number of pairs over all people."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> TrainSample:
        """Reads pair `index`; its subject is a hash of the person's name.

        Raises:
            IndexError: `index` is outside the data set.
            InputError: a file is missing or does not fit.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        person, reference, target = self.pairs[index]
        name = self.body_name
        views = [
            load_view(file, self.size, self.framing, body_name=name) for file in (reference, target)
        ]
        one = views[0].body
        if person.views[0] != reference:
            one = load_tracking(person.views[0].tracking, body_name=name).body
        first, second = (view.replace(body=view.body.shaped_as(one)) for view in views)
        return TrainSample(first, second, torch.tensor(identity_number(person.name)))


def _pairs(
    people: Sequence[IdentityFolder], labels: Sequence[str] | None, pairing: Pairing
) -> list[tuple[IdentityFolder, ViewFile, ViewFile]]:
    """Everybody's first pair, then everybody's second, and so on: any stretch is diverse."""
    turns: list[tuple[int, IdentityFolder, ViewFile, ViewFile]] = []
    for person in people:
        views = [view for view in person.views if labels is None or view.label in labels]
        pairs = allowed_pairs([view.label for view in views], pairing)
        turns += [(turn, person, views[i], views[j]) for turn, (i, j) in enumerate(pairs)]
    turns.sort(key=lambda entry: entry[0])  # stable: people stay in the order of their names
    return [entry[1:] for entry in turns]
