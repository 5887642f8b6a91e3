"""FLAME's head in the refinement, from files to the tracking, and what is said where it is not."""

from __future__ import annotations

import math

import torch
from flame_people import HEAD, SIDE, SMILE, Known

from presence.registry import TRACKERS
from presence.structures import Tracking, cat


def fused(scene, estimate):
    return TRACKERS.build(
        dict(type="FusedTracker", landmarks="annyx"),
        body=scene.body,
        estimators={"emica": dict(type=Known, estimate=estimate)},
    )


def tracked(scene, estimate):
    return fused(scene, estimate).fit(scene.portrait, scene.detection)


def heads_away(scene, tracking, ids):
    """Mean distance of the head's vertices from where they are seen, px."""
    points = [
        camera.project(scene.body(params).vertices[ids])[0]
        for params, camera in ((scene.params, scene.camera), (tracking.body, tracking.camera))
    ]
    return float((points[0] - points[1]).norm(dim=-1).mean())


def smile(scene, tracking):
    rows = [scene.body.expression_names.index(name) for name in SMILE]
    return tracking.body.expression[rows]


def head_notes(tracking):
    return [note for note in tracking.notes if note.startswith("head stage")]


def test_flame_moves_the_head_and_the_body_takes_its_expression(home, scene, ids):
    estimate = scene.estimate()
    with_flame = tracked(scene, estimate)
    (note,) = head_notes(with_flame)
    assert f"{len(ids)} vertices of FLAME" in note
    (home / "body_models" / "flame" / "FLAME_NEUTRAL.npz").unlink()
    without = tracked(scene, estimate)
    (note,) = head_notes(without)
    assert "own head" in note and "no FLAME file" in note
    assert heads_away(scene, with_flame, ids) < 0.5 * heads_away(scene, without, ids)
    assert smile(scene, without).abs().max() < 0.2  # nothing else saw the mouth
    torch.testing.assert_close(smile(scene, with_flame), torch.tensor([0.8, 0.5]), atol=0.1, rtol=0)


def narrow_crop(scene):
    """A camera of 9.5 degrees over a crop, where the head joint is seen as in the picture."""
    joint = scene.body(scene.params).joints[HEAD]
    px, depth = scene.camera.project(joint[None])
    side = 300.0
    middle = px[0] + torch.tensor([30.0, -20.0])
    K = torch.eye(3)
    K[0, 0] = K[1, 1] = side / 2 / math.tan(math.radians(4.75))
    K[:2, 2] = middle
    away = depth * K[0, 0] / scene.camera.K[0, 0]
    return K, torch.cat([(px[0] - middle) * away / K[0, 0], away])


def test_dense_targets_are_where_the_crop_camera_saw_the_vertices(home, scene, ids):
    from presence.tracking.fusing.dense_models import DenseModels

    K, at = narrow_crop(scene)
    mesh = scene.body(scene.params)
    joint = scene.camera.to_cam(mesh.joints[HEAD : HEAD + 1])
    cam = scene.camera.to_cam(mesh.vertices[ids]) - joint + at
    expected = (cam @ K.T)[:, :2] / cam[:, 2:]
    tracker = fused(scene, scene.estimate((K, at)))
    given = {}

    def refine(portrait, start, detection, models, *, betas):
        given.update(models)
        return start

    tracker.refiner = refine
    tracker.fit(scene.portrait, scene.detection)
    (_, track), _ = DenseModels.find(scene.body).head(scene.body, [given], 1.0)
    torch.testing.assert_close(track.pixels[0], expected, atol=0.05, rtol=0)


def test_where_flame_tracking_fails_the_own_head_stays_and_it_is_said(home, scene):
    (note,) = head_notes(tracked(scene, None))
    assert "own head" in note and "mediapipe" in note
    from presence.tracking.fusing.dense_models import DenseModels

    flame, note = DenseModels.find(scene.body).head(scene.body, [{}], 1.0)
    assert flame is None and "zero FLAME" in note


def test_the_open_body_keeps_its_own_head(home, scene, monkeypatch):
    estimate = scene.estimate()
    monkeypatch.setattr(scene.body, "name", "annyx")
    (note,) = head_notes(tracked(scene, estimate))
    assert "own head" in note and "annyx" in note
    assert math.isfinite(heads_away(scene, tracked(scene, estimate), torch.arange(5)))


def test_a_frame_without_flame_is_refined_as_if_there_were_none(home, scene, landmarks):
    from presence.tracking.fusing.dense_models import DenseModels
    from presence.tracking.refinement import FrameStates, RefineOptions, Refiner, gather
    from presence.tracking.refinement.flame_head import FlameHead, FlameTrack
    from presence.tracking.refinement.posing import seen_by_camera

    models = DenseModels.find(scene.body)
    face = scene.estimate().models["face"]
    head = FlameHead(scene.body, models.flame, models.vertices["face"])
    track = FlameTrack.of_heads(models.flame, [face, None])
    assert track.valid.tolist() == [1, 0] and not track.expression[1].any()
    tracking = Tracking(scene.params, scene.camera)
    both = FrameStates.from_params(
        cat([seen_by_camera(scene.body, tracking).unsqueeze()] * 2).replace(
            expression=torch.zeros(2, scene.body.num_expression)
        )
    )
    evidence = gather([scene.detection] * 2, [None, None], SIDE, SIDE)
    options = RefineOptions(smooth=0.0, steps=0.3)
    refiner, focal = Refiner(scene.body, landmarks, options), float(scene.camera.K[0, 0])
    found = refiner(both, evidence, focal, flame=(head, track))
    alone = refiner(both, evidence, focal)
    rows = [scene.body.expression_names.index(name) for name in SMILE]
    assert (found.expression[0, rows] - torch.tensor([0.8, 0.5])).abs().max() < 0.1
    torch.testing.assert_close(found.expression[1], alone.expression[1], atol=1e-4, rtol=0)
    away = (found.rotations[1] - alone.rotations[1]).abs().amax((-1, -2))
    assert away.max() < 0.02  # Adam's body terms have gone on for the neck and the head
