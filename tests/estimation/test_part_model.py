"""Where the points of a part's own model are seen, for the three ways networks place its root."""

from __future__ import annotations

import pytest
import torch

from presence.geometry import axis_angle_to_matrix
from presence.structures import PartModel

TURN = axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.4]))
SHIFT = torch.tensor([0.1, -0.2, 3.0])
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.mark.parametrize("rule", ["kept", "flipped", "turned"])
def test_points_are_placed_as_each_kind_of_network_means(rule):
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    root = torch.tensor([0.2, 0.5, -0.1])
    about_root = (points - root) @ TURN.T + root
    rotation, expected = {
        "kept": (TURN, about_root + SHIFT),
        "flipped": (FLIP @ TURN, about_root @ FLIP.T + SHIFT),
        "turned": (TURN, points @ TURN.T + SHIFT),
    }[rule]
    model = PartModel(
        rotation,
        SHIFT,
        torch.eye(3),
        torch.zeros(10),
        torch.zeros(0),
        torch.eye(3)[None],
        root=rule,
    )
    torch.testing.assert_close(model.place(points, root), expected)
