"""Kinds of fields, which check and normalise a value: a number in its range, a whole number, a flag.

A kind has one method, `accept`, which returns the normalised value or raises an error that says
what arrived and what was expected. A class of values maps annotations to kinds; `Annotated[float,
Real(0)]` names one itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.values.wording import a_kind, nearest, shown

__all__ = [
    "LAST",
    "AtLeastOne",
    "Choice",
    "Flag",
    "Function",
    "Integer",
    "Kind",
    "Maybe",
    "Real",
    "Text",
    "as_looked_up",
    "is_array",
    "is_traced",
    "kind_of",
    "several",
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

    Finite is what is so in the dtype that numbers are computed in: 1e300 is not, unless x64 is enabled.

    The range is for what a user writes. A number that a schedule has come to while training runs is an array
    and is taken as it is (`as_looked_up`), eagerly as in a compiled step, where nobody could look at it.

    Args:
        low: the least that is accepted.
        high: the most that is accepted.
        open_low: refuse `low` itself.
        open_high: refuse `high` itself.
        why: what is wrong with what lies outside, for the message.
        fixed: refuse arrays with axes, and what is traced: the number shapes the program.
    """

    def __init__(
        self,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        open_low: bool = False,
        open_high: bool = False,
        why: str = "",
        fixed: bool = False,
    ) -> None:
        self.low, self.high, self.open_low, self.open_high, self.why = low, high, open_low, open_high, why
        self.fixed = fixed

    def __repr__(self) -> str:
        left = "(" if self.open_low or self.low == -math.inf else "["
        right = ")" if self.open_high or self.high == math.inf else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def accept(self, owner: str, name: str, value: Any) -> Any:
        array = is_array(value)
        if array and self.fixed and (is_traced(value) or np.ndim(value)):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be one number that is known now, not "
                f"{a_kind(value)}: it shapes the program."
            )
        if is_traced(value) or (isinstance(value, jax.Array) and _looked_up.get()):
            return value
        if array and not _is_real(value.dtype):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a real number, not {value.dtype} of shape "
                f"{np.shape(value)}."
            )
        if array and np.ndim(value) == 0:
            if isinstance(value, jax.Array) and not np.asarray(value).any():
                self._check(owner, name, np.asarray(value), value)
                return value.astype(float)
            value = value.item()
        elif array:
            self._check(owner, name, np.asarray(value), value)
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a number, not {a_kind(value)}.")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        self._check(owner, name, np.asarray(number), value)
        return number

    def _check(self, owner: str, name: str, numbers: np.ndarray, given: Any) -> None:
        numbers = numbers.astype(float)
        if not np.all(np.isfinite(numbers)):
            raise ValueError(f"{owner}({name}={shown(given)}): {name} must be finite.")
        low = numbers > self.low if self.open_low else numbers >= self.low
        high = numbers < self.high if self.open_high else numbers <= self.high
        if not np.all(low & high):
            why = f"; {self.why}" if self.why else ""
            raise ValueError(f"{owner}({name}={shown(given)}): {name} must be in {self!r}{why}.")
        most = float(jnp.finfo(jnp.result_type(float)).max)
        if np.any(np.abs(numbers) > most):
            raise ValueError(
                f"{owner}({name}={shown(given)}): {name} must be finite, and in float32 it is not: at most "
                f"{most:.3g}, or enable jax_enable_x64."
            )


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)


LAST = 2**31 - 1
"""The largest whole number that counters hold: they have 32 bits."""


class Integer:
    """A whole number that 32 bits hold, from `low` on; of NumPy or jax too, if it is known."""

    def __init__(self, low: int | None = None) -> None:
        self.low = low

    def accept(self, owner: str, name: str, value: Any) -> int:
        if is_array(value) and not is_traced(value) and np.ndim(value) == 0:
            whole = jnp.issubdtype(value.dtype, jnp.integer)
            value = value.item() if whole else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a whole number, not {a_kind(value)}."
            )
        if self.low is not None and value < self.low:
            raise ValueError(f"{owner}({name}={shown(value)}): {name} must be at least {self.low}.")
        if not -LAST <= value <= LAST:
            raise ValueError(
                f"{owner}({name}={shown(value)}): {name} must be at most {LAST} in size: whole numbers "
                "have 32 bits."
            )
        return value


AtLeastOne = Annotated[int, Integer(low=1)]
"""A whole number from 1 on."""


class Function:
    """A function, of so many positional arguments; a class is none where it is known what it is called with.

    Args:
        count: how many it is called with; None says nothing about them.
        by_name: whether it may be given others by name.
    """

    def __init__(self, count: int | None = None, *, by_name: bool = False) -> None:
        self.count, self.by_name = count, by_name

    def accept(self, owner: str, name: str, value: Any) -> Any:
        if not callable(value) or (isinstance(value, type) and self.count is not None):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a function, not {a_kind(value)}."
            )
        if self.count is None:
            return value
        try:
            signature = inspect.signature(value)
        except (TypeError, ValueError):  # some of C do not tell
            return value
        try:
            if self.by_name:
                own = [p for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
                inspect.Signature(own).bind_partial(*[None] * self.count)
            else:
                signature.bind(*[None] * self.count)
        except TypeError:
            count = f"{self.count} argument{'s' if self.count > 1 else ''}"
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} is called with {count}, and takes {signature}."
            ) from None
        return value


class Flag:
    """True or False."""

    def accept(self, owner: str, name: str, value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be True or False, not {a_kind(value)}."
            )
        return bool(value)


class Text:
    """A text."""

    def accept(self, owner: str, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a text, not {a_kind(value)}.")
        return value


class Maybe:
    """None, or what the inner kind accepts."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def accept(self, owner: str, name: str, value: Any) -> Any:
        return None if value is None else self.inner.accept(owner, name, value)


def kind_of(hint: Any, kinds: dict[Any, Kind]) -> Kind | None:
    """The kind that an annotation asks for: by its metadata, else by the type; None accepts all.

    Args:
        hint: the annotation; `Callable[[A, B], C]` asks for a function of two arguments.
        kinds: type -> kind.
    """
    for extra in getattr(hint, "__metadata__", ()):
        if hasattr(extra, "accept"):
            return extra
    if typing.get_origin(hint) is Callable:
        arguments = typing.get_args(hint)[0]
        return Function(len(arguments) if isinstance(arguments, list) else None)
    if isinstance(hint, type):
        return next((kinds[base] for base in hint.__mro__ if base in kinds), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        inner = next((k for p in parts if p is not type(None) and (k := kind_of(p, kinds))), None)
        return Maybe(inner) if inner is not None and type(None) in parts else inner
    return None


def several(owner: str, name: str, value: Any) -> tuple[Any, ...]:
    """What a field of several things is given, as a tuple; each of them is looked at by who asks."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a tuple, not {a_kind(value)}.")
    return tuple(value)


class Choice:
    """One of a few names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def accept(self, owner: str, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.names:
            guess = nearest(value, self.names) if isinstance(value, str) else ""
            known = ", ".join(map(repr, self.names))
            raise ValueError(f"{owner}({name}={shown(value)}): {name} must be one of {known}.{guess}")
        return value
