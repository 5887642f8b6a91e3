"""Draws weights, files and inputs of the golden estimators (tests/data/estimators/README.md)."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[1] / "data" / "estimators"


def draw(salt, key, shape, kind):
    """One tensor as a pure function of its name."""
    name, *numbers = kind.split(":")
    values = [float(number) for number in numbers]
    if name == "count":
        return torch.zeros(shape, dtype=torch.int64)
    if name == "values":
        return torch.tensor(values).view(shape)
    seed = int.from_bytes(hashlib.sha256(f"{salt}:{key}".encode()).digest()[:8], "big")
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, np.float32)
    if name == "fan_in":
        values = [0.0, values[0] / math.sqrt(math.prod(shape[1:]))]
    elif name == "fan_in_T":
        values = [0.0, values[0] / math.sqrt(shape[0] * math.prod(shape[2:]) / 4)]
    elif name == "abs":
        normal = np.abs(normal)
    elif name != "normal":
        raise ValueError(f"{key}: unknown kind {kind}")
    return torch.from_numpy(np.asarray(np.float32(values[0]) + np.float32(values[1]) * normal))


class GoldenNetwork:
    """One golden folder: weights by official name, released files, inputs, expected outputs."""

    def __init__(self, name):
        self.manifest = json.loads((DATA / name / "manifest.json").read_text())
        with np.load(DATA / name / "golden.npz") as file:
            self.expected = dict(file)

    def weights(self, only=lambda key: True, salt=None):
        salt = salt or self.manifest["salt"]
        keys = self.manifest["keys"].items()
        return {key: draw(salt, key, *rule) for key, rule in keys if only(key)}

    def file(self, layout, tensors):
        """Nests, prefixes and renames tensors as a released file has them."""
        rule, out = self.manifest["containers"][layout], {}
        for key, value in tensors.items():
            for old, new in rule.get("renames", []):
                if key.startswith(old):
                    key = new + key.removeprefix(old)
            node, key = out, rule.get("prefix", "") + key
            if rule.get("split_at_first_dot"):
                entry, key = key.split(".", 1)
                node = out.setdefault(entry, {})
            node[key] = value
        for name in reversed(rule.get("nest", [])):
            out = {name: out}
        return {**out, **rule.get("extras", {})}

    def besides(self):
        """Zeros for what released files hold besides, one number each where shapes are free."""
        names = (*self.manifest.get("to_drop", {}), *self.manifest.get("unused_keys", {}))
        return {name: torch.zeros(1) for name in names}

    def images(self, case="a"):
        """Name to pictures: 0.7 of one value a block, 0.3 of one value a pixel."""
        return {name: blocks(**rule) for name, rule in self.manifest["inputs"][case].items()}

    def excess(self, name, value):
        """Largest difference from the expected output over what the reference's noise allows."""
        value = value.detach().numpy()
        if f"{name}.probe" in self.expected:
            assert list(value.shape) == list(self.expected[f"{name}.shape"])
            name = f"{name}.probe"
            flat, count = value.reshape(-1), len(self.expected[name])
            value = flat[np.arange(count) * (flat.size - 1) // (count - 1)]
        expected, noise = self.expected[name], self.manifest["float32_noise"][name]
        assert value.shape == expected.shape
        allowed = max(20 * noise, 1e-5 * np.abs(expected).max(), 1e-6)
        return np.abs(value - expected).max() / allowed


def blocks(seed, shape, block, mean=None, std=None):
    batch, channels, height, width = shape
    generator = np.random.Generator(np.random.PCG64(seed))
    cells = (batch, channels, -(-height // block), -(-width // block))
    coarse = generator.random(cells, np.float32)
    coarse = np.kron(coarse, np.ones((block, block), np.float32))[..., :height, :width]
    picture = np.float32(0.7) * coarse + np.float32(0.3) * generator.random(shape, np.float32)
    if mean is not None:
        mean, std = (np.float32(v).reshape(1, -1, 1, 1) for v in (mean, std))
        picture = (picture - mean) / std
    return torch.from_numpy(picture)
