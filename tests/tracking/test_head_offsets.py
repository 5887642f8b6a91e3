"""FLAME's head as it is delivered: offsets of the body's rest mesh, and betas tied to it."""

from __future__ import annotations

import types

import pytest
import torch
from flame_identities import Someone, centred, form_error
from flame_people import SIDE, Known

from presence.registry import TRACKERS
from presence.structures import Tracking
from presence.tracking.files import load_tracking, save_tracking
from presence.tracking.fusing import start_refining
from presence.tracking.refinement import FrameStates, RefineOptions, Refiner, gather, refiner
from presence.tracking.refinement.alignment import fit_affine
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack
from presence.tracking.refinement.head_tie import HeadTie
from presence.tracking.refinement.posing import reshaped, seen_by_camera
from presence.tracking.refinement.rim import rim_distances


@pytest.fixture
def head(licensed, identities):
    return FlameHead(licensed, identities.model(), identities.ids)


def some_betas(body, seed=0):
    return 0.7 * torch.randn(body.num_betas, generator=torch.Generator().manual_seed(seed))


def widened(body, ids, share=0.06):
    """Offsets that make a head wider and flatter, and fade out at its rim."""
    offsets = torch.zeros(body.num_vertices, 3)
    fade = (rim_distances(body, ids) / 0.03).clamp(0, 1)[:, None]
    wider = torch.tensor([share, -share / 2, 0.0])
    offsets[ids] = fade * centred(body.v_template[ids]) * wider
    return offsets


def test_distances_from_a_rim_go_along_edges():
    side = 7
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).flatten()
    faces = torch.cat(
        [
            torch.stack([corner, corner + 1, corner + side + 1], -1),
            torch.stack([corner, corner + side + 1, corner + side], -1),
        ]
    )
    alone = torch.tensor([[49, 50, 51]])
    flat = torch.stack([0.1 * x.flatten(), 0.1 * y.flatten(), torch.zeros(side**2)], -1)
    grid = types.SimpleNamespace(
        v_template=torch.cat([flat, torch.eye(3)]),
        num_vertices=side**2 + 3,
        topology=types.SimpleNamespace(faces=torch.cat([faces, alone])),
    )
    inside = ((x > 0) & (x < side - 1) & (y > 0) & (y < side - 1)).flatten().nonzero()[:, 0]
    found = rim_distances(grid, torch.cat([inside, alone[0]]))
    ring = torch.minimum(torch.minimum(x - 1, side - 2 - x), torch.minimum(y - 1, side - 2 - y))
    torch.testing.assert_close(found[:-3], 0.1 * ring.flatten()[inside].float())
    assert found[-3:].isinf().all()  # as an eyeball
    assert rim_distances(grid, torch.arange(side**2 + 3)).isinf().all()


def test_the_offsets_are_flames_head_and_the_neck_does_not_tear(licensed, head, identities):
    betas = some_betas(licensed)
    shape = torch.zeros(300)
    shape[:6] = torch.tensor([1.5, -1.0, 0.8, 1.0, -0.6, 1.2])
    affine = head.affine(betas, shape)
    offsets = head.offsets(betas, shape, affine)
    own = licensed.rest_vertices(betas, torch.zeros(licensed.num_expression))
    flame = head.flame.rest(shape, torch.zeros(0)) @ affine[:, :3].T + affine[:, 3]
    gap, ids = flame - own[identities.ids], identities.ids
    far = rim_distances(licensed, ids) > 0.0301
    assert far.float().mean() > 0.9
    torch.testing.assert_close((own + offsets)[ids][far], flame[far], atol=1e-6, rtol=0)
    others = torch.ones(licensed.num_vertices, dtype=torch.bool)
    others[ids] = False
    assert not offsets[others].any()
    # Across every edge the offsets change by no more than FLAME's own form and a fade over 3 cm.
    faces = licensed.topology.faces
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]]])
    lengths = (licensed.v_template[edges[:, 0]] - licensed.v_template[edges[:, 1]]).norm(dim=-1)
    jumps = (offsets[edges[:, 0]] - offsets[edges[:, 1]]).norm(dim=-1)
    place = torch.full((licensed.num_vertices,), -1)
    place[ids] = torch.arange(len(ids))
    ends = place[edges]
    inner = (ends >= 0).all(-1)
    form = torch.zeros(len(edges))
    form[inner] = (gap[ends[inner, 0]] - gap[ends[inner, 1]]).norm(dim=-1)
    allowed = form + 1.5 / 0.03 * lengths * gap.norm(dim=-1).max()
    assert gap.norm(dim=-1).max() > 0.005 and (jumps <= allowed + 1e-6).all()
    assert jumps[~inner].max() < 1e-7  # at the rim itself there is no step at all


