"""Starting from the weights of a related model."""

import pytest
import torch
from torch import nn

from presence.engine.checkpoint import warm_start
from presence.errors import AssetError, ConfigError


def save(path, **tensors):
    from safetensors.torch import save_file

    save_file(tensors, path)
    return path


def test_what_fits_is_copied_and_the_rest_is_named(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = model[1].weight.clone()
    weight = torch.randn(4, 3)
    kept = {"0.weight": weight, "1.weight": torch.zeros(9, 9), "old": torch.zeros(1)}
    fresh = warm_start(model, save(tmp_path / "w.safetensors", **kept))
    assert torch.equal(model[0].weight, weight) and torch.equal(model[1].weight, before)
    assert fresh == ["0.bias", "1.weight", "1.bias"]


def test_nothing_that_fits_and_no_file_are_errors(tmp_path):
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="no weight of"):
        warm_start(model, save(tmp_path / "w.safetensors", other=torch.zeros(1)))
    with pytest.raises(AssetError):
        warm_start(model, tmp_path / "missing.safetensors")
