"""Kinds of fields, which check and normalise a value: a number in its range, a whole number, a flag.

A kind has one method, `accept`, which returns the normalised value or raises an error that says
what arrived and what was expected. A class of values maps annotations to kinds; `Annotated[float,
Real(0)]` names one itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.values.wording import nearest

__all__ = [
    "AtLeastOne",
    "Choice",
    "Flag",
    "Integer",
    "Kind",
    "Maybe",
    "Real",
    "as_looked_up",
    "is_array",
    "is_traced",
    "kind_of",
]


class Kind(Protocol):
    """What a field accepts. `accept` returns the normalised value, or raises and says what to do."""

    def accept(self, owner: str, name: str, value: Any) -> Any: ...


def is_array(x: Any) -> bool:
    """Whether `x` is an array of jax or NumPy, or a scalar of NumPy."""
    return isinstance(x, (jax.Array, np.ndarray, np.generic))


_looked_up: contextvars.ContextVar[bool] = contextvars.ContextVar("looked_up", default=False)


@contextlib.contextmanager
def as_looked_up() -> Iterator[None]:
    """Meanwhile arrays of jax in number's fields are what was looked up for this step, and in no range."""
    token = _looked_up.set(True)
    try:
        yield
    finally:
        _looked_up.reset(token)


def is_traced(x: object) -> bool:
    """Whether `x` stands for an array in a function that jax traces, so that its entries are not known."""
    return isinstance(x, jax.core.Tracer)


class Real:
    """A finite real number in a range: a Python number, a 0-d array, or an array of a sweep.

    A concrete 0-d array becomes a Python float (so that equal settings compare equal); tracers
    and arrays with axes are left as they are. A zero in a jax array also stays an array: a
    value set at run time must not remove a term from the program, even in eager mode.

    The range is for what a user writes. A number that a schedule has come to while training runs is an array
    and is taken as it is (`as_looked_up`), eagerly as in a compiled step, where nobody could look at it.
    """

    def __init__(
        self,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        open_low: bool = False,
        open_high: bool = False,
        why: str = "",
    ) -> None:
        self.low, self.high, self.open_low, self.open_high, self.why = low, high, open_low, open_high, why

    def __repr__(self) -> str:
        left = "(" if self.open_low or self.low == -math.inf else "["
        right = ")" if self.open_high or self.high == math.inf else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def accept(self, owner: str, name: str, value: Any) -> Any:
        if is_traced(value) or (isinstance(value, jax.Array) and _looked_up.get()):
            return value
        if is_array(value) and jnp.issubdtype(value.dtype, jnp.number) and np.ndim(value) == 0:
            if isinstance(value, jax.Array) and not np.asarray(value).any():
                self._check(owner, name, np.asarray(value), value)
                return value.astype(float)
            value = value.item()
        elif isinstance(value, (jax.Array, np.ndarray)) and np.ndim(value) > 0:
            self._check(owner, name, np.asarray(value), value)
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{owner}({name}={value!r}): {name} must be a number, not {_a(value)}.")
        self._check(owner, name, np.asarray(value, float), value)
        return float(value)

    def _check(self, owner: str, name: str, numbers: np.ndarray, shown: Any) -> None:
        numbers = numbers.astype(float)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"{owner}({name}={shown!r}): {name} must be finite.")
        low = numbers > self.low if self.open_low else numbers >= self.low
        high = numbers < self.high if self.open_high else numbers <= self.high
        if not np.all(low & high):
            why = f"; {self.why}" if self.why else ""
            raise ValueError(f"{owner}({name}={shown!r}): {name} must be in {self!r}{why}.")


class Integer:
    """A whole number in a range, known when the program is compiled."""

    def __init__(self, low: int | None = None) -> None:
        self.low = low

    def accept(self, owner: str, name: str, value: Any) -> int:
        if isinstance(value, (np.integer, np.ndarray, jax.Array)) and not is_traced(value):
            value = value.item() if np.ndim(value) == 0 else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{owner}({name}={value!r}): {name} must be a whole number, not {_a(value)}.")
        if self.low is not None and value < self.low:
            raise ValueError(f"{owner}({name}={value!r}): {name} must be at least {self.low}.")
        return value


AtLeastOne = Annotated[int, Integer(low=1)]
"""A whole number from 1 on."""


class Flag:
    """True or False."""

    def accept(self, owner: str, name: str, value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{owner}({name}={value!r}): {name} must be True or False, not {_a(value)}.")
        return bool(value)


class Maybe:
    """None, or what the inner kind accepts."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def accept(self, owner: str, name: str, value: Any) -> Any:
        return None if value is None else self.inner.accept(owner, name, value)


def _a(value: Any) -> str:
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def kind_of(hint: Any, kinds: dict[Any, Kind]) -> Kind | None:
    """The kind that an annotation asks for: by its metadata, else by the type; None accepts all."""
    for extra in getattr(hint, "__metadata__", ()):
        if hasattr(extra, "accept"):
            return extra
    if isinstance(hint, type):
        return next((kinds[base] for base in hint.__mro__ if base in kinds), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        inner = next((k for p in parts if p is not type(None) and (k := kind_of(p, kinds))), None)
        return Maybe(inner) if inner is not None and type(None) in parts else inner
    return None


class Choice:
    """One of a few names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def accept(self, owner: str, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.names:
            guess = nearest(value, self.names) if isinstance(value, str) else ""
            known = ", ".join(map(repr, self.names))
            raise ValueError(f"{owner}({name}={value!r}): {name} must be one of {known}.{guess}")
        return value