def test_the_fit_keeps_proportions_that_an_affine_map_would_take_away(licensed, head, identities):
    """Between the mean heads it is the least-squares affine map; a wide face stays wide."""
    zero = torch.zeros(licensed.num_betas)
    template = head.flame.v_template
    means = fit_affine(template, licensed.v_template[identities.ids])
    torch.testing.assert_close(head.affine(zero, torch.zeros(300)), means, atol=1e-4, rtol=0)
    mean = licensed.v_template[identities.ids]
    wide = centred(mean) * torch.tensor([1.08, 1.0, 1.0])
    shape = identities.coefficients(wide)
    affine = head.affine(zero, shape)
    delivered = head.flame.rest(shape, torch.zeros(0)) @ affine[:, :3].T + affine[:, 3]

    def ratio(points):
        reach = points.amax(0) - points.amin(0)
        return float(reach[0] / reach[1])

    assert ratio(delivered) / ratio(mean) == pytest.approx(1.08, abs=0.005)
    pressed = fit_affine(wide, mean)
    assert ratio(wide @ pressed[:, :3].T) / ratio(mean) == pytest.approx(1.0, abs=0.005)


def test_the_tie_is_the_distance_of_the_heads(licensed, head, identities):
    """Its cost, from the vertices themselves: 60 landmarks of 3 mm, and a size known to 3%."""
    truth, betas = some_betas(licensed, 1), some_betas(licensed, 2)
    shape = identities.coefficients(identities.head(truth))
    wanted = centred(head.canonical(shape)).double()
    gap = centred(identities.head(betas)).double() - wanted
    larger = float((gap * wanted).sum() / wanted.square().sum())
    form = (gap - larger * wanted).square().sum(-1).mean()
    cost = 60 * float(form) / 0.003**2 + (larger / 0.03) ** 2
    tie = HeadTie(head, shape)
    assert float(tie(betas)) == pytest.approx(cost, rel=1e-3)
    nearest = tie.nearest(betas)

    def total(at):
        return float(tie(at) + (at - betas).square().sum())

    for seed in range(5):
        assert total(nearest) <= total(nearest + 0.01 * some_betas(licensed, 10 + seed)) + 1e-4


def sized(head, truth):
    """A head as large as the true one: what is left to differ is its form."""
    head, truth = centred(head), centred(truth)
    return head * (head * truth).sum() / head.square().sum()


def test_an_affine_map_of_each_person_would_lose_flames_form(licensed, head, identities):
    rows = []
    for seed in range(4):
        truth = identities.head(some_betas(licensed, seed))
        shape, mean = identities.coefficients(truth), torch.zeros(licensed.num_betas)
        flame = head.flame.rest(shape, torch.zeros(0))
        for betas in (mean, HeadTie(head, shape).nearest(mean)):
            own = identities.head(betas)
            maps = fit_affine(flame, own), head.affine(betas, shape)
            heads = own, *(flame @ m[:, :3].T + m[:, 3] for m in maps)
            rows.append([form_error(sized(h, truth), truth) for h in heads])
    errors = torch.tensor(rows).unflatten(0, (4, 2)).mean(0)
    print("form: own, by an affine map, as delivered, mm; betas free, tied", errors.tolist())
    (own, affine, delivered), tied = errors
    assert delivered < 0.1 * affine and affine < own
    assert tied[0] < 0.5 * own and tied[2] < tied[1] < 0.5 * affine


def test_betas_tied_to_flame_make_its_head(licensed, head, identities):
    errors, sizes = [], []
    for seed in range(4):
        truth = some_betas(licensed, seed)
        wanted = identities.head(truth)
        tie = HeadTie(head, identities.coefficients(wanted))
        start = torch.zeros(licensed.num_betas)
        found = [identities.head(betas) for betas in (start, tie.nearest(start))]
        errors.append([form_error(head, wanted) for head in found])
        heads = torch.stack([centred(h).norm() for h in (*found, wanted)])
        sizes.append((heads[:2] / heads[2] - 1).abs())
    before, after = torch.tensor(errors).mean(0)
    assert after < 0.3 * before
    before, after = torch.stack(sizes).mean(0)
    assert after < 0.3 * before


def test_another_shape_is_seen_as_large_as_before(licensed, seen):
    camera = seen.camera(seen.params(0), "half", SIDE)
    tracking = Tracking(seen.params(0), camera)
    states = FrameStates.from_params(seen_by_camera(licensed, tracking).unsqueeze())
    betas = states.betas + some_betas(licensed)
    found = reshaped(licensed, states, betas)
    assert torch.equal(found.betas, betas)
    before, after = (licensed(s.params()[0]).joints for s in (states, found))
    pixels = [-points[:, :2] / points[:, 2:] for points in (before, after)]
    reach = [(px[15] - px[0]).norm() for px in pixels]  # from the pelvis to the head
    assert float(reach[1] / reach[0]) == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(pixels[0][0], pixels[1][0], atol=1e-3, rtol=0)


