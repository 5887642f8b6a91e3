"""Choosing a renderer: names, configs, devices, and what happens where gsplat is missing."""

import logging

import pytest
import torch

from presence.errors import ConfigError
from presence.registry import RENDERERS
from presence.rendering import AutoRenderer, CPURenderer, GsplatRenderer, build, build_renderer
from presence.testing.splatting import random_scene


def test_names_and_configs():
    assert isinstance(build_renderer(), AutoRenderer)
    assert isinstance(build_renderer("cpu"), CPURenderer)
    assert isinstance(build_renderer("cuda"), GsplatRenderer)
    assert build_renderer(dict(type="CPURenderer", eps2d=0.1)).eps2d == 0.1
    assert {"AutoRenderer", "CPURenderer", "GsplatRenderer"} <= set(RENDERERS.names())


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="Did you mean `CPURenderer`"):
        build_renderer("CpuRenderer")
    with pytest.raises(ConfigError, match="no option `eps`"):
        build_renderer(dict(type="AutoRenderer", eps=0.1))


def test_auto_draws_cpu_tensors_as_the_cpu_renderer_does():
    scene = random_scene(50, width=32, height=32)
    options = dict(eps2d=0.7, near=1.5)
    found, wanted = AutoRenderer(**options)(*scene), CPURenderer(**options)(*scene)
    assert torch.equal(found.rgb, wanted.rgb)
    assert not torch.equal(found.rgb, CPURenderer()(*scene).rgb)


def test_auto_falls_back_once_with_a_reason(monkeypatch, caplog):
    monkeypatch.setattr(build, "gsplat_problem", lambda: "no nvcc here")
    renderer, cuda = AutoRenderer(), torch.device("cuda")
    with caplog.at_level(logging.WARNING):
        assert isinstance(renderer.choose(cuda), CPURenderer)
        assert isinstance(renderer.choose(cuda), CPURenderer)
    assert caplog.text.count("no nvcc here") == 1
    monkeypatch.setattr(build, "gsplat_problem", lambda: None)
    assert isinstance(renderer.choose(cuda), GsplatRenderer)
