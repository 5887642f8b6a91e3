"""Building components from configs, and the texts of the errors."""

from __future__ import annotations

import pytest

import presence.testing.toy_training  # noqa: F401, I001 - registers
from presence import plugins
from presence.errors import ConfigError, did_you_mean
from presence.plugins import PluginFailure
from presence.registry import ALL, DATASETS, HOOKS, METRICS, MODELS, Registry


class DualUVDecoder:
    def __init__(self, body, uv_size: int = 8, *, width: int = 4, renderer=None) -> None:
        self.body, self.uv_size, self.width, self.renderer = body, uv_size, width, renderer


@pytest.fixture
def decoders():
    registry = Registry("decoder")
    registry.register()(DualUVDecoder)
    registry.register("Other")(type("Another", (), {}))
    return registry


def test_options_and_collaborators_reach_the_constructor(decoders):
    built = decoders.build(
        dict(type="DualUVDecoder", width=7), body="body", renderer="r", tracker="not wanted"
    )
    assert (built.body, built.uv_size, built.width, built.renderer) == ("body", 8, 7, "r")


def test_the_config_wins_over_a_collaborator(decoders):
    assert decoders.build(dict(type="DualUVDecoder", body="mine"), body="theirs").body == "mine"


def test_a_class_can_stand_for_its_name(decoders):
    assert decoders.build(dict(type=DualUVDecoder, body=1)).body == 1


def test_unknown_component(decoders, monkeypatch):
    failure = PluginFailure("heavy", "ModuleNotFoundError: No module named 'heavy_net'")
    monkeypatch.setattr(plugins, "_failures", [failure])
    with pytest.raises(ConfigError) as error:
        decoders.build(dict(type="DualUvDecoder"))
    assert str(error.value) == (
        "unknown decoder `DualUvDecoder`. Did you mean `DualUVDecoder`? "
        "Available: DualUVDecoder, Other. "
        "Skipped plugin heavy (ModuleNotFoundError: No module named 'heavy_net')."
    )


def test_unknown_option(decoders):
    with pytest.raises(ConfigError) as error:
        decoders.build(dict(type="DualUVDecoder", widht=3), body="b", renderer="r")
    assert str(error.value) == (
        "decoder `DualUVDecoder` has no option `widht`. Did you mean `width`? "
        "Options: uv_size, width."
    )


def test_missing_option_and_missing_type(decoders):
    with pytest.raises(ConfigError, match="decoder `DualUVDecoder` needs option `body`."):
        decoders.build(dict(type="DualUVDecoder"))
    with pytest.raises(ConfigError, match=r"a decoder is configured as dict\(type=...,"):
        decoders.build(dict(width=3))
    with pytest.raises(ConfigError, match="configured as"):
        decoders.build("DualUVDecoder")


def test_no_suggestion_for_what_is_far_away():
    assert did_you_mean("xyz", ["DualUVDecoder"]) == ""
    assert did_you_mean("dualuvdecoder", ["DualUVDecoder"]) == " Did you mean `DualUVDecoder`?"


def test_mmengine_resolves_our_components_in_its_own_registries():
    import mmengine.registry as mm
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("presence"):
        assert type(mm.MODELS.build(dict(type="ToyAvatarModel"))).__name__ == "ToyAvatarModel"
        assert len(mm.DATASETS.build(dict(type="ToyPeople", num_subjects=3))) == 3


def test_our_registries_also_find_mmengines_components():
    import mmengine.hooks  # noqa: F401 - registers; training imports it

    assert HOOKS.lookup("IterTimerHook").__name__ == "IterTimerHook"
    with pytest.raises(ConfigError, match="unknown hook `NoSuchHook`"):
        HOOKS.lookup("NoSuchHook")


def test_every_kind_has_a_registry_with_names():
    assert {"encoder", "decoder", "renderer", "rasterizer", "dataset", "metric"} <= set(ALL)
    assert {"PSNR", "SSIM", "LPIPS"} <= set(METRICS.names())
    assert DATASETS.names() == sorted(DATASETS.names())
    assert "ToyAvatarModel" in MODELS.names()
