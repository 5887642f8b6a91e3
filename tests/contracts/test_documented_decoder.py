"""The decoder that docs/add_a_decoder.md writes works as the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from presence.registry import DECODERS

PAGE = Path(__file__).parents[2] / "docs" / "add_a_decoder.md"


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The page's Python blocks; the first is importable as `my_decoders`."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(found) == 3
    (tmp_path / "my_decoders.py").write_text(found[0])
    monkeypatch.syspath_prepend(tmp_path)
    yield found
    DECODERS.module_dict.pop("OneColorDecoder", None)
    sys.modules.pop("my_decoders", None)


def test_the_documented_contract_test_passes(blocks):
    namespace: dict = {}
    exec(blocks[1], namespace)
    namespace["test_contract"]()


def test_the_documented_config_builds_the_decoder(blocks, tmp_path):
    from presence.config import load_config
    from presence.engine.settings import TrainSettings

    base = PAGE.parents[1] / "configs" / "_base_"
    text = blocks[2].replace("./_base_", str(base))
    (tmp_path / "one_color.py").write_text(text)
    config = load_config(tmp_path / "one_color.py", ["model.decoder.width=16"])
    TrainSettings.from_config(config)
    assert config.model.decoder == dict(type="OneColorDecoder", width=16)
    assert DECODERS.lookup("OneColorDecoder").needs == "uv"
