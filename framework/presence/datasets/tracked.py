"""Evaluation sets without body parameters: pictures that a tracker turns into samples, once."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from tqdm import tqdm

from presence.assets import find_asset
from presence.datasets.multiview import ViewFile, load_view, save_view
from presence.datasets.splits import identity_number, seeded_choice
from presence.errors import InputError
from presence.interfaces import SampleSource
from presence.io.atomic import atomic_folder, write_text
from presence.pipeline.framing import frame_portrait
from presence.registry import TRACKERS
from presence.structures import Portrait, TrainSample, View
from presence.tracking.cut_out import track_cut_out
from presence.tracking.default import tracker_config

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PicturePair:
    """Two pictures of one person, before tracking.

    Attributes:
        reference: the picture that the avatar is made from; its alpha is 1 everywhere where the
            data set has no masks.
        target: what the avatar has to match after reposing; None where there is no second
            picture, and then the reference stands in: only the `input` columns mean something.
    """

    reference: Portrait
    target: Portrait | None


class TrackedPairs(SampleSource):
    """Reference and target of each person of a data set that has pictures, but no parameters.

    A reader lists names and gives pictures; this class chooses the split, tracks both pictures
    with one tracker, cuts out the squares and keeps them on disk in the layout of
    `presence.datasets.multiview`: each picture is tracked once, whatever is evaluated later.
    Target and reference share the reference's shape coefficients. Pictures in which the tracker
    finds nobody are left out, with a warning that names them.

    Args:
        root: the data set's folder; None for its place in configs/assets.yaml.
        count: clips or pictures of the split; None for all.
        seed: of the choice, see `seeded_choice`.
        size: side of the square pictures, px.
        tracker: config of the tracker; None for the default one.
        cache: folder for tracked pictures; None for one under $PRESENCE_HOME. Other options,
            trackers or bodies have other folders in it.
        body: the model's body; None for the tracker's own.

    Attributes:
        asset: entry of configs/assets.yaml; None for data of the user's own.
        names: the split, in order.

    Raises:
        AssetError: the data set is not here; the message says where to get it.
        InputError: the folder is not laid out like it, or has less than `count`.
    """

    asset: ClassVar[str | None] = None
    get: ClassVar[str] = ""  # where the data come from, of a set that is no entry there

    def __init__(
        self,
        root: str | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        self.root = self._find_root(root)
        self.size, self._body = size, body
        self._tracker_config = tracker_config(tracker)
        self._cache_root = cache
        everything = self.find()
        if not everything:
            raise InputError(f"{self.root} holds no {self.what()}")
        if count is not None and len(everything) < count:
            raise InputError(
                f"{self.root} holds {len(everything)} of {count} {self.what()}: "
                f"set count={len(everything)} to measure these, which is another split"
            )
        self.names = seeded_choice(everything, count, seed, self.person)

    @abstractmethod
    def what(self) -> str:
        """Returns what the folder should hold, in the plural, for errors."""

    @abstractmethod
    def find(self) -> list[str]:
        """Returns the names of everything in `root`, without opening pictures."""

    @abstractmethod
    def pictures(self, name: str) -> PicturePair:
        """Reads the pictures of a name.

        Raises:
            InputError: they cannot be read.
        """

    def person(self, name: str) -> str:
        """Returns whom a name is of, so that a split takes many people."""
        return name

    def choices(self) -> dict[str, Any]:
        """Returns the options that decide which pictures a name gives; the cache depends on it."""
        return {}

    @functools.cached_property
    def tracker(self) -> Any:
        """The tracker, built when a picture has to be tracked."""
        return TRACKERS.build(self._tracker_config, body=self._body or "annyx")

    @functools.cached_property
    def cache(self) -> Path:
        """Where the tracked pictures of these options are."""
        home = os.environ.get("PRESENCE_HOME", "~/.presence")
        folder = Path(self._cache_root or f"{home}/tracked").expanduser()
        body = "annyx" if self._body is None else self._body.name
        key = [str(self.root.resolve()), self.size, self._tracker_config, body, self.choices()]
        number = identity_number(json.dumps(key, sort_keys=True, default=str))
        return folder / f"{type(self).__name__}-{number % 16**8:08x}"

    @functools.cached_property
    def usable(self) -> list[str]:
        """The names whose pictures could be tracked; tracks what is not in the cache yet."""
        path = self.cache / "failed.json"
        failed = json.loads(path.read_text()) if path.is_file() else {}
        wanted = [n for n in self.names if n not in failed and not self._folder(n).is_dir()]
        for name in tqdm(wanted, desc="tracking", unit="pair", disable=len(wanted) < 2):
            try:
                self._track(name)
            except InputError as error:
                failed[name] = str(error)
                write_text(path, json.dumps(failed, indent=1) + "\n")
        lost = [f"{name} ({failed[name]})" for name in self.names if name in failed]
        if lost:
            total = len(self.names)
            _log.warning("left out %d of %d, untracked: %s", len(lost), total, "; ".join(lost))
        if len(lost) == len(self.names):
            raise InputError(f"{self.root}: no picture could be tracked: {lost[0]}")
        return [name for name in self.names if name not in failed]

    def __len__(self) -> int:
        """Returns the number of pairs that could be tracked."""
        return len(self.usable)

    def __getitem__(self, index: int) -> TrainSample:
        """Returns pair `index`; its subject is a hash of the person's name.

        Raises:
            IndexError: `index` is outside the data set.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        name = self.usable[index]
        folder = self._folder(name)
        reference = self._read(folder / "front.png")
        target = folder / "target.png"
        second = self._read(target) if target.is_file() else reference
        number = torch.tensor(identity_number(self.person(name)))
        return TrainSample(reference, second, number)

    def _read(self, picture: Path) -> View:
        return load_view(ViewFile(picture, picture.stem), self.size, "picture")

    def _folder(self, name: str) -> Path:
        return self.cache / name.replace("/", "__")

    def _track(self, name: str) -> None:
        pair = self.pictures(name)
        reference = self._look(pair.reference)
        target = None if pair.target is None else self._look(pair.target)
        body_name = "annyx" if self._body is None else self._body.name
        with atomic_folder(self._folder(name)) as folder:
            save_view(folder, "front", reference, body_name=body_name)
            if target is not None:
                body = target.body.shaped_as(reference.body)
                save_view(folder, "target", target.replace(body=body), body_name=body_name)

    def _look(self, portrait: Portrait) -> View:
        cut_out, tracking = track_cut_out(self.tracker, portrait)
        framed, camera, _ = frame_portrait(cut_out, tracking.camera, self.size)
        return View(framed, tracking.body, camera)

    def _find_root(self, root: str | None) -> Path:
        if root is None:
            if self.asset is None:
                raise InputError(
                    f"{type(self).__name__} needs root, a folder with {self.what()}.{self.hint}"
                )
            return find_asset(self.asset).require()
        path = Path(root).expanduser()
        if not path.is_dir():
            raise InputError(
                f"{path} does not exist, expected a folder of {self.what()}.{self.hint}"
            )
        return path

    @property
    def hint(self) -> str:
        """Where to get the data, as the end of an error; empty where that is not known."""
        get = self.get if self.asset is None else find_asset(self.asset).get
        return f" Get it: {get}." if get else ""
