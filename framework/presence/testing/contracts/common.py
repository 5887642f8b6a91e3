"""The error of a broken contract, and comparisons that say what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from presence.structures import BodyParams, Camera, Portrait, TensorStruct, stack


class ContractError(AssertionError):
    """A component does not do what its kind promises."""


def require(fits: Any, component: Any, promise: str) -> None:
    """Raises ContractError, naming the component and the promise, unless `fits`."""
    if not fits:
        raise ContractError(f"{type(component).__name__} breaks its contract: {promise}")


def tensors(value: Any, name: str = "result") -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of a struct with its dotted name, statics included."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, TensorStruct):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name), f"{name}.{field.name}")


def require_finite(value: Any, component: Any) -> None:
    """Requires every tensor of a struct to be finite."""
    for name, tensor in tensors(value):
        require(
            not tensor.is_floating_point() or tensor.isfinite().all(),
            component,
            f"{name} should be finite",
        )


def require_equal(
    first: Any, second: Any, component: Any, promise: str, *, atol: float = 0.0
) -> None:
    """Requires two structs to hold the same tensors, exactly or within `atol`."""
    for (name, a), (_, b) in zip(tensors(first), tensors(second), strict=True):
        require(a.shape == b.shape, component, f"{promise}; shapes of {name}: {a.shape}, {b.shape}")
        finite = a.isfinite() if a.is_floating_point() else torch.ones_like(a, dtype=torch.bool)
        same = torch.equal(a[~finite], b[~finite])
        error = (a[finite].double() - b[finite].double()).abs().max() if finite.any() else 0.0
        require(
            same and float(error) <= atol,
            component,
            f"{promise}; {name} differs by {float(error):.3g}",
        )


def sample_portrait(batch: int, size: int, device: Any = "cpu") -> Portrait:
    """Returns smooth random pictures with a centred person-sized mask."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(batch, 3, 8, 8, generator=generator)
    rgb = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    row, column = torch.meshgrid(*[(torch.arange(size) + 0.5) / size - 0.5] * 2, indexing="ij")
    alpha = ((row**2 / 0.2 + column**2 / 0.09) < 1).float().expand(batch, 1, -1, -1)
    return Portrait(rgb, alpha.contiguous()).to(device)


def sample_people(body: Any, batch: int, device: Any = "cpu") -> BodyParams:
    """Returns different people in slightly different poses."""
    generator = torch.Generator().manual_seed(2)
    params = body.default_params((batch,))

    def shake(value: Tensor, scale: float) -> Tensor:
        return value + scale * torch.randn(value.shape, generator=generator).to(value)

    return params.replace(
        betas=shake(params.betas, 0.3),
        pose=shake(params.pose, 0.05),
        translation=shake(params.translation, 0.02),
    ).to(device)


def facing_camera(body: Any, batch: int, size: int, device: Any = "cpu") -> Camera:
    """Returns cameras in front of the mean person that see the whole body."""
    with torch.no_grad():
        vertices = body(body.default_params()).vertices.cpu()
    low, high = vertices.amin(0), vertices.amax(0)
    target = (low + high) / 2
    extent = float((high - low).max())
    eye = target + torch.tensor([0.0, 0.0, 1.4 * extent])
    camera = Camera.look_at(eye, target, 0.8, size, size)
    return stack([camera] * batch).to(device)
