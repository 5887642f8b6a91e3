"""The visibility gate and the file that it reads."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from presence.errors import AssetError
from presence.tracking.detection import POSE, Detection
from presence.tracking.fusing.gate import CHOSEN, Sight, choose, framing_of, sight_of
from presence.tracking.fusing.regimes import FRAMINGS, GROUPS, RegimeMap, Rule


def regimes(**seen):
    def rules(*names):
        return tuple(Rule(name, "stated", f"for {name}") for name in names)

    order = {framing: {group: rules("open") for group in GROUPS} for framing in FRAMINGS}
    order["half"]["body"] = rules("osx", "open")
    order["full"]["body"] = rules("multi_hmr", "osx", "open")
    for framing in FRAMINGS:
        order[framing]["head"] = (
            Rule("emica", "measured", "20 people", error=4.2, unit="deg", max_yaw=60.0),
            *rules("open"),
        )
        order[framing]["hand"] = rules("hamer", "open")
    return RegimeMap({"arms": 0.6, "lower": 0.5, "hand": 0.4, **seen}, order, 6.0)


HALF = Sight(arms=0.9, lower=0.1, left_hand=0.8, right_hand=0.1)


def chosen(sight, refused=(), map_=None):
    return {c.part: c for c in choose(sight, map_ or regimes(), dict(refused))}


def test_each_framing_has_its_own_estimators():
    found = chosen(HALF)
    assert list(found) == list(CHOSEN)
    names = {part: choice.estimator for part, choice in found.items()}
    assert names == {
        "body": "osx",
        "head": "emica",
        "face": "open",
        "left_hand": "hamer",
        "right_hand": "",
    }
    assert chosen(dataclasses.replace(HALF, lower=0.7))["body"].estimator == "multi_hmr"
    assert chosen(dataclasses.replace(HALF, arms=0.5, lower=0.9))["body"].estimator == "open"


def test_reasons_name_what_was_seen_what_was_passed_and_the_basis():
    refused = {("osx", ""): "its file is missing"}
    reason = chosen(HALF, refused.items())["body"].reason
    for words in ("half body", "0.90 of 0.60", "not osx (its file is missing)", "for open"):
        assert words in reason
    assert "measured: 4.2 deg, 20 people" in chosen(HALF)["head"].reason
    assert "0.10 of 0.40" in chosen(HALF)["right_hand"].reason
    none = chosen(HALF, {("osx", ""): "a", ("open", "body"): "b"}.items())["body"]
    assert none.estimator == "" and "not open (b)" in none.reason
    assert chosen(HALF, {("open", "body"): "b"}.items())["face"].estimator == "open"


def test_thresholds_come_from_the_map():
    assert framing_of(HALF, regimes(arms=0.95))[0] == "head"
    assert framing_of(HALF, regimes(lower=0.05))[0] == "full"
    assert chosen(HALF, map_=regimes(hand=0.05))["right_hand"].estimator == "hamer"


def test_turned_people_go_to_those_who_can_see_them():
    assert chosen(dataclasses.replace(HALF, yaw=59.0))["head"].estimator == "emica"
    assert chosen(dataclasses.replace(HALF, yaw=75.0))["head"].estimator == "open"
    last = chosen(dataclasses.replace(HALF, yaw=75.0), {("open", ""): "x"}.items())["head"]
    assert last.estimator == "emica" and "75 degrees and reliable to 60" in last.reason


def test_sight_is_of_points_in_the_picture():
    pose = torch.full((33, 3), 50.0)
    pose[:, 2] = 0.0
    pose[POSE["left_elbow"]] = torch.tensor([50.0, 50, 0.7])
    pose[POSE["right_elbow"]] = torch.tensor([50.0, 150, 0.9])  # below the picture
    pose[POSE["left_knee"], 2] = 0.8
    world = torch.zeros(33, 3)
    world[POSE["left_shoulder"]] = torch.tensor([0.0, 0, 0.2])  # a quarter turn
    world[POSE["right_shoulder"]] = torch.tensor([0.0, 0, -0.2])
    pose[[POSE["left_shoulder"], POSE["right_shoulder"]], 2] = 0.9
    found = sight_of(Detection(100, 100, {"pose": pose}, {"pose": world}))
    assert found.arms == pytest.approx(0.7) and found.lower == pytest.approx(0.4)
    assert found.left_hand == found.right_hand == 0.0
    assert found.yaw == pytest.approx(90.0, abs=0.1)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_maps_are_read_as_they_were_written(tmp_path, suffix):
    map_ = dataclasses.replace(
        regimes(), cells=({"estimator": "open", "people": 3},), provenance={"command": "x"}
    )
    path = tmp_path / f"map{suffix}"
    path.write_text(map_.to_json())
    assert RegimeMap.load(path) == map_


def test_broken_maps_are_one_clear_line(tmp_path):
    plain = regimes().to_plain()
    for change, words in (
        ({"format": 9}, "format"),
        ({"seen": {"arms": 0.5, "lower": 0.5}}, "lacks `hand`"),
        ({"seen": {**plain["seen"], "armz": 1}}, "Did you mean `arms`"),
        ({"order": {}}, "lacks `head`"),
        ({"seen": None}, "is not a regime map"),
    ):
        path = tmp_path / "map.json"
        path.write_text(json.dumps({**plain, **change}))
        with pytest.raises(AssetError, match=words) as error:
            RegimeMap.load(path)
        assert "\n" not in str(error.value)
    with pytest.raises(AssetError, match="does not exist"):
        RegimeMap.load(tmp_path / "none.json")


def test_the_map_that_ships_follows_the_paper_and_says_where_it_is_from():
    map_ = RegimeMap.load()
    first = {f: map_.order[f]["body"][0].estimator for f in FRAMINGS}
    assert first == {"head": "mediapipe", "half": "osx", "full": "multi_hmr"}
    for framing in FRAMINGS:
        assert map_.order[framing]["hand"][0].estimator == "hamer"
        for rules in map_.order[framing].values():
            assert any(rule.estimator == "mediapipe" for rule in rules)
        (own,) = (r for r in map_.order[framing]["body"] if r.estimator == "mediapipe")
        assert own.basis == "measured" and own.max_yaw >= 60
    assert {cell["estimator"] for cell in map_.cells} == {"mediapipe"}
    assert sum(cell["people"] for cell in map_.cells) == map_.provenance["people"]
