"""The embedded body and random parameters for it."""

from __future__ import annotations

import pytest
import torch

from presence.bodies import Body, load_body
from presence.structures import BodyParams


@pytest.fixture(scope="session")
def annyx() -> Body:
    return load_body("annyx")


@pytest.fixture(scope="session")
def random_params(annyx):
    def draw(count: int, seed: int = 0) -> BodyParams:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(count, *shape, generator=generator)

        return BodyParams(
            betas=normal(annyx.num_betas),
            expression=normal(annyx.num_expression).abs() * 0.5,
            pose=normal(55, 3) * 0.4,
            translation=normal(3),
        )

    return draw
