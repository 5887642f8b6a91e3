"""Draws the weights and inputs of the golden files (tests/data/*/README.md have the rule)."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[1] / "data"


def draw(salt, key, shape, kind):
    """One tensor as a pure function of its name."""
    name, *numbers = kind.split(":")
    values = [float(number) for number in numbers]
    if name == "count":
        return torch.zeros(shape, dtype=torch.int64)
    if name == "values":
        return torch.tensor(values).reshape(shape)
    seed = int.from_bytes(hashlib.sha256(f"{salt}:{key}".encode()).digest()[:8], "big")
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, np.float32)
    if name == "fan_in":
        mean, std = 0.0, values[0] / math.sqrt(math.prod(shape[1:]))
    elif name == "fan_in_T":
        mean, std = 0.0, values[0] / math.sqrt(shape[0] * math.prod(shape[2:]) / 4)
    elif name in ("normal", "abs"):
        mean, std = values
        normal = np.abs(normal) if name == "abs" else normal
    else:
        raise ValueError(f"{key}: unknown kind {kind}")
    return torch.from_numpy(np.float32(mean) + np.float32(std) * normal)


class Golden:
    """One golden folder: weights by official name, inputs and expected outputs.

    Its manifest lists the weights and the rule of each; other settings of a run are there too.
    """

    def __init__(self, name, kind="encoders"):
        folder = DATA / kind / name
        self.name = name
        self.manifest = json.loads((folder / "manifest.json").read_text())
        with np.load(folder / "golden.npz") as file:
            self.expected = dict(file)

    def weights(self, only=lambda key: True, salt=None):
        salt = salt or self.manifest["salt"]
        keys = self.manifest["keys"].items()
        return {key: draw(salt, key, *rule) for key, rule in keys if only(key)}

    def checkpoint(self, layout=0, tensors=None):
        """What a released file of one layout holds: nested, prefixed and renamed tensors.

        With what such files hold besides, as zeros: body-model buffers, discriminators.
        """
        container = self.manifest["containers"][layout]
        flat = dict(self.weights() if tensors is None else tensors)
        dropped = self.manifest.get("to_drop", {}).items()
        flat.update({key: torch.zeros(shape) for key, shape in dropped})
        content = {}
        for key, value in flat.items():
            for old, new in container.get("renames", []):
                key = new + key[len(old) :] if key.startswith(old) else key
            key, node = container.get("prefix", "") + key, content
            if container.get("split_at_first_dot"):
                head, _, key = key.partition(".")
                node = content.setdefault(head, {})
            node[key] = value
        for name in reversed(container.get("nest", [])):
            content = {name: content}
        return {**content, **container.get("extras", {})}

    def value(self, case, name):
        """An input that is listed number by number."""
        return torch.tensor(self.manifest["inputs"][case][name]["value"])

    def image(self, case, name="image", seed=None):
        """A picture, normalised where the rule says so: 0.7 by block and 0.3 by pixel."""
        rule = self.manifest["inputs"][case][name]
        batch, channels, height, width = rule["shape"]
        block, generator = rule["block"], np.random.Generator(np.random.PCG64(seed or rule["seed"]))
        cells = (batch, channels, -(-height // block), -(-width // block))
        coarse = generator.random(cells, np.float32)
        coarse = np.kron(coarse, np.ones((block, block), np.float32))[..., :height, :width]
        fine = generator.random(rule["shape"], np.float32)
        picture = np.float32(0.7) * coarse + np.float32(0.3) * fine
        if "mean" not in rule:
            return torch.from_numpy(picture)
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
            return self._told(name, np.abs(value - expected).max(), np.abs(expected).max())
        assert list(value.shape) == list(self.expected[f"{name}.shape"])
        probe, flat = self.expected[f"{name}.probe"], value.reshape(-1)
        index = np.arange(len(probe)) * (flat.size - 1) // (len(probe) - 1)
        difference = max(
            np.abs(flat[index] - probe).max(),
            abs(flat.mean() - self.expected[f"{name}.mean"]),
            abs(flat.std() - self.expected[f"{name}.std"]),
        )
        return self._told(name, difference, np.abs(probe).max())

    def excess(self, name, value):
        """Largest difference over what the noise of the reference's own float32 run allows.

        Allowed are 20 times that noise, 1e-5 of the largest expected value, or 1e-6.
        """
        value = value.detach().numpy()
        if f"{name}.probe" in self.expected:
            assert list(value.shape) == list(self.expected[f"{name}.shape"])
            name = f"{name}.probe"
            count, flat = len(self.expected[name]), value.reshape(-1)
            value = flat[np.arange(count) * (flat.size - 1) // (count - 1)]
        expected, noise = self.expected[name], self.manifest["float32_noise"][name]
        assert value.shape == expected.shape
        difference, largest = np.abs(value - expected).max(), np.abs(expected).max()
        self._told(name, difference, largest)
        return difference / max(20 * noise, 1e-5 * largest, 1e-6)

    def _told(self, name, difference, largest):
        """Prints a figure (`pytest -s` shows it) and returns the relative difference."""
        relative = difference / largest
        noise = self.manifest.get("float32_noise", {}).get(name)
        own = "" if noise is None else f", own noise {noise:.1e}"
        print(f"\nparity {self.name} {name}: {difference:.1e} ({relative:.1e} of the largest){own}")
        return relative
