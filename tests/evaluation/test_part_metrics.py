"""Metrics of body parts alone, against a mask made by hand: two flat squares before a camera."""

from __future__ import annotations

import math

import pytest
import torch

from presence.errors import ConfigError
from presence.evaluation import PSNR, SSIM, compare_views, evaluate, ssim
from presence.interfaces import Body
from presence.registry import METRICS
from presence.structures import (
    BodyParams,
    Camera,
    MeshTopology,
    Portrait,
    ProxyMesh,
    Rendering,
    View,
)
from presence.testing.toy_training import ToyAvatarModel, ToyPeople

SIDE = 40  # px; one is 1/40 m, seen from 1 m
HEAD, TRUNK, PERSON = (8, 20, 12, 28), (20, 36, 8, 32), (2, 38, 6, 34)  # rows, columns
# 192 px of head: a quarter of their root is 3 px, and the trunk is not the head's.
HEAD_AND_HAIR = (5, 20, 9, 31)


def box(rows_columns):
    top, bottom, left, right = rows_columns
    mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., top:bottom, left:right] = True
    return mask


class FlatBody(Body):
    """A square head on a square trunk, in the plane z = 0."""

    name = "flat"

    def __init__(self):
        super().__init__()
        self.num_betas = self.num_expression = 1
        self.expression_names = ["a"]
        corners = []
        for top, bottom, left, right in (HEAD, TRUNK):
            corners += [(left, top), (right, top), (right, bottom), (left, bottom)]
        px = torch.tensor(corners, dtype=torch.float32)
        xy = (px - SIDE / 2) / SIDE * torch.tensor([1.0, -1.0])
        self.points = torch.cat([xy, torch.zeros(8, 1)], -1)
        faces = torch.tensor([[0, 2, 1], [0, 3, 2], [4, 6, 5], [4, 7, 6]])
        self.topology = MeshTopology(faces, faces, torch.zeros(8, 2), 8)
        self.vertex_parts = {"head": torch.arange(4), "torso": torch.arange(4, 8)}

    def default_params(self, batch_shape=()):
        zeros = lambda *shape: torch.zeros(*batch_shape, *shape)  # noqa: E731
        return BodyParams(zeros(1), zeros(1), zeros(55, 3), zeros(3))

    def forward(self, params):
        points = self.points.expand(*params.betas.shape[:-1], 8, 3)
        turn = torch.eye(3).expand(*points.shape, 3)
        return ProxyMesh(points, points, turn, points[..., :1, :])


def comparison(rgb, alpha):
    body = FlatBody()
    eye, target = torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3)
    camera = Camera.look_at(eye, target, 2 * math.atan(0.5), SIDE, SIDE).unsqueeze()
    truth = Portrait(torch.full((1, 3, SIDE, SIDE), 0.4), box(PERSON).float())
    view = View(truth, body.default_params((1,)), camera)
    rendering = Rendering(rgb * alpha, alpha, torch.zeros_like(alpha))
    return compare_views(rendering, truth, background=0.75, view=view, body=body)


def test_the_mask_is_the_part_and_what_is_about_it():
    whole = comparison(torch.full((1, 3, SIDE, SIDE), 0.4), box(PERSON).float())
    seen = whole.inside(["head"], 0.25)
    torch.testing.assert_close(seen.mask, box(HEAD_AND_HAIR))
    torch.testing.assert_close(whole.inside(["head"], 0.0).mask, box(HEAD))
    both = whole.inside(["head", "torso"], 0.0).mask
    torch.testing.assert_close(both, box(HEAD) | box(TRUNK))
    outside = ~seen.mask.expand(-1, 3, -1, -1)
    assert (seen.target[outside] == 0.75).all() and (seen.prediction[outside] == 0.75).all()


def test_errors_elsewhere_do_not_count():
    head = box(HEAD_AND_HAIR)
    rgb = torch.where(head, 0.5, 0.9).expand(1, 3, -1, -1)
    alone = comparison(rgb, head.float())  # a head without a trunk, and 0.1 off
    whole = comparison(rgb, box(PERSON).float())
    metrics = [PSNR(), PSNR(parts=("head",)), SSIM(parts=("head",))]
    first, second = alone.measure(metrics), whole.measure(metrics)
    for found in (first, second):
        assert found["psnr_head"].item() == pytest.approx(20.0, abs=1e-4)
    assert first["psnr"] < 15 and second["psnr"] < 15
    torch.testing.assert_close(first["ssim_head"], second["ssim_head"])
    painted = [torch.where(head, color, 0.75).expand(1, 3, -1, -1) for color in (0.5, 0.4)]
    torch.testing.assert_close(first["ssim_head"], ssim(*painted, head))


def test_a_missing_head_costs_its_distance_to_the_background():
    nothing = torch.zeros(1, 1, SIDE, SIDE)
    found = comparison(nothing.expand(-1, 3, -1, -1), nothing).measure([PSNR(parts=["head"])])
    assert found["psnr_head"].item() == pytest.approx(-20 * math.log10(0.35), abs=1e-4)


def test_names_and_what_is_not_known():
    lpips = METRICS.build(dict(type="LPIPS", net="alex", parts=("head", "neck")))
    assert (lpips.name, lpips.label) == ("lpips_head_neck", "LPIPS head neck (alex)")
    assert (
        PSNR(parts=["head"]).label == "PSNR head (dB)" and SSIM(parts=["head"]).label == "SSIM head"
    )
    assert PSNR(parts=["tail"]).unsuited(FlatBody()) == (
        "body `flat` has no part `tail`; it has head, torso"
    )
    with pytest.raises(ConfigError, match="parts is a list of names"):
        PSNR(parts="head")
    result = evaluate(ToyAvatarModel(), ToyPeople(1), 1, [PSNR(), PSNR(parts=["head"])])
    assert result.missing == {"psnr_head": "the model has no body to say where its parts are"}
    assert "input/psnr" in result.means
