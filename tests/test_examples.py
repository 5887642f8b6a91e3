"""The examples in docstrings of engine, metrics, benchmarks and what tools share."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import presence.benchmark
import presence.engine
import presence.evaluation

MODULES = [
    "presence.cli",
    "presence.errors",
    "presence.registry",
    *(
        module.name
        for package in (presence.benchmark, presence.engine, presence.evaluation)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
