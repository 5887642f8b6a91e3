"""Whole samples: the same for the same seed, and true to the geometry they are sold with."""

import time

import numpy as np
import pytest
import torch

from presence.geometry import vertex_normals
from presence.rasterize import build_rasterizer
from presence.synthesis import ProceduralPeople
from presence.synthesis.fields import Beside
from presence.synthesis.garments import arm_length, inner_field
from presence.synthesis.shells import build_shells
from presence.synthesis.visible import pose_layers


def with_options(people, **options):
    clone = object.__new__(ProceduralPeople)
    clone.__dict__ = {**people.__dict__, **options}
    return clone


def test_same_seed_same_sample_in_any_batch(people, sample):
    again = people.generate([14, 12], size=(96, 96))
    for view in ("reference", "target"):
        first, second = getattr(sample, view)[[3, 1]], getattr(again, view)
        for name in ("betas", "expression", "pose", "translation"):
            assert torch.equal(getattr(first.body, name), getattr(second.body, name))
        assert torch.allclose(first.camera.K, second.camera.K, atol=1e-3)
        pose = first.camera.cam_from_world - second.camera.cam_from_world
        assert pose.abs().max() < 1e-5
        assert (first.portrait.rgb - second.portrait.rgb).abs().mean() < 1e-4
        assert (first.portrait.alpha - second.portrait.alpha).abs().mean() < 1e-4
    repeated = people.generate([14, 12], size=(96, 96))
    assert torch.equal(repeated.target.portrait.rgb, again.target.portrait.rgb)


def test_values_are_pictures(sample):
    for view in (sample.reference, sample.target):
        rgb, alpha = view.portrait.rgb, view.portrait.alpha
        assert rgb.isfinite().all() and rgb.min() >= 0 and rgb.max() <= 1
        assert alpha.min() == 0 and alpha.max() == 1
        assert 0.1 < alpha.mean() < 0.9
        soft = (alpha > 0) & (alpha < 1)
        assert 0.001 < soft.float().mean() < 0.2  # anti-aliased edges, and only edges


def test_true_body_fills_the_mask(people, sample):
    """The true mesh, put through the true camera, lies inside the mask and fills most of it."""
    rasterizer = build_rasterizer("cpu")
    for view in (sample.reference, sample.target):
        mesh = people.body(view.body)
        found = rasterizer(view.camera.screen(mesh.vertices), people.body.topology.faces, 96, 96)
        body, mask = found.face_ids >= 0, view.portrait.alpha[:, 0] > 0.5
        touched = view.portrait.alpha[:, 0] > 0.2  # a thin finger covers no whole pixel
        inside = (body & touched).sum((1, 2)) / body.sum((1, 2))
        overlap = (body & mask).sum((1, 2)) / (body | mask).sum((1, 2))
        assert inside.min() > 0.985, inside
        assert overlap.min() > 0.6 and overlap.mean() > 0.75, overlap


def test_colour_and_mask_agree(people):
    """Over white and over black the picture differs by exactly the uncovered share."""
    seeds, size = [21, 22], (64, 64)
    white = with_options(people, background="white").generate(seeds, size=size)
    black = with_options(people, background="black").generate(seeds, size=size)
    for view in ("reference", "target"):
        over_white, over_black = (getattr(s, view).portrait for s in (white, black))
        assert torch.equal(over_white.alpha, over_black.alpha)
        uncovered = (over_white.rgb - over_black.rgb).mean(1, keepdim=True)
        assert torch.allclose(uncovered, 1.0 - over_white.alpha, atol=1e-5)
        assert over_black.rgb[(over_black.alpha == 0).expand(-1, 3, -1, -1)].abs().max() == 0


def test_both_views_share_the_person(people, sample):
    assert torch.equal(sample.reference.body.betas, sample.target.body.betas)
    assert torch.equal(sample.reference.body.pose, sample.target.body.pose)
    assert not torch.equal(
        sample.reference.camera.cam_from_world, sample.target.camera.cam_from_world
    )
    reposed = with_options(people, repose_probability=1.0).draw([11, 12])
    assert torch.equal(reposed.body.betas[:, 0], reposed.body.betas[:, 1])
    assert (reposed.body.pose[:, 0] - reposed.body.pose[:, 1]).abs().max() > 0.05
    same = people.draw([11, 12])
    assert torch.equal(reposed.skin.tone, same.skin.tone)
    assert torch.equal(reposed.body.pose[:, 0], same.body.pose[:, 0])


