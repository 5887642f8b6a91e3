"""A user's ArcFace network, frozen and cached, or the reason why it cannot be had."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from presence.errors import AssetError
from presence.estimation.networks.iresnet import IResNet
from presence.models.weight_files import fill_strictly, find_weights, read_tensors

# Blocks of the four stages to the network's usual name (insightface's arcface_torch).
SIZES: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "IResNet-18",
    (3, 4, 6, 3): "IResNet-34",
    (3, 4, 14, 3): "IResNet-50",
    (3, 13, 30, 3): "IResNet-100",
    (6, 26, 60, 6): "IResNet-200",
}


def get_arcface(
    weights: str = "official", device: torch.device | str = "cpu"
) -> tuple[nn.Module | None, str]:
    """Returns the network of an ArcFace file and what it is called, or None and the reason.

    The network takes faces [B 3 112 112] in -1..1 (RGB, aligned) and returns [B 512].

    Args:
        weights: "official" for the entry `arcface` of configs/assets.yaml, another entry, or a
            path.
        device: where the network should be.
    """
    return _load(weights, str(torch.device(device)))


@functools.cache
def _load(weights: str, device: str) -> tuple[nn.Module | None, str]:
    try:
        path = find_weights(weights, "arcface")
        network = read_arcface(path)
    except AssetError as error:
        return None, str(error)
    size = SIZES[_depths(network.state_dict())]
    named = path.parent.name if path.stem == "backbone" else path.stem
    return network.eval().requires_grad_(False).to(device), f"{size}, {named}"


def read_arcface(path: str | Path) -> IResNet:
    """Reads a state dict of insightface's arcface_torch; the depth follows from its names.

    Raises:
        AssetError: the file is missing, damaged, of a depth that no released network has, or
            does not fit; the message names every weight.
    """
    tensors = read_tensors(path)
    depths = _depths(tensors)
    if depths not in SIZES:
        raise AssetError(
            f"{path} is no IResNet of arcface_torch: its stages have {list(depths)} blocks, "
            f"expected one of {', '.join(str(list(d)) for d in SIZES)}"
        )
    with torch.device("meta"):
        network = IResNet((depths[0], depths[1], depths[2], depths[3]))
    fill_strictly(network, tensors, source=str(path))
    return network


def _depths(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    blocks = [re.match(r"layer([1-4])\.(\d+)\.", name) for name in tensors]
    found = {(int(match[1]), int(match[2])) for match in blocks if match}
    return tuple(sum(stage == k for stage, _ in found) for k in range(1, 5))