def test_what_is_delivered_is_what_the_stage_optimised(
    licensed, seen, landmarks, identities, head, monkeypatch
):
    someone = Someone(licensed, seen, identities, some_betas(licensed))
    face = someone.estimate().models["face"]
    track = FlameTrack.of_heads(head.flame, [face])
    start = seen_by_camera(licensed, Tracking(someone.params, someone.camera)).unsqueeze()
    start = start.replace(betas=0.5 * start.betas)
    given = {}
    optimise = refiner.refine_flame_head

    def spy(head, states, track, *arguments, **options):
        found = optimise(head, states, track, *arguments, **options)
        affine = head.affine(states.betas, track.shape)
        given["points"] = head.head_points(found[0], found[1].shape, found[1].expression, affine)
        given["shape"] = found[1].shape
        return found

    monkeypatch.setattr(refiner, "refine_flame_head", spy)
    refine = Refiner(licensed, landmarks, RefineOptions(smooth=0.0, steps=0.3))
    evidence = gather([someone.detection], [None], SIDE, SIDE)
    states = FrameStates.from_params(start)
    found = refine(states, evidence, float(someone.camera.K[0, 0]), flame=(head, track))
    assert (given["shape"] - track.shape).abs().max() > 1e-3  # the stage changed FLAME's shape
    points = licensed(found.params()[0]).vertices[identities.ids]
    far = head.fade == 1
    # This FLAME has no expressions: nothing is lost on the way to the body's own.
    torch.testing.assert_close(points[far], given["points"][0][far], atol=2e-5, rtol=0)
    own = licensed(found.params().replace(offsets=None)[0]).vertices[identities.ids]
    assert (own - given["points"][0])[far].norm(dim=-1).mean() > 0.003


def tracked(someone):
    estimate = someone.estimate()
    tracker = TRACKERS.build(
        dict(type="FusedTracker", landmarks="annyx"),
        body=someone.body,
        estimators={"emica": dict(type=Known, estimate=estimate)},
    )
    return tracker.fit(someone.portrait, someone.detection)


def test_a_pictures_head_is_flames(identified, licensed, seen, identities, tmp_path):
    """A head that is wider than the betas have it, from the files to the tracking's own file."""
    offsets = widened(licensed, identities.ids)
    someone = Someone(licensed, seen, identities, torch.zeros(80), offsets=offsets)
    tracking = tracked(someone)
    save_tracking(tmp_path / "t.npz", tracking, body_name=licensed.name)
    again = load_tracking(tmp_path / "t.npz", body_name=licensed.name)
    assert torch.equal(again.body.offsets, tracking.body.offsets)
    found = licensed(again.body.at_rest()).vertices[identities.ids]
    own = licensed(again.body.at_rest().replace(offsets=None)).vertices[identities.ids]
    assert form_error(found, someone.head) < 2.5
    assert not torch.allclose(found, own, atol=1e-4)
    (identified / "body_models" / "flame" / "FLAME_NEUTRAL.npz").unlink()
    without = tracked(someone)
    assert without.body.offsets is None
    head = licensed(without.body.at_rest()).vertices[identities.ids]
    assert form_error(found, someone.head) < 0.6 * form_error(head, someone.head)


class Untied(HeadTie):
    """A tie that does not hold."""

    def __call__(self, betas):
        return betas.new_zeros(())

    def nearest(self, betas):
        return betas


def test_with_the_tie_people_are_recovered_better(
    identified, licensed, seen, identities, monkeypatch
):
    rows = []
    for seed in (0, 1):
        someone = Someone(licensed, seen, identities, some_betas(licensed, seed))
        truth = licensed(someone.params.at_rest()).vertices
        for tie in (HeadTie, Untied):
            monkeypatch.setattr(start_refining, "HeadTie", tie)
            body = tracked(someone).body
            found, ids = licensed(body.at_rest()).vertices, identities.ids
            betas = float((body.betas - someone.params.betas).norm())
            heads = form_error(found[ids], truth[ids])
            rows.append([heads, form_error(found, truth), betas])
    tied, free = torch.tensor(rows).unflatten(0, (2, 2)).mean(0)
    print("head and person, mm, and betas: tied", tied.tolist(), "free", free.tolist())
    assert tied[0] < 0.7 * free[0] and tied[1] < 0.7 * free[1] and tied[2] < free[2]
