"""A body and a small surface map shared by the contract tests."""

from __future__ import annotations

import pytest

from presence.registry import BODIES


@pytest.fixture(scope="session")
def body():
    """The bundled body."""
    return BODIES.build(dict(type="SMPLXBody"))


@pytest.fixture(scope="session")
def surface(body):
    """Its surface map at 64 texels a side."""
    from presence.projection import build_surface

    return build_surface(body, 64)
