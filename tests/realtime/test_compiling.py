"""Which blocks are compiled, and that weights keep their names."""

import torch
from torch import nn

from presence.models.layers import ConvBlock, TransformerBlock
from presence.models.vit import ViTBlock
from presence.realtime.compiling import compile_blocks


def make():
    torch.manual_seed(0)
    return nn.ModuleList(
        [
            TransformerBlock(16, 2),
            nn.Sequential(ConvBlock(8), nn.Linear(8, 8)),
            ViTBlock(16, 2, mlp="gelu", layer_scale=False),
        ]
    )


def test_repeated_blocks_alone_are_compiled_and_names_stay():
    plain, compiled = make(), make()
    assert compile_blocks(compiled) == 3
    assert compile_blocks(compiled, mode="none") == 0
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    called = [type(m).__name__ for m in compiled.modules() if m._compiled_call_impl is not None]
    assert sorted(called) == ["ConvBlock", "TransformerBlock", "ViTBlock"]


def test_a_run_compiles_when_asked(tmp_path, monkeypatch):
    from mmengine.config import Config

    from presence.engine import train
    from presence.realtime import compiling
    from presence.testing.toy_training import toy_config

    asked = []
    monkeypatch.setattr(compiling, "compile_blocks", lambda model: asked.append(model) or 0)
    schedule = dict(iterations=1, batch_size=1)
    for wanted in (False, True):
        config = toy_config(schedule=schedule, compile=wanted, validation=dict(interval=0))
        train(Config(config), work_dir=tmp_path / str(wanted))
        assert len(asked) == wanted
