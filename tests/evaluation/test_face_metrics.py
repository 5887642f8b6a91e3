"""Landmark agreement and identity similarity against detectors and networks with known answers."""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
import torch

from presence.bodies import load_body
from presence.errors import AssetError, ConfigError
from presence.estimation.faces import ARCFACE
from presence.estimation.networks.iresnet import IResNet
from presence.evaluation import (
    Evaluation,
    IdentitySimilarity,
    LandmarkAgreement,
    compare_views,
    evaluate,
)
from presence.evaluation import arcface_net as nets
from presence.evaluation.identity import aligned_faces
from presence.evaluation.report import markdown_table
from presence.rasterize import build_rasterizer
from presence.registry import METRICS
from presence.structures import Camera, Portrait, Rendering, View, stack
from presence.testing.toy_training import ToyAvatarModel, ToyPeople
from presence.tracking.landmark_renders import PersonRenderer

SIZE = 128


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


def view_of(body, yaw: float = 0.0, fov: float = 0.12, up: float = 0.0) -> View:
    """The mean person's head, turned by `yaw` radians, in a picture of one half grey."""
    params = body.default_params()
    params.pose[0, 1] = yaw
    head = body(params).joints[15] + torch.tensor([0.0, up, 0.0])
    eye = head + torch.tensor([0.0, 0.0, 4.0])
    camera = Camera.look_at(eye, head, fov, SIZE, SIZE)
    portrait = Portrait(torch.full((3, SIZE, SIZE), 0.5), torch.ones(1, SIZE, SIZE))
    return View(portrait, params, camera)


def comparison_of(body, views, picture=None):
    view = stack(views)
    alpha = view.portrait.alpha
    rgb = view.portrait.rgb if picture is None else picture
    rendering = Rendering(rgb, alpha, torch.zeros_like(alpha))
    return compare_views(rendering, view.portrait, view=view, body=body)


def marked(row: int, column: int) -> torch.Tensor:
    """A black picture with one white square about a pixel position."""
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., row - 2 : row + 2, column - 2 : column + 2] = 1.0
    return picture


def find_mark(count):
    """A detector that puts all landmarks into the middle of what is white."""

    def detect(image):
        weights = image[..., 0] / image.sum(dtype=float) * 3
        y, x = np.indices(weights.shape) + 0.5
        middle = (weights * x).sum(), (weights * y).sum()
        return np.tile(np.asarray(middle), (count, 1))

    return detect


def test_facing_is_the_cosine_of_the_turn(body):
    turns = (0.0, 0.5, 1.0, math.pi / 2, math.pi)
    marks = comparison_of(body, [view_of(body, turn) for turn in turns]).landmarks("face")
    upright = marks.facing[0]  # the face leans back a little
    assert upright > 0.9
    expected = torch.tensor([math.cos(turn) for turn in turns]) * upright
    # In profile the face stands 10 cm off the axis, 4 m from the camera.
    torch.testing.assert_close(marks.facing, expected, atol=0.03, rtol=0)


def test_face_agreement_is_the_mean_distance_in_percent_of_the_face(body):
    comparison = comparison_of(body, [view_of(body)], marked(60, 70))
    points = comparison.landmarks("face").px[0]
    width, height = (points.amax(0) - points.amin(0)).tolist()
    mean = (points - torch.tensor([70.0, 60.0])).norm(dim=-1).mean()
    metric = LandmarkAgreement("face", detect=find_mark(478))
    found = comparison.measure([metric])
    expected = 100 * mean.item() / math.sqrt(width * height)
    assert found["landmarks_face"].item() == pytest.approx(expected, rel=0.01)
    assert found["landmarks_face_failed"].item() == 0


def test_pose_agreement_is_in_percent_of_the_height_and_counts_what_is_in_the_picture(body):
    comparison = comparison_of(body, [view_of(body, fov=0.3)], marked(40, 64))
    marks = comparison.landmarks("pose")
    inside = marks.inside[0]
    assert 0 < inside.sum() < len(inside)  # a half body
    mesh = body(body.default_params())
    tall = (mesh.vertices[:, 1].max() - mesh.vertices[:, 1].min()).item()
    meter = (SIZE / 2) / math.tan(0.15) / 4.0  # px a metre, 4 m from the camera
    away = (marks.px[0][inside] - torch.tensor([64.0, 40.0])).norm(dim=-1).mean().item()
    found = comparison.measure([LandmarkAgreement("pose", detect=find_mark(33))])
    assert found["landmarks_pose"].item() == pytest.approx(100 * away / (tall * meter), rel=0.02)


