"""Kinds of fields that hyperparameters have: a number in its range, or a schedule of such numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np

from gradtx import numerics
from gradtx.schedules.schedule import Schedule, affine, as_schedule
from gradtx.values.kinds import Function, Real
from gradtx.values.wording import shown

__all__ = [
    "Betas",
    "Decay",
    "DtypeName",
    "Hyperparameter",
    "KeptShare",
    "NonNegative",
    "Number",
    "Positive",
    "PositiveDecay",
    "Rate",
    "complement",
    "negative",
]


def complement(number: Any) -> Any:
    """1 - number, for a number or a schedule; for composites, which may hold either."""
    if isinstance(number, Schedule):
        return affine(number, slope=-1.0, offset=1.0)
    return numerics.complement(number)


def negative(number: Any) -> Any:
    """-number, for a number or a schedule."""
    return affine(number, slope=-1.0) if isinstance(number, Schedule) else -number


class Hyperparameter(Real):
    """A number in a range, or a schedule."""

    def accept(self, owner: str, name: str, value: object) -> object:
        if isinstance(value, Schedule):
            return value
        if callable(value):
            Function(1).accept(owner, name, value)
            return as_schedule(owner, name, value)
        return super().accept(owner, name, value)


class _Dtype:
    """A floating-point dtype, kept by its name so that it prints as something that evaluates."""

    def accept(self, owner: str, name: str, value: Any) -> str:
        try:
            dtype = None if value is None else jax.numpy.dtype(value)
        except Exception:  # NumPy reads texts as descriptions of structures, and has many errors
            dtype = None
        inexact = dtype is not None and jax.numpy.issubdtype(dtype, jax.numpy.inexact)
        if dtype is None or not inexact or jax.numpy.finfo(dtype).bits > 64:  # NumPy has wider ones
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a floating-point dtype, such as 'bfloat16'."
            )
        return dtype.name


Scalar = float | jax.Array | np.ndarray | np.number | Schedule | Callable[[jax.Array], jax.typing.ArrayLike]
"""A number's field takes a number, an array (traced, or a sweep's), a schedule or a function."""

Number = Annotated[Scalar, Hyperparameter()]
"""Any finite number."""

Rate = Annotated[Scalar, Hyperparameter()]
"""A learning rate: any finite number; negative ascends."""

Positive = Annotated[Scalar, Hyperparameter(0, open_low=True)]

NonNegative = Annotated[Scalar, Hyperparameter(0)]

Decay = Annotated[
    Scalar,
    Hyperparameter(0, 1, open_high=True, why="1 would never leave its start"),
]
"""β of an exponential average, in [0, 1)."""

KeptShare = Annotated[Scalar, Hyperparameter(0, 1)]
"""How much of a sum is kept, in [0, 1]; 1 keeps all of it."""

PositiveDecay = Annotated[
    float | jax.Array | Schedule,
    Hyperparameter(
        0, 1, open_low=True, open_high=True, why="0 would keep nothing, and 1 would never leave its start"
    ),
]

DtypeName = Annotated[Any, _Dtype()]


class _Betas:
    """Two decays."""

    def accept(self, owner: str, name: str, value: object) -> tuple[object, object]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a pair of decays, such as (0.9, 0.999)."
            )
        decay = Hyperparameter(0, 1, open_high=True, why="1 would never leave its start")
        first, second = (decay.accept(owner, f"{name}[{i}]", x) for i, x in enumerate(value))
        return first, second


Betas = Annotated[tuple[Scalar, Scalar], _Betas()]
"""(β₁, β₂): each is a decay, in [0, 1), and may be a schedule."""
