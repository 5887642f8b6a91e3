"""Config files, overrides and the errors of both."""

from __future__ import annotations

import pytest

import presence.testing.toy_training  # noqa: F401, I001 - registers
from presence.config import load_config
from presence.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    (tmp_path / "base.py").write_text("schedule = dict(iterations=100, warmup=5)\nseed = 0\n")
    file = tmp_path / "method.py"
    file.write_text(
        "_base_ = ['./base.py']\n"
        "schedule = dict(iterations=300)\n"
        "model = dict(type='ToyAvatarModel', layers=[dict(width=1), dict(width=2)])\n"
        "name = 'toy'\n"
    )
    return file


def test_a_file_extends_its_base(path):
    config = load_config(path)
    assert config.schedule == dict(iterations=300, warmup=5)
    assert config.seed == 0 and config.filename == str(path)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("schedule.warmup=7", lambda c: c.schedule.warmup == 7),
        ("schedule.warmup=1e-3", lambda c: c.schedule.warmup == 1e-3),
        ("seed=null", lambda c: c.seed is None),
        ("name=other", lambda c: c.name == "other"),
        ("name='3'", lambda c: c.name == "3"),
        ("name=a=b", lambda c: c.name == "a=b"),
        ("schedule=[1,2]", lambda c: c.schedule == [1, 2]),
        ("schedule={warmup: 3}", lambda c: c.schedule.warmup == 3),
        ("model.layers.1.width=9", lambda c: c.model.layers[1].width == 9),
        ("model.width=5", lambda c: c.model.width == 5),  # an option left at its default
        ("seed=true", lambda c: c.seed is True),
    ],
)
def test_overrides_mean_what_they_look_like(path, override, read):
    assert read(load_config(path, [override]))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "shedule.warmup=7",
            "override `shedule.warmup`: unknown key `shedule`. Did you mean `schedule`? "
            "Known: model, name, schedule, seed.",
        ),
        ("schedule.warmpu=7", "unknown key `warmpu`. Did you mean `warmup`?"),
        ("model.widht=7", "unknown key `widht`. Did you mean `width`?"),
        ("schedule.warmup.x=7", "override `schedule.warmup.x`: `schedule.warmup` has no keys"),
        ("model.layers.2.width=7", "`2` is not an index below 2"),
        ("model.layers.first.width=7", "`first` is not an index below 2"),
        ("schedule.warmup", "override `schedule.warmup` should look like key.sub=value"),
        ("=3", "should look like key.sub=value"),
        ("name=[1", "override `name=[1` cannot be read"),
        ("name=${nowhere}", "cannot be read"),
    ],
)
def test_wrong_overrides_are_one_line(path, override, said):
    with pytest.raises(ConfigError) as error:
        load_config(path, [override])
    assert said in str(error.value)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.py does not exist"):
        load_config(tmp_path / "nowhere.py")
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(\n")
    with pytest.raises(ConfigError, match="broken.py cannot be read: .*[Ss]yntax"):
        load_config(broken)
    dangling = tmp_path / "dangling.py"
    dangling.write_text("_base_ = ['./not_here.py']\n")
    with pytest.raises(ConfigError, match="dangling.py cannot be read.*not_here"):
        load_config(dangling)


def test_the_shipped_base_configs_fit_the_settings():
    from pathlib import Path

    from presence.engine.settings import TrainSettings

    folder = Path(__file__).parents[1] / "configs" / "_base_"
    values = {}
    for file in sorted(folder.glob("*.py")):
        values.update(load_config(file).to_dict())
    settings = TrainSettings.from_config(values)
    assert settings.schedule.iterations > 0
    # Every setting can be overridden on the command line, as every one is spelt out.
    import dataclasses

    for section in ("schedule", "optimizer", "ema", "logging", "checkpoints", "validation"):
        fields = {field.name for field in dataclasses.fields(getattr(settings, section))}
        assert fields == set(values[section]), section
