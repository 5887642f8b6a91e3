"""What the machine can do: matrix products and copies, measured, not read off a data sheet."""

from __future__ import annotations

import dataclasses

import torch

from presence.profiling.timing import measure


@dataclasses.dataclass(frozen=True)
class Rates:
    """Measured ceilings.

    Attributes:
        device: name of the device.
        dtype: of the matrix product.
        flops: operations a second of a large product of random matrices.
        bytes: bytes a second of a large copy, read and written ones together.
    """

    device: str
    dtype: str
    flops: float
    bytes: float

    def floor(self, flops: float, moved: float) -> float:
        """Returns the seconds that work takes at least: the larger of arithmetic and traffic.

        Example:
            >>> Rates("toy", "float32", 1e9, 1e9).floor(2e9, 1e9)
            2.0
        """
        return max(flops / self.flops, moved / self.bytes)


def measure_rates(device: torch.device) -> Rates:
    """Measures a bf16 product of 8192 x 8192 and a copy of 2 GiB on CUDA; less on a CPU.

    (A CPU's product is float32: that is what networks run in there.)
    """
    cuda = device.type == "cuda"
    side, numbers = (8192, 2**29) if cuda else (1024, 2**23)
    dtype = torch.bfloat16 if cuda else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = measure(lambda: torch.mm(a, b), device, repeats=10)
    source = torch.randn(numbers, device=device)
    to = torch.empty_like(source)
    copying = measure(lambda: to.copy_(source), device, repeats=10)
    name = torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    return Rates(
        device=name,
        dtype=str(dtype).removeprefix("torch."),
        flops=2 * side**3 / product.seconds,
        bytes=2 * 4 * numbers / copying.seconds,
    )