def test_people_differ(people):
    recipe = people.draw(range(400))
    tone = recipe.skin.tone.numpy()
    assert tone[:, 0].max() > 4 * tone[:, 0].min()  # pale to dark
    assert (tone[:, 0] >= tone[:, 2]).mean() > 0.98  # but always skin: redder than blue
    assert recipe.fabrics.ground[:, 0].std(0).min() > 0.1
    shares = {
        "outer": recipe.garments.outer, "skirt": recipe.garments.skirt,
        "hanging": recipe.hair.hanging, "glasses": recipe.hair.glasses, "beard": recipe.hair.beard,
    }  # fmt: skip
    for name, flags in shares.items():
        assert 0.04 < flags.mean() < 0.5, (name, flags.mean())
    statures = people.body.rest_vertices(recipe.body.betas[:60, 0], recipe.body.expression[:60, 0])
    stature = statures[..., 1].amax(-1) - statures[..., 1].amin(-1)
    assert stature.min() > 1.3 and stature.max() < 2.15 and stature.std() > 0.06


def test_beards_and_skirts_are_not_mixed_up(people):
    recipe = people.draw(range(600))
    both = (recipe.hair.beard > 0.5) & (recipe.garments.skirt > 0.5)
    assert both.float().mean() < 0.01


def test_layers_turn_with_the_body(people):
    """Turning the whole body turns clothes and hair rigidly."""
    recipe = people.draw([31], 1)
    body, faces = people.body, people.body.topology.faces
    betas = recipe.body.betas[:, 0]
    shells = build_shells(people.anatomy, faces, betas, recipe.garments, recipe.hair, people.noise)
    pose = recipe.body.pose.clone()
    pose[..., 0, :] = 0.0
    still = body(recipe.body.replace(pose=pose))
    pose = pose.clone()
    pose[..., 0, 1] = 0.9
    turned = body(recipe.body.replace(pose=pose))
    c, s = np.cos(0.9), np.sin(0.9)
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float32)
    root = still.joints[0, 0, 0]
    expected = (pose_layers(still, shells) - root) @ rotation.T + turned.joints[0, 0, 0]
    assert torch.allclose(pose_layers(turned, shells), expected, atol=1e-4)


def test_unsmoothed_level_is_the_bodys_own_rest_mesh(people):
    betas = people.draw([5, 6], 1).body.betas[:, 0]
    params = people.body.default_params((2,)).replace(betas=betas)
    plain, less, more = people.anatomy.smooth_rest(betas)
    assert torch.allclose(plain, people.body(params).rest_vertices, atol=2e-5)
    faces = people.body.topology.faces
    # One step by hand, on vertices reached by looping over edges.
    vertex, rough = 5000, plain.double()
    around = set(faces[(faces == vertex).any(1)].flatten().tolist()) - {vertex}
    expected = rough
    edges = [set() for _ in range(len(plain[0]))]
    for a, b, c in faces.tolist():
        edges[a] |= {b, c}
        edges[b] |= {a, c}
        edges[c] |= {a, b}
    near = _ring(edges, vertex, 13)
    for _ in range(12):
        step = expected.clone()
        for v in near:
            mean = expected[:, sorted(edges[v])].mean(1)
            step[:, v] = 0.3 * expected[:, v] + 0.7 * mean
        expected = step
    assert edges[vertex] == around
    assert torch.allclose(less[:, vertex].double(), expected[:, vertex], atol=2e-5)
    spread = [(m - m.mean(1, keepdim=True)).norm() for m in (plain, less, more)]
    assert spread[0] > spread[1] > spread[2]


def _ring(edges, vertex, rings):
    found = {vertex}
    for _ in range(rings):
        found |= {n for v in found for n in edges[v]}
    return found


