"""Multi-view folders, on a miniature made by the procedural generator."""

import shutil

import pytest
import torch

from presence.bodies import load_body
from presence.datasets import export_multiview, find_identities, load_view, save_view, split_of
from presence.errors import InputError
from presence.io.images import load_portrait, save_png
from presence.rasterize import build_rasterizer
from presence.registry import DATASETS
from presence.structures import View, stack
from presence.synthesis import ProceduralPeople
from presence.tracking.files import load_tracking, save_tracking

SEEDS = (7, 8, 9)


@pytest.fixture(scope="module")
def people():
    framings = dict(head=0.0, half=1.0, full=0.0, any=0.0)
    return ProceduralPeople(load_body("annyx"), build_rasterizer("cpu"), framings=framings)


@pytest.fixture(scope="module")
def root(people, tmp_path_factory):
    out = tmp_path_factory.mktemp("generated") / "people"
    export_multiview(people, SEEDS, out, size=96)
    return out


def build(root, **options):
    options = dict(split="all", size=96, framing="picture") | options
    return DATASETS.build(dict(type="MultiViewFolder", root=str(root), **options))


def test_views_are_named_by_how_the_person_is_seen(root):
    found = find_identities(root)
    assert [person.name for person in found] == ["000007", "000008", "000009"]
    names = [view.picture.name for view in found[0].views]
    assert names == ["front_0.png", "side_1.png", "side_2.png", "back_3.png"]


def test_what_is_read_is_what_was_drawn(root, people):
    """Rounding to 8 bits apart: pictures, masks, bodies and cameras come back."""
    recipe = people.draw([8], 4)
    yaw = torch.deg2rad(torch.tensor([[0.0, 90.0, -90.0, 180.0]]))
    recipe = recipe.replace(viewpoint=recipe.viewpoint.replace(yaw=yaw))
    drawn = people.render(recipe, (96, 96))[0]
    for position, file in enumerate(find_identities(root)[1].views):
        view = load_view(file, 96, "picture")
        assert (view.portrait.rgb - drawn.portrait.rgb[position]).abs().max() < 0.003
        assert (view.portrait.alpha - drawn.portrait.alpha[position]).abs().max() < 0.003
        torch.testing.assert_close(view.body.pose, drawn.body.pose[position])
        torch.testing.assert_close(view.camera.K, drawn.camera.K[position])
        torch.testing.assert_close(
            view.camera.cam_from_world, drawn.camera.cam_from_world[position]
        )


def test_the_views_are_turned_as_their_labels_say(root):
    body = load_body("annyx")
    for person in find_identities(root):
        for view in person.views:
            tracking = load_tracking(view.tracking)
            turn = body(tracking.body).skin_rotations[body.vertex_parts["torso"]].mean(0)
            facing = turn[:, 2]  # the rest pose faces +z
            towards = tracking.camera.position - body(tracking.body).joints[0]
            cosine = torch.cosine_similarity(facing[[0, 2]], towards[[0, 2]], dim=0)
            low, high = {"front": (0.7, 1.01), "side": (-0.5, 0.5), "back": (-1.01, -0.7)}[
                view.label
            ]
            assert low < cosine < high, (view.picture.name, float(cosine))


def test_pairs_are_directional_for_generated_and_free_for_rendered_data(root):
    directional = build(root)
    labels = {(a.label, b.label) for _, a, b in directional.pairs}
    assert labels == {("front", "side"), ("front", "back"), ("side", "back")}
    assert len(directional) == 3 * 5  # two sides: f-s, f-s, f-b, s-b, s-b
    assert len(build(root, pairing="free")) == 3 * 12
    assert len(build(root, labels=["front", "back"])) == 3
    first = [person.name for person, _, _ in directional.pairs[:3]]
    assert len(set(first)) == 3  # any stretch is diverse


def test_a_person_has_the_shape_of_the_most_reliable_view(root, tmp_path):
    copy = tmp_path / "people"
    shutil.copytree(root, copy)
    side = copy / "000007" / "side_1.npz"
    tracking = load_tracking(side)
    changed = tracking.body.replace(betas=tracking.body.betas + 1.0)
    save_tracking(side, tracking.replace(body=changed))
    front = copy / "000007" / "front_0.npz"
    tracking, offsets = load_tracking(front), 0.01 * torch.randn(50, 3)
    truth = tracking.body.betas
    save_tracking(front, tracking.replace(body=tracking.body.replace(offsets=offsets)))
    data = build(copy, labels=["side", "back"])
    sample = data[0]
    assert data.pairs[0][1].picture == side.with_suffix(".png")
    assert torch.equal(sample.reference.body.betas, truth)
    assert torch.equal(sample.target.body.betas, truth)
    assert torch.equal(sample.reference.body.offsets, offsets)
    assert torch.equal(sample.target.body.offsets, offsets)
    other = next(s for s, pair in zip(data, data.pairs) if pair[0].name != "000007")
    both = stack([sample, other])  # a batch: whoever has none gets zeros
    assert torch.equal(both.target.body.offsets[0], offsets)
    assert not both.target.body.offsets[1].any()


