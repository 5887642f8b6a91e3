"""Golden numbers of the baseline decoders: weights, inputs, outputs and their tolerance.

The rule of the weights is in tests/data/encoders/README.md; inputs follow it under the key
"input:<name>", and a suffix of their kind says what is done to the draw. A name that ends in
".stride2" keeps every second row and column.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from official_weights import draw

DATA = Path(__file__).resolve().parents[2] / "data" / "decoders"
OCTAVES = torch.block_diag(*[torch.pi * 2.0 ** torch.arange(8)] * 3)  # stored, not learned
GOAL = 1e-4  # absolute, of every output
POST = {
    "": lambda x: x,
    "sigmoid": torch.sigmoid,
    "positive": lambda x: x > 0,
    "unit": lambda x: x / x.norm(dim=-1, keepdim=True),
}


class Baseline:
    """One golden folder of a decoder."""

    def __init__(self, name):
        folder, self.name = DATA / name, name
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.variants = json.loads((folder / "official_keys.json").read_text())
        with np.load(folder / "golden.npz") as file:
            self.expected = {k: torch.from_numpy(v) for k, v in dict(file).items()}
        self.checked = set()

    def file(self):
        """The released file of the reduced size, with stand-ins for what must be dropped."""
        salt = self.manifest["salt"]
        tensors = {k: draw(salt, k, *rule) for k, rule in self.manifest["keys"].items()}
        tensors |= {k: torch.zeros(shape) for k, shape in self.manifest["to_drop"].items()}
        return tensors | {"pcl_embed.basis": OCTAVES.clone()}

    def inputs(self):
        salt, found = self.manifest["salt"], {}
        for name, (shape, kind) in self.manifest["inputs"].items():
            rule, _, post = kind.partition("|")
            found[name] = POST[post](draw(salt, f"input:{name}", shape, rule))
        return found

    def check(self, name, value):
        """Within 20 times the reference's own float32 noise, at most 1e-4; prints the figure."""
        expected, noise = self.expected[name], self._noise(name)
        self.checked.add(name)
        assert value.shape == expected.shape, (name, value.shape, expected.shape)
        largest = expected.abs().max().item()
        allowed = min(max(20 * noise, 1e-5 * largest, 1e-6), GOAL)
        error = (value.detach().double() - expected.double()).abs().max().item()
        print(f"\nparity {self.name} {name}: {error:.1e}, own noise {noise:.1e}")
        assert error <= allowed, f"{name} is off by {error:.2e}, allowed {allowed:.2e}"

    def check_all_were_checked(self, request):
        """Fails where a number that is kept was compared by no test of the whole file."""
        items = [item for item in request.session.items if item.path == request.path]
        missing = {n for n in vars(request.module) if n.startswith("test_")}
        missing -= {item.originalname for item in items}
        if missing:
            pytest.skip("only some tests of the file run")
        assert self.expected.keys() == self.checked

    def _noise(self, name):
        """Of the reference's float32 run against its float64 run; 0 where the output is exact."""
        known = self.manifest["float32_noise"]
        return known.get(name, known.get(re.sub(r"\.stride\d$", "", name), 0.0))