def test_clothes_stand_off_the_skin(people):
    recipe = people.draw(range(41, 45), 1)
    body, faces = people.body, people.body.topology.faces
    betas = recipe.body.betas[:, 0]
    neutral = body.rest_vertices(betas, 0 * recipe.body.expression[:, 0])
    shells = build_shells(people.anatomy, faces, betas, recipe.garments, recipe.hair, people.noise)
    out = (shells.offsets * vertex_normals(neutral, faces)[:, None]).sum(-1)
    torso = body.vertex_parts["torso"]
    inner, outer = out[:, 1][:, torso], out[:, 2][:, torso]
    assert (inner > 0.002).float().mean() > 0.95
    assert ((outer - inner) > 0.004).float().mean() > 0.9
    assert inner.max() < 0.2


def test_sleeves_and_hems_are_where_they_are_drawn(people):
    anchors = people.anatomy.anchors
    x = torch.tensor([[anchors["shoulder_x"], anchors["elbow_x"], -anchors["wrist_x"]]])
    assert torch.allclose(arm_length(anchors, x), torch.tensor([[0.0, 1.0, 2.0]]), atol=1e-6)
    garments = people.draw([51]).garments.replace(
        sleeve=torch.tensor([1.0]), hem=torch.tensor([0.0]), waist=torch.tensor([0.1]),
        leg=torch.tensor([-0.5]), shoe=torch.tensor([-9.0]),
    )  # fmt: skip
    look = Beside(garments)
    arm = torch.full((1, 3), anchors["elbow_y"])
    reach = anchors["elbow_x"] + torch.tensor([[-0.05, 0.0, 0.05]])
    field = inner_field(look, anchors, reach, arm, torch.full((1, 3), anchors["elbow_z"]))
    assert field[0, 0] > 0.04 and abs(field[0, 1]) < 1e-5 and field[0, 2] < -0.04
    height = torch.tensor([[0.2, -0.45, -0.55]])
    field = inner_field(look, anchors, torch.full((1, 3), 0.1), height, torch.zeros(1, 3))
    assert (field[0] > 0).tolist() == [True, True, False]


def test_supersampling_converges(people):
    """Finer sampling changes edges, not the picture."""
    coarse = with_options(people, supersample=1).generate([61], size=(64, 64)).reference.portrait
    fine = with_options(people, supersample=3).generate([61], size=(64, 64)).reference.portrait
    assert (coarse.alpha - fine.alpha).abs().mean() < 0.03
    assert (coarse.rgb - fine.rgb).abs().mean() < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_makes_the_same_people(people):
    from presence.bodies import load_body

    gpu = ProceduralPeople(load_body("annyx"), build_rasterizer("auto")).to("cuda")
    seeds, size = [11, 12, 13, 14], (128, 128)
    there, here = gpu.generate(seeds, size=size).to("cpu"), people.generate(seeds, size=size)
    for view in ("reference", "target"):
        a, b = getattr(there, view), getattr(here, view)
        assert torch.equal(a.body.pose, b.body.pose) and torch.equal(a.body.betas, b.body.betas)
        assert (a.camera.cam_from_world - b.camera.cam_from_world).abs().max() < 1e-4
        assert (a.portrait.alpha - b.portrait.alpha).abs().mean() < 2e-3
        assert (a.portrait.rgb - b.portrait.rgb).abs().mean() < 6e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_keeps_up_with_training(capsys):
    """Pairs a second at 384 px; run with `-s` for the figure."""
    from presence.bodies import load_body

    gpu = ProceduralPeople(load_body("annyx"), build_rasterizer("auto")).to("cuda")
    for warm in range(2):
        gpu.generate(range(warm * 24, warm * 24 + 24), size=(384, 384))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start, batches = time.perf_counter(), 5
    for step in range(batches):
        first = 1000 + 24 * step
        gpu.generate(range(first, first + 24), size=(384, 384))
    torch.cuda.synchronize()
    rate = 24 * batches / (time.perf_counter() - start)
    with capsys.disabled():
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f"\n{rate:.0f} pairs/s at 384 px, peak {memory:.1f} GiB")
    assert rate > 50
