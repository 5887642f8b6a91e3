"""A person with known parameters, and an untrained pipeline for them."""

import pytest
import torch
from known_person import MODEL, KnownTracker, draw_scene

from presence.bodies import load_body
from presence.models import AvatarModel
from presence.pipeline import Reconstructor


@pytest.fixture(scope="session")
def body():
    return load_body("annyx")


@pytest.fixture(scope="session")
def scene(body):
    return draw_scene(body)


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    return AvatarModel.from_config(MODEL).eval()


@pytest.fixture
def reconstructor(model, scene):
    return Reconstructor(model, KnownTracker(scene), size=128, turntable=6, progress=False)