def test_failures_count_only_where_a_face_was_asked_for(body):
    turned_away, at_the_edge = view_of(body, yaw=2.5), view_of(body, up=0.3)
    views = [view_of(body), turned_away, at_the_edge]
    nothing = comparison_of(body, views).measure([LandmarkAgreement(detect=lambda image: None)])
    assert nothing["landmarks_face"].isnan().all()
    assert nothing["landmarks_face_failed"].isnan().tolist() == [False, True, True]
    assert nothing["landmarks_face_failed"][0] == 1


def test_failures_are_a_count_in_the_table():
    rows = [
        dict(index=i, subject=i, view="novel", landmarks_face_failed=value)
        for i, value in enumerate((0.0, 1.0, math.nan, 0.0))
    ]
    table = markdown_table({"m": Evaluation(rows, {"landmarks_face_failed": "failed"}, {})})
    assert "| - | 1 of 3 |" in table


def test_the_true_picture_gives_the_floor(body):
    comparison = comparison_of(body, [view_of(body)], marked(60, 70))
    metric = LandmarkAgreement("face", on="portrait", detect=lambda image: None)
    assert comparison.measure([metric])["landmarks_face_true_failed"].item() == 1
    with pytest.raises(ConfigError, match="part should be face or pose"):
        METRICS.build(dict(type="LandmarkAgreement", part="hand"))


def test_mediapipe_finds_a_rendered_face_where_the_body_is(body):
    pytest.importorskip("mediapipe", reason="landmarks need the mediapipe package")
    person = PersonRenderer(body, build_rasterizer("cpu"), seed=5).render("head")
    rgb = torch.from_numpy(person.image).permute(2, 0, 1).float() / 255
    portrait = Portrait(rgb, torch.ones_like(rgb[:1]))
    view = View(portrait, person.params, person.camera).unsqueeze()
    alpha = view.portrait.alpha
    drawn = Rendering(view.portrait.rgb, alpha, torch.zeros_like(alpha))
    moved = drawn.replace(rgb=drawn.rgb.roll(25, -1))
    values = []
    for rendering in (drawn, moved):
        comparison = compare_views(rendering, view.portrait, view=view, body=body)
        marks = comparison.landmarks("face")
        values.append(comparison.measure([LandmarkAgreement("face")])["landmarks_face"].item())
    side = (marks.px.amax(1) - marks.px.amin(1)).prod().sqrt().item()
    assert values[0] < 5
    assert values[1] == pytest.approx(100 * 25 / side, abs=5)


@pytest.mark.parametrize("how", ["absent", "broken"])
def test_without_mediapipe_there_is_a_reason(monkeypatch, how):
    from presence.evaluation import landmarks

    def broken(part):
        raise OSError("libEGL.so.1: cannot open shared object file")

    landmarks._no_mediapipe.cache_clear()
    if how == "absent":
        monkeypatch.setitem(sys.modules, "mediapipe", None)
    else:
        monkeypatch.setitem(sys.modules, "mediapipe", types.ModuleType("mediapipe"))
        monkeypatch.setattr(landmarks, "_mediapipe", broken)
    try:
        reason = LandmarkAgreement("face").missing()
    finally:
        landmarks._no_mediapipe.cache_clear()
    assert "pip install mediapipe" in reason
    assert how == "absent" or "libEGL.so.1" in reason


def test_models_without_landmarks_say_so():
    metrics = [LandmarkAgreement("face", detect=lambda image: None), IdentitySimilarity()]
    result = evaluate(ToyAvatarModel(), ToyPeople(num_subjects=1), 1, metrics)
    assert result.missing == dict.fromkeys(
        ("landmarks_face", "identity"), "the model has no body to say where landmarks are"
    )


