"""Derives the whole landmark map of a body model from detections on its renders."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from presence.bodies import Body
from presence.rasterize import build_rasterizer
from presence.tracking.detection import LANDMARK_SETS
from presence.tracking.landmark_casting import FaceCaster
from presence.tracking.landmark_clothed import clothed_people
from presence.tracking.landmark_offsets import (
    fit_offsets,
    hand_anchors,
    mirrored,
    pose_anchors,
    pose_partners,
)
from presence.tracking.landmark_renders import Framing, PersonRenderer
from presence.tracking.landmarks import LandmarkMap, LandmarkSet

Detect = Callable[[np.ndarray], np.ndarray | None]
_CLOTHES_PRIOR = 0.02  # m, standard deviation of what clothes move
_log = logging.getLogger(__name__)


def derive_landmarks(
    body: Body,
    detectors: dict[str, Detect],
    *,
    renders: int = 200,
    clothed: int = 200,
    bare: str | Path | None = None,
) -> LandmarkMap:
    """Derives a map on bare renders, then moves its pose landmarks by clothed people.

    Args:
        body: the model.
        detectors: as `build_landmarks` takes them.
        renders: bare ones, for each set and pass.
        clothed: number of clothed people, 0 for none.
        bare: a map of bare renders to go on from, instead of deriving it.

    Raises:
        AssetError: `bare` is no landmark map.
    """
    if bare is None:
        landmarks = build_landmarks(body, detectors, renders=renders)
    else:
        landmarks = LandmarkMap.load(bare)
    return dressed(body, landmarks, detectors["pose"], clothed) if clothed > 0 else landmarks


def build_landmarks(body: Body, detectors: dict[str, Detect], *, renders: int = 200) -> LandmarkMap:
    """Derives where a detector's landmarks lie on a body model.

    The face is done twice: on bare skin first, which tells where lips and brows are, then with
    these painted, as the detector expects them.

    Args:
        body: the model.
        detectors: "face": [H W 3] uint8 to [478 2] px or None; "pose": to [33 3]
            (px, px, confidence) or None; "left_hand" and "right_hand": to [21 3] or None.
        renders: number of renders for each set and pass.
    """
    rasterizer = build_rasterizer("cpu")
    caster = FaceCaster(body)

    def heads(seed: int, makeup: dict | None) -> LandmarkSet:
        renderer = PersonRenderer(body, rasterizer, seed=seed, makeup=makeup)
        people = (renderer.render("head") for _ in range(renders))
        hits = caster.collect(people, detectors["face"])
        _log.info("face: detected on %d of %d renders", hits.seen, hits.tried)
        return caster.condense(hits)

    makeup = caster.makeup(heads(0, None))
    sets = {"face": heads(1, makeup)}

    def refined(name: str, framing: Framing, marks: LandmarkSet, prior: float) -> LandmarkSet:
        renderer = PersonRenderer(body, rasterizer, seed=2, makeup=makeup)
        people = (renderer.render(framing) for _ in range(renders))
        marks, seen = fit_offsets(body, marks, people, detectors[name], prior)
        _log.info("%s: detected on %d of %d renders", name, seen, renders)
        return marks

    pose = refined("pose", "body", pose_anchors(body, sets["face"]), 0.02)
    sets["pose"] = mirrored(pose, pose, pose_partners())
    names: tuple[Framing, Framing] = ("left_hand", "right_hand")
    hands = {
        name: refined(name, name, hand_anchors(body, name.removesuffix("_hand")), 0.004)
        for name in names
    }
    same = torch.arange(21)
    sets["left_hand"] = mirrored(hands["left_hand"], hands["right_hand"], same)
    sets["right_hand"] = mirrored(hands["right_hand"], hands["left_hand"], same)
    return LandmarkMap({name: sets[name] for name in LANDMARK_SETS})


def dressed(body: Body, landmarks: LandmarkMap, detect: Detect, people: int) -> LandmarkMap:
    """Moves a map's pose landmarks to where they are detected on clothed people.

    On bare skin a detector sees joints; people in clothes it sees by sleeves and seams.

    Args:
        body: the model.
        landmarks: derived on bare renders.
        detect: pose: [H W 3] uint8 to [33 3] (px, px, confidence), or None.
        people: number of pictures, at least one hundred to tell anything.
    """
    pose, seen = fit_offsets(
        body, landmarks.sets["pose"], clothed_people(body, people), detect, _CLOTHES_PRIOR
    )
    _log.info("pose: detected on %d of %d clothed people", seen, people)
    return LandmarkMap({**landmarks.sets, "pose": mirrored(pose, pose, pose_partners())})


def summarize(landmarks: LandmarkMap) -> str:
    """Returns a table of each set's spread: median, 90th percentile and maximum, in mm."""
    lines = ["set          median    90%    max  (mm)"]
    for name, marks in landmarks.sets.items():
        spread = marks.spread.double() * 1000
        tenth = [float(spread.quantile(q)) for q in (0.5, 0.9, 1.0)]
        lines.append(f"{name:12s} " + " ".join(f"{value:6.1f}" for value in tenth))
    return "\n".join(lines)
