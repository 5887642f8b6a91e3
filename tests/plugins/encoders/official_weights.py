"""Draws the weights and inputs of the golden files (tests/data/encoders/README.md has the rule)."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[2] / "data" / "encoders"


def draw(salt, key, shape, kind):
    """One tensor as a pure function of its name."""
    name, *numbers = kind.split(":")
    values = [float(number) for number in numbers]
    seed = int.from_bytes(hashlib.sha256(f"{salt}:{key}".encode()).digest()[:8], "big")
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, np.float32)
    if name == "count":
        return torch.zeros(shape, dtype=torch.int64)
    if name == "fan_in":
        mean, std = 0.0, values[0] / math.sqrt(math.prod(shape[1:]))
    elif name == "fan_in_T":  # stride-2 transposed convolutions
        mean, std = 0.0, values[0] / math.sqrt(shape[0] * math.prod(shape[2:]) / 4)
    elif name in ("normal", "abs"):
        mean, std = values
        normal = np.abs(normal) if name == "abs" else normal
    else:
        raise ValueError(f"{key}: unknown kind {kind}")
    return torch.from_numpy(np.float32(mean) + np.float32(std) * normal)


class Golden:
    """One golden folder: weights by official name, inputs and expected outputs."""

    def __init__(self, name):
        self.manifest = json.loads((DATA / name / "manifest.json").read_text())
        with np.load(DATA / name / "golden.npz") as file:
            self.expected = dict(file)

    def weights(self, only=lambda key: True):
        salt = self.manifest["salt"]
        keys = self.manifest["keys"].items()
        return {key: draw(salt, key, *rule) for key, rule in keys if only(key)}

    def image(self, case):
        """A normalised picture: 0.7 of one value a block, 0.3 of one value a pixel."""
        rule = self.manifest["inputs"][case]["image"]
        batch, channels, height, width = rule["shape"]
        block, generator = rule["block"], np.random.Generator(np.random.PCG64(rule["seed"]))
        cells = (batch, channels, -(-height // block), -(-width // block))
        coarse = generator.random(cells, np.float32)
        coarse = np.kron(coarse, np.ones((block, block), np.float32))[..., :height, :width]
        fine = generator.random(rule["shape"], np.float32)
        picture = np.float32(0.7) * coarse + np.float32(0.3) * fine
        mean, std = (np.float32(rule[k]).reshape(1, -1, 1, 1) for k in ("mean", "std"))
        return torch.from_numpy((picture - mean) / std)

    def error(self, name, value):
        """Largest difference over the largest expected value, both over what was kept of it.

        The parity asked for is 1e-5; a float32 run of the reference itself is off by about 1e-6.
        """
        value = value.detach().double().numpy()
        if f"{name}.probe" not in self.expected:
            expected = self.expected[name]
            assert value.shape == expected.shape
            return np.abs(value - expected).max() / np.abs(expected).max()
        assert list(value.shape) == list(self.expected[f"{name}.shape"])
        probe, flat = self.expected[f"{name}.probe"], value.reshape(-1)
        index = np.arange(len(probe)) * (flat.size - 1) // (len(probe) - 1)
        scale = np.abs(probe).max()
        return max(
            np.abs(flat[index] - probe).max() / scale,
            abs(flat.mean() - self.expected[f"{name}.mean"]) / scale,
            abs(flat.std() - self.expected[f"{name}.std"]) / scale,
        )
