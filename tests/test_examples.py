"""The examples in docstrings of the whole package and of the bundled plugins."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import presence
import presence_plugins

OPTIONAL = {"triton"}  # kernels that nothing but a GPU asks for
MODULES = [
    module.name
    for package in (presence, presence_plugins)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.ispkg
]


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    try:
        tests = examples(name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{name} needs {error.name}")
    runner = doctest.DocTestRunner()
    for test in tests:
        assert runner.run(test).failed == 0, test.name
