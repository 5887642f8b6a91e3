"""`TensorStruct`: frozen dataclasses of tensors whose shapes are checked when they are built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T", bound="TensorStruct")


def tensor(shape: str, *, unit: str = "", optional: bool = False) -> Any:
    """Declares a tensor field by its trailing axes.

    Args:
        shape: axis names or sizes, such as `"N 3"`; equal names within one struct must have
            equal sizes. Axes in front of these are batch, the same for every field.
        unit: for people, such as "m" or "px".
        optional: the field may be None, its default, which stands for zeros: where structs with
            and without it are joined, those without get zeros.
    """
    about = {"shape": shape.split(), "unit": unit, "optional": optional}
    if optional:
        return dataclasses.field(default=None, metadata=about)
    return dataclasses.field(metadata=about)


def static(**kwargs: Any) -> Any:
    """Declares a field that every element of a batch shares; it is moved but never indexed."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclasses.dataclass(frozen=True, eq=False)
class TensorStruct:
    """Base of the typed containers that pass between components.

    Fields are tensors (declared by `tensor`), other structs (batched alike), or `static`
    values shared by the whole batch. Instances are immutable; `replace` gives a changed copy.

    Example:
        >>> @dataclasses.dataclass(frozen=True, eq=False)
        ... class Points(TensorStruct):
        ...     xyz: Tensor = tensor("N 3", unit="m")
        >>> Points(xyz=torch.zeros(2, 5, 3)).batch_shape
        (2,)
    """

    def __post_init__(self) -> None:
        """Checks every tensor field's trailing shape and that the batch axes agree.

        Raises:
            ValueError: a field does not fit; the message names the field and both shapes.
        """
        sizes: dict[str, int] = {}
        batch: tuple[int, ...] | None = None
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if _is_absent(field, value):
                continue
            if "shape" in field.metadata:
                lead = self._check_tensor(field, value, sizes)
            elif isinstance(value, TensorStruct) and not field.metadata.get("static"):
                lead = value.batch_shape
            else:
                continue
            if batch is not None and lead != batch:
                raise ValueError(
                    f"{type(self).__name__}.{field.name} has batch axes {lead}, "
                    f"but the fields before it have {batch}"
                )
            batch = lead

    def _check_tensor(
        self, field: dataclasses.Field, value: Any, sizes: dict[str, int]
    ) -> tuple[int, ...]:
        where, axes = f"{type(self).__name__}.{field.name}", field.metadata["shape"]
        if not isinstance(value, Tensor):
            raise ValueError(f"{where} should be a tensor, got {type(value).__name__}")
        shape = tuple(value.shape)
        split = len(shape) - len(axes)
        fits = split >= 0
        for axis, size in zip(axes, shape[split:] if fits else ()):
            expected = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
            fits = fits and size == expected
        if not fits:
            known = f" with {sizes}" if sizes else ""
            raise ValueError(
                f"{where} should end in [{' '.join(axes)}]{known}, but has shape {shape}"
            )
        return shape[:split]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes that every field shares."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if _is_absent(field, value):
                continue
            if "shape" in field.metadata:
                return tuple(value.shape[: value.ndim - len(field.metadata["shape"])])
            if isinstance(value, TensorStruct) and not field.metadata.get("static"):
                return value.batch_shape
        return ()

    @property
    def device(self) -> torch.device:
        """The device of the first tensor field."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor | TensorStruct):
                return value.device
        return torch.device("cpu")

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensor fields that are there, by name: optional ones may be absent."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some fields changed; shapes are checked again."""
        return dataclasses.replace(self, **changes)

    def map(self, fn: Callable[[Tensor], Tensor], *, include_static: bool = False) -> Self:
        """Returns a copy with `fn` applied to every tensor (to static ones only if asked)."""
        return self._rebuild(fn, fn if include_static else None)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Returns a copy whose tensors, static ones included, went through `Tensor.to`.

        A floating dtype is applied to floating tensors only, so indices stay indices.
        """

        def move(value: Tensor) -> Tensor:
            if value.is_floating_point():
                return value.to(*args, **kwargs)
            kept = [a for a in args if not isinstance(a, torch.dtype)]
            rest = {k: v for k, v in kwargs.items() if k != "dtype"}
            return value.to(*kept, **rest) if kept or rest else value

        return self.map(move, include_static=True)

    def detach(self) -> Self:
        """Returns a copy cut from the autograd graph."""
        return self.map(Tensor.detach)

    def __getitem__(self, index: Any) -> Self:
        if not self.batch_shape:
            raise IndexError(f"{type(self).__name__} has no batch axis to index")
        return self.map(lambda value: value[index])

    def unsqueeze(self) -> Self:
        """Returns a copy with one batch axis of size 1 in front."""
        return self.map(lambda value: value[None])

    def _rebuild(self, fn: Callable, static_fn: Callable | None) -> Self:
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value, is_static = getattr(self, field.name), field.metadata.get("static", False)
            used = static_fn if is_static else fn
            if used is None:
                continue
            if isinstance(value, TensorStruct):
                changes[field.name] = value._rebuild(used, used if is_static else static_fn)
            elif isinstance(value, Tensor):
                changes[field.name] = used(value)
            elif isinstance(value, dict):
                changes[field.name] = {
                    k: used(v) if isinstance(v, Tensor) else v for k, v in value.items()
                }
        return dataclasses.replace(self, **changes)


def _is_absent(field: dataclasses.Field, value: Any) -> bool:
    return value is None and field.metadata.get("optional", False)


def stack(structs: Sequence[T]) -> T:
    """Joins structs of equal shapes along a new batch axis; static fields are the first's.

    An optional field that some of them lack is zero in these, and absent where all lack it.
    """
    return _join(structs, torch.stack)


def cat(structs: Sequence[T]) -> T:
    """Joins batched structs along their first batch axis; static and optional fields: `stack`."""
    return _join(structs, torch.cat)


def _join(structs: Sequence[Any], joiner: Callable) -> Any:
    first, changes = structs[0], {}
    for field in dataclasses.fields(first):
        values = [getattr(s, field.name) for s in structs]
        if field.metadata.get("static"):
            continue
        if field.metadata.get("optional"):
            values = _completed(structs, field, values)
        if isinstance(values[0], TensorStruct):
            changes[field.name] = _join(values, joiner)
        elif isinstance(values[0], Tensor):
            changes[field.name] = joiner(values)
    return dataclasses.replace(first, **changes)


def _completed(
    structs: Sequence[TensorStruct], field: dataclasses.Field, values: list[Tensor | None]
) -> list[Tensor | None]:
    """Returns an optional field's values with zeros for those that some of the structs lack."""
    known = next((value for value in values if value is not None), None)
    if known is None:
        return values
    shape = known.shape[known.ndim - len(field.metadata["shape"]) :]
    return [
        known.new_zeros(*struct.batch_shape, *shape) if value is None else value
        for struct, value in zip(structs, values, strict=True)
    ]