def test_faces_are_aligned_by_one_similarity():
    """A picture that is linear in ArcFace's pixels is that after alignment, however it lay."""
    turn, scale, shift = 0.4, 1.7, torch.tensor([60.0, 30.0])
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    px_from_crop = torch.tensor([[c, -s], [s, c]])
    points = torch.zeros(478, 2)
    lids = {0: (160, 158, 153, 144), 1: (385, 387, 373, 380), 2: (4,), 3: (78,), 4: (308,)}
    for index, group in lids.items():
        points[list(group)] = torch.tensor(ARCFACE[index]) @ px_from_crop.T + shift
    y, x = torch.meshgrid(torch.arange(300) + 0.5, torch.arange(300) + 0.5, indexing="ij")
    back = (torch.stack([x, y], -1) - shift) @ torch.linalg.inv(px_from_crop).T  # [H W 2]
    picture = torch.cat([back, back[..., :1]], -1).permute(2, 0, 1)[None]
    crop = aligned_faces(picture, points)[0]
    expected = torch.arange(112) + 0.5
    torch.testing.assert_close(crop[0, 56], expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(crop[1, :, 56], expected, atol=2e-3, rtol=0)


def test_identity_is_the_cosine_of_the_networks_embeddings(body, monkeypatch):
    monkeypatch.setattr(
        "presence.evaluation.identity.get_arcface",
        lambda weights, device="cpu": (lambda faces: faces.mean((-1, -2)), "colours"),
    )
    color = torch.tensor([0.9, 0.2, 0.5]).view(1, 3, 1, 1)
    views = []
    for yaw in (0.0, 2.5):
        view = view_of(body, yaw)
        views.append(view.replace(portrait=view.portrait.replace(rgb=view.portrait.rgb + 0.2)))
    rendered = color.expand(2, 3, SIZE, SIZE)
    found = comparison_of(body, views, rendered).measure([IdentitySimilarity()])["identity"]
    embedding = 2 * color.flatten() - 1  # the other is [0.4, 0.4, 0.4]
    expected = embedding.sum() / math.sqrt(3) / embedding.norm()
    assert found[0].item() == pytest.approx(expected.item(), abs=1e-5)
    assert found[1].isnan()  # nobody can be recognised from behind
    same = comparison_of(body, views).measure([IdentitySimilarity()])["identity"]
    assert same[0].item() == pytest.approx(1.0, abs=1e-6)
    assert IdentitySimilarity().label == "identity (colours)"


@pytest.fixture
def small_net(monkeypatch):
    monkeypatch.setitem(nets.SIZES, (1, 2, 1, 1), "IResNet-toy")
    torch.manual_seed(0)
    network = IResNet((1, 2, 1, 1))
    network.bn1.running_mean += 0.1
    return network.eval()


def test_a_state_dict_of_arcface_torch_is_read_whole(small_net, tmp_path):
    path = tmp_path / "ms1mv3_arcface_toy" / "backbone.pth"
    path.parent.mkdir()
    torch.save(small_net.state_dict(), path)
    network, about = nets.get_arcface(str(path))
    assert about == "IResNet-toy, ms1mv3_arcface_toy"
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(network(faces), small_net(faces))
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_the_large_network_is_as_large_as_the_released_file():
    """`glint360k_cosface_r100_fp16_0.1/backbone.pth` has 261,223,796 bytes."""
    with torch.device("meta"):
        state = IResNet((3, 13, 30, 3)).state_dict()
    size = sum(value.numel() * value.element_size() for value in state.values())
    assert size == pytest.approx(261_223_796, rel=2e-3)


def test_files_that_do_not_fit_are_reasons_and_not_replaced(small_net, tmp_path):
    state = small_net.state_dict()
    state["features.scale"] = state.pop("features.weight")
    torch.save(state, tmp_path / "renamed.pth")
    network, reason = nets.get_arcface(str(tmp_path / "renamed.pth"))
    assert network is None
    assert "missing: features.weight; left over: features.scale" in reason
    torch.save({k: v for k, v in state.items() if "layer2.1" not in k}, tmp_path / "short.pth")
    with pytest.raises(AssetError, match=r"stages have \[1, 1, 1, 1\] blocks"):
        nets.read_arcface(tmp_path / "short.pth")
    gone = IdentitySimilarity(str(tmp_path / "gone.pth"))
    assert "gone.pth do not exist" in gone.missing()


def test_the_official_file_says_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    nets._load.cache_clear()
    try:
        reason = IdentitySimilarity().missing()
    finally:
        nets._load.cache_clear()
    assert "non-commercial research" in reason and "arcface_torch" in reason
    assert str(tmp_path / "weights" / "arcface") in reason
