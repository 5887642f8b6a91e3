"""Checks that every component of a kind must pass; a plugin's author calls one in a test.

Each raises `ContractError`, which names the component, what was expected and what was found.
"""

from presence.testing.contracts.bodies import check_body
from presence.testing.contracts.common import ContractError
from presence.testing.contracts.datasets import check_dataset
from presence.testing.contracts.estimators import check_estimator
from presence.testing.contracts.networks import check_decoder, check_encoder, check_projector
from presence.testing.contracts.rasterizers import check_rasterizer
from presence.testing.contracts.renderers import check_renderer
from presence.testing.contracts.trackers import check_tracker

__all__ = [
    "ContractError",
    "check_body",
    "check_dataset",
    "check_decoder",
    "check_encoder",
    "check_estimator",
    "check_projector",
    "check_rasterizer",
    "check_renderer",
    "check_tracker",
]
