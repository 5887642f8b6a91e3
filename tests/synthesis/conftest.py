"""One generator for all tests of this folder: building it takes seconds."""

import pytest

from presence.bodies import load_body
from presence.rasterize import build_rasterizer
from presence.synthesis import ProceduralPeople


@pytest.fixture(scope="session")
def people():
    return ProceduralPeople(load_body("annyx"), build_rasterizer("cpu"))


@pytest.fixture(scope="session")
def sample(people):
    """Four pairs at 96 px."""
    return people.generate([11, 12, 13, 14], size=(96, 96))
