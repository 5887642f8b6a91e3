"""Head crops: where they look, what they keep, and that they repeat."""

import pickle

import pytest
import torch

from presence.bodies import load_body
from presence.datasets import HeadWindows, crop_view
from presence.engine.seed import mix
from presence.errors import ConfigError
from presence.registry import DATASETS
from presence.structures import Portrait, View

PEOPLE = dict(
    type="ProceduralPeopleDataset",
    num_subjects=4,
    split="test",
    size=64,
    supersample=1,
    framings=dict(head=0.0, half=1.0, full=0.0, any=0.0),
)


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


@pytest.fixture(scope="module")
def people(body):
    return DATASETS.build(PEOPLE, body=body)


@pytest.fixture(scope="module")
def batch(people):
    return people.batch(0, 4)


def test_windows_hold_the_whole_head(body, batch):
    windows, usable = HeadWindows(body, margin=0.2, smallest=0.0)(batch.target)
    px, _ = batch.target.camera.project(body(batch.target.body).vertices)
    head = px[:, body.vertex_parts["head"]]
    assert usable.all()
    relative = (head - windows[:, None, :2]) / windows[:, None, 2:]
    span = relative.amax(1) - relative.amin(1)
    torch.testing.assert_close(span.amax(-1), torch.full((4,), 1 / 1.4))
    middle = (relative.amax(1) + relative.amin(1)) / 2
    torch.testing.assert_close(middle, torch.full((4, 2), 0.5))


def test_a_ramp_shows_each_crop_the_pixels_its_camera_says(body, batch):
    """In a picture whose colour is the pixel position, colour at a projected point is known."""
    steps = torch.arange(64) + 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    ramp = torch.stack([columns, rows, rows * 0])[None].expand(4, -1, -1, -1) / 64
    alpha = torch.ones(4, 1, 64, 64)
    view = View(Portrait(ramp, alpha), batch.target.body, batch.target.camera)
    windows, _ = HeadWindows(body)(view)
    crop = crop_view(view, windows)
    points = body(view.body).vertices[:, body.vertex_parts["face"]]
    before, after = view.camera.project(points)[0], crop.camera.project(points)[0]
    grid = (2 * after / 64 - 1)[:, None]
    colour = torch.nn.functional.grid_sample(crop.portrait.rgb, grid, align_corners=False)[:, :2, 0]
    inside = ((before > 1) & (before < 63) & (after > 1) & (after < 63)).all(-1)
    assert inside.sum() > 4000
    error = colour.transpose(1, 2) * 64 - before
    assert error[inside].abs().max() < 0.02


def test_outside_the_picture_the_mask_is_empty(batch):
    window = torch.tensor([[-32.0, 0.0, 64.0]]).expand(4, -1)
    view = batch.target.replace(
        portrait=batch.target.portrait.replace(alpha=torch.ones(4, 1, 64, 64))
    )
    crop = crop_view(view, window)
    assert crop.portrait.alpha[..., :31].max() == 0 and crop.portrait.alpha[..., 33:].min() == 1


def test_uncropped_samples_keep_their_bits_and_shares_hold(people, body):
    data = DATASETS.build(dict(type="HeadCrops", source=PEOPLE, target=0.5), body=body)
    numbers = range(400)
    share = sum(mix(0, 1, n) % 2**24 < 2**23 for n in numbers) / len(numbers)
    assert 0.42 < share < 0.58
    batch, plain = data.batch(0, 8), people.batch(0, 8)
    assert torch.equal(batch.reference.portrait.rgb, plain.reference.portrait.rgb)
    same = [torch.equal(a, b) for a, b in zip(batch.target.portrait.rgb, plain.target.portrait.rgb)]
    assert same == [not mix(0, 1, n) % 2**24 < 2**23 for n in range(8)]
    assert same == [torch.equal(a, b) for a, b in zip(batch.target.camera.K, plain.target.camera.K)]
    again = data.batch(0, 8).target.portrait.rgb
    assert torch.equal(batch.target.portrait.rgb, again)


def test_heads_out_of_the_picture_are_left_alone(body, batch):
    moved = batch.target.camera.replace(K=batch.target.camera.K.clone())
    moved.K[:, 0, 2] += 500
    _, usable = HeadWindows(body)(batch.target.replace(camera=moved))
    assert not usable.any()


def test_shares_are_checked():
    with pytest.raises(ConfigError, match="HeadCrops.target should be a share"):
        DATASETS.build(dict(type="HeadCrops", source=PEOPLE, target=1.5))


def test_travels_to_another_process(body):
    """On CUDA, batches are made in a process of their own."""
    mixed = dict(type="MixedDataset", sources=[PEOPLE, {**PEOPLE, "first_seed": 50}])
    data = DATASETS.build(dict(type="HeadCrops", source=mixed, target=0.5), body=body)
    here = data.batch(2, 2)
    there = pickle.loads(pickle.dumps(data)).batch(2, 2)
    assert torch.equal(here.target.portrait.rgb, there.target.portrait.rgb)