def test_people_of_another_body_are_refused(root):
    class Other:
        name = "SMPLX_NEUTRAL"

    assert build(root, body="annyx")[0].target.body.betas.any()
    with pytest.raises(InputError, match="`annyx`, but `SMPLX_NEUTRAL` is in use"):
        build(root, body=Other())[0]


def test_the_square_around_the_person_keeps_points_on_their_pixels(root, tmp_path):
    """A wide picture: the window changes picture and camera alike, so colours stay on points."""
    view = load_view(find_identities(root)[0].views[0], 96, "picture")
    wide = view.portrait.map(lambda p: torch.nn.functional.pad(p, (60, 30, 20, 10)))
    camera = view.camera.cropped(-60, -20, 186, 126)
    (tmp_path / "anna").mkdir()
    save_view(tmp_path / "anna", "front", View(wide, view.body, camera), body_name="annyx")
    file = find_identities(tmp_path)[0].views[0]
    points = load_body("annyx")(view.body).vertices[::40]

    def colours(seen: View):
        px = seen.camera.project(points)[0]
        side = seen.portrait.size[0]
        smooth = torch.nn.functional.avg_pool2d(seen.portrait.rgb[None], 5, 1, 2)
        grid = (2 * px / side - 1)[None, None]
        return torch.nn.functional.grid_sample(smooth, grid, align_corners=False)[0, :, 0].T

    truth, px = colours(view), view.camera.project(points)[0]
    inside = ((px > 6) & (px < 90)).all(-1)
    assert inside.sum() > 50
    for framing, size in (("person", 96), ("picture", 186)):
        cut = load_view(file, size, framing)
        assert not torch.equal(cut.camera.K, camera.K)
        assert (truth - colours(cut))[inside].abs().mean() < 0.02
    shifted = truth.roll(5, 0)
    assert (truth - shifted)[inside].abs().mean() > 0.05  # the test can fail


def test_splits_share_nobody(root):
    names = [f"{number:06d}" for number in range(400)]
    val = next(name for name in names if split_of(name) == "val")
    with pytest.raises(InputError, match="0 people for split `val`"):
        build(root, split="val")
    assert val not in {person.name for person, _, _ in build(root, split="train").pairs}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda f: (f / "front_0.npz").unlink(), "front_0.npz does not exist"),
        (lambda f: (f / "front_0_mask.png").unlink(), "neither transparency nor a mask"),
        (lambda f: save_png(f / "front_0_mask.png", torch.ones(1, 80, 80)), "80 x 80 pixels"),
        (lambda f: save_png(f / "front_0.png", torch.ones(3, 90, 70)), "is of a picture of 96"),
        (lambda f: (f / "side_1.png").rename(f / "sied_1.png"), "Did you mean `side`"),
    ],
)
def test_what_is_missing_is_named(root, tmp_path, break_it, said):
    copy = tmp_path / "people"
    shutil.copytree(root / "000007", copy / "000007")
    break_it(copy / "000007")
    if "picture of" in said:
        save_png(copy / "000007" / "front_0_mask.png", torch.ones(1, 90, 70))
    with pytest.raises(InputError, match=said):
        build(copy)[0]


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="expected <identity>/front.png"):
        build(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        build(tmp_path / "none")


def test_transparency_is_a_mask(root, tmp_path):
    folder = tmp_path / "anna"
    shutil.copytree(root / "000007", folder)
    mask = load_portrait(folder / "front_0_mask.png").rgb[:1]
    picture = load_portrait(folder / "front_0.png").rgb
    save_png(folder / "front_0.png", torch.cat([picture, mask]))
    (folder / "front_0_mask.png").unlink()
    view = load_view(find_identities(tmp_path)[0].views[0], 96, "picture")
    assert torch.equal(view.portrait.alpha, mask)


def test_the_tool_writes_folders_that_can_be_read(tmp_path, tool):
    config = tmp_path / "c.py"
    people = dict(type="ProceduralPeopleDataset", num_subjects=3, split="test", size=64)
    splits = dict(test=people, mixed=dict(type="MixedDataset", sources=[people]))
    config.write_text(f"data = {splits!r}\n")
    out = tmp_path / "out"

    given = "synthesize", config, "--multiview", "--out", out
    code, said, _ = tool(*given, "--subjects", "2")
    assert code == 0 and "wrote 2 people" in said
    assert len(build(out, size=64)) == 2 * 5
    code, _, said = tool(*given, "--split", "mixed")
    assert code == 2 and "MixedDataset makes no views of its own" in said
