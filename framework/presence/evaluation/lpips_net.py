"""The LPIPS network, frozen and cached, or the reason why it cannot be had."""

from __future__ import annotations

import functools
import socket
import warnings
from typing import Literal

import torch
from torch import nn

Net = Literal["squeeze", "alex", "vgg"]

# Files that torchvision keeps in $TORCH_HOME/hub/checkpoints, by the name of LPIPS's trunk.
TRUNKS: dict[str, str] = {
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
}
_DOWNLOAD_TIMEOUT = 20.0  # seconds; offline machines should say so soon


def get_lpips(
    net: Net = "squeeze", device: torch.device | str = "cpu"
) -> tuple[nn.Module | None, str | None]:
    """Returns the LPIPS v0.1 network (Zhang et al. 2018), or None and the reason.

    The network takes two batches [B 3 H W] in -1..1 and returns distances [B 1 1 1]. Its trunk
    comes from `$TORCH_HOME/hub/checkpoints`, or is downloaded there once by torchvision.

    Args:
        net: the trunk; numbers of different trunks cannot be compared.
        device: where the network should be.

    Returns:
        (network, None), or (None, reason) where the trunk or a package is missing.
    """
    return _load(net, str(torch.device(device)))


@functools.cache
def _load(net: str, device: str) -> tuple[nn.Module | None, str | None]:
    if net not in TRUNKS:
        return None, f"LPIPS has no trunk `{net}`; choose from {', '.join(TRUNKS)}"
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        import lpips

        with warnings.catch_warnings():  # lpips still uses torchvision's older arguments
            warnings.simplefilter("ignore", UserWarning)
            network = lpips.LPIPS(net=net, verbose=False)
    except Exception as error:  # no package, no network, a broken file: all end in a reason
        reason = " ".join(str(error).split()) or type(error).__name__
        return None, (
            f"LPIPS ({net}) is not available: {reason}. Put {TRUNKS[net]} (torchvision's weights) "
            f"into {torch.hub.get_dir()}/checkpoints, or set TORCH_HOME"
        )
    finally:
        socket.setdefaulttimeout(before)
    network = network.eval().requires_grad_(False).to(device)
    if torch.device(device).type == "cuda":  # the order that tensor cores' convolutions work in
        network = network.to(memory_format=torch.channels_last)
    return network, None
