from __future__ import annotations

import json

import pytest
import torch

from presence.benchmark.turned_accuracy import TurnedAccuracy, markdown, summarize
from presence.bodies import load_body
from presence.bodies.joints import JOINT_NAMES
from presence.errors import ConfigError
from presence.geometry import axis_angle_to_matrix
from presence.tracking.detection import POSE
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.measuring.turned_people import PeopleAllRound


def scores(iou, keypoints):
    return dict(iou=iou, keypoints=keypoints, vertices=50.0, face=5.0)


def person(name, iou=0.8, keypoints=2.0):
    row = dict(person=name, framing=name.split("_")[0])
    fitted = scores(iou, keypoints)
    return [
        dict(**row, view="front", seconds=1.0, fitted=scores(0.9, 1.0)),
        *(
            dict(
                **row, view=view, facing="left", seconds=2.0, turned=scores(0.6, 3.0), fitted=fitted
            )
            for view in ("side", "back")
        ),
    ]


def test_summary_tells_what_the_fit_adds():
    rows = [*person("half_0"), *person("half_1", iou=0.5, keypoints=2.5)]
    rows.append(dict(person="full_0", framing="full", view="front", failed="nobody"))
    summary = summarize(rows)
    assert summary["people"] == 3 and summary["failures"] == 1
    cells = {(c["framing"], c["view"], c["body"]): c for c in summary["cells"]}
    assert set(cells) == {
        ("half", "front", "fitted"),
        *(("half", view, kind) for view in ("side", "back") for kind in ("turned", "fitted")),
    }
    side = cells["half", "side", "fitted"]
    assert side["mean"]["iou"] == pytest.approx(0.65) and side["median"]["keypoints"] == 2.25
    assert side["better"]["iou"] == 1  # one of the two became worse
    assert side["better"]["keypoints"] == 2 and side["better"]["vertices"] == 0
    assert "| half | side | tracked | 2 | 0.65 (0.65) | 2.25 (2.25) |" in markdown(rows)
    assert "1 of 3" in markdown(rows)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    lines = [json.dumps(row) for name in ("half_0", "full_0") for row in person(name)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    report = TurnedAccuracy(people=2).run(tmp_path)  # nothing is left to measure
    assert "| full | back | tracked | 1 |" in report.table
    assert json.loads((tmp_path / "summary.json").read_text())["people"] == 2
    with pytest.raises(ConfigError, match="at least 1"):
        TurnedAccuracy(people=0)


def test_people_look_where_their_name_says():
    """By the true nose and ears: which is left of which in the picture, and which is nearer."""
    body, landmarks = load_body("annyx"), LandmarkMap.load("annyx")
    people = PeopleAllRound(body, supersample=1)
    names = set()
    for index in (0, 1):
        for facing, known in people.person("half", index, size=(40, 32)).items():
            names.add(facing)
            points = landmarks.points(body, "pose", body(known.body))
            px, depth = known.camera.project(points)
            nose, ears = POSE["nose"], [POSE["left_ear"], POSE["right_ear"]]
            ahead = float(px[nose, 0] - px[ears, 0].mean())
            towards = float(depth[ears].mean() - depth[nose])  # m nearer than the ears
            assert {
                "front": towards > 0.04,
                "back": towards < -0.04,
                "left": ahead < 0 and abs(towards) < 0.06,
                "right": ahead > 0 and abs(towards) < 0.06,
            }[facing], (facing, ahead, towards)
            assert float(known.portrait.alpha.min()) == 1
    assert names == {"front", "left", "right", "back"}


def test_joints_move_between_the_views_only_where_asked():
    body = load_body("annyx")
    for stirred in (False, True):
        known = PeopleAllRound(body, stirred=stirred, supersample=1).person("full", 0, (48, 32))
        again = PeopleAllRound(body, stirred=stirred, supersample=1).person("full", 0, (48, 32))
        poses = [axis_angle_to_matrix(known[name].body.pose) for name in ("front", "left", "back")]
        assert torch.equal(known["back"].body.pose, again["back"].body.pose)
        turned = set()
        for pose in poses[1:]:
            cosine = ((pose.mT @ poses[0]).diagonal(0, 1, 2).sum(-1) - 1) / 2
            degrees = torch.rad2deg(torch.arccos(cosine.double().clamp(-1, 1)))
            moved = degrees > 1.0
            assert ((degrees[moved] > 9.9) & (degrees[moved] < 15.1)).all()
            turned.add(tuple(moved.nonzero()[:, 0].tolist()))
        trunk = {JOINT_NAMES.index(n) for n in ("pelvis", "spine1", "spine2", "spine3")}
        joints = {joint for view in turned for joint in view}
        assert not trunk & joints
        assert (len(turned) == 2 and len(joints) > 4) if stirred else turned == {()}
