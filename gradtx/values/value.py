"""A value: a frozen dataclass that is also a pytree, and prints as the call that makes it.

A subclass of `Value` lists its hyperparameters as annotated fields. Numbers are *data*: leaves of
the pytree, so a jitted function that takes the value as an argument is traced once for all of
them. Whatever changes the shape of the program (flags, counts, dtypes, functions, masks) is
*static*: part of the tree's structure.

    class ema(Value):
        decay: float
        dtype: str | None = static(default=None)

    ema(0.9) == ema(0.9)                      equal, and equally hashed
    eval(repr(ema(0.9))) == ema(0.9)          prints as its own source
    jax.tree.leaves(ema(0.9)) == [0.9]        a pytree of its numbers
    ema(0.9).replace(decay=0.99)              editable, checked again
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import jax

from gradtx.values import registry
from gradtx.values.equality import UnhashableError, hash_key, same
from gradtx.values.kinds import Flag, Integer, Kind, Real, Text, kind_of
from gradtx.values.wording import nearest

__all__ = [
    "Value",
    "accepted",
    "behind",
    "first_of_equal",
    "is_off",
    "kept",
    "optional",
    "per_class",
    "static",
]

Result = TypeVar("Result")
V = TypeVar("V", bound="Value")

_WIDTH = 88  # columns; a longer repr takes one line per argument


def static(*, default: Any = dataclasses.MISSING, kw_only: bool = False) -> Any:
    """A field that changes the shape of the program: part of the structure, not a leaf.

    Pass the default by keyword, `static(default=None)`; type checkers do not recognise it otherwise.
    """
    return dataclasses.field(default=default, kw_only=kw_only, metadata={"static": True})


def optional(*, default: Any, kw_only: bool = False) -> Any:
    """A number whose zero switches its term off.

    A Python 0 (or None) is not a pytree leaf, and its term is left out of the compiled program; any other
    value is data, like every number.
    """
    return dataclasses.field(default=default, kw_only=kw_only, metadata={"optional": True})


def per_class(f: Callable[[type[Any]], Result]) -> Callable[[type[Any]], Result]:
    """`f` of a class, computed once for each."""
    cached: Any = functools.cache(f)  # its stub forgets the type, and takes no class for hashable
    return cached


def kept(f: Callable[[Any], Result], value: Value) -> Result:
    """f(value), computed once and kept on the value itself.

    The answer lives as long as the value does: no key has to be compared, nothing is cleared under another
    thread, and no array outlives what holds it.
    """
    try:
        facts = value._facts
    except AttributeError:
        facts = {}
        object.__setattr__(value, "_facts", facts)
    try:
        return facts[f]
    except KeyError:
        return facts.setdefault(f, f(value))


def behind(x: Any) -> Any:
    """The value that an object of another library stands for, which is its `__gradtx__`; else the object."""
    found = getattr(x, "__gradtx__", None)
    return found if isinstance(found, Value) else x


_known: weakref.WeakKeyDictionary[Value, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def first_of_equal(value: V) -> V:
    """Of equal values the one that was asked for first, as long as it lives; itself where it has no hash.

    What is `kept` on that one is found again with an equal value, and nothing outlives what holds it.
    """
    try:
        found = _known.get(value)
    except TypeError:  # an array among its numbers
        return value
    first = None if found is None else found()
    if first is None:
        first = value
        _known[value] = weakref.ref(value)
    return first


def is_off(value: Any) -> bool:
    """Whether an `optional` field holds the Python zero (or None) that switches its term off."""
    return value is None or (isinstance(value, float) and value == 0.0)


@dataclass_transform(frozen_default=True, field_specifiers=(static, optional))
class Value:
    """Base of everything that gradtx builds: transformations, schedules, path rules.

    Subclassing makes a frozen dataclass and registers it as a pytree. A class is abstract
    (`class Schedule(Value, abstract=True)`) or final: a concrete class can't be subclassed.
    """

    kinds: ClassVar[dict[Any, Kind]] = {float: Real(), int: Integer(), bool: Flag(), str: Text()}
    """What a field accepts, by its annotation."""

    __slots__ = ("_facts", "_hashed")  # beside the fields, which are in __dict__

    _abstract: ClassVar[bool] = True
    _facts: dict[Callable[[Any], Any], Any]
    _hashed: int
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__bases__:
            if issubclass(base, Value) and not base._abstract:
                raise TypeError(
                    f"{cls.__name__}: {base.__name__} is final. Hold one as a field, or compose "
                    "it with chain, instead of subclassing it."
                )
        cls._abstract = abstract
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        jax.tree_util.register_pytree_with_keys(
            cls, _flatten_with_keys, functools.partial(_unflatten, cls), _flatten
        )

    def __post_init__(self) -> None:
        if type(self)._abstract:
            raise TypeError(f"{type(self).__name__} is abstract: make one of its subclasses.")
        for name, kind in accepted(type(self)):
            value = getattr(self, name)
            object.__setattr__(self, name, kind.accept(type(self).__name__, name, value))

    def replace(self, **changes: Any) -> Self:
        """The same value with some fields changed, and checked as at construction.

        Raises:
            TypeError: a name is not a field; the message lists the fields.
        """
        known = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no field {name!r}.{nearest(name, known)} "
                    f"Its fields: {', '.join(known) or 'none'}."
                )
        return self._rebuild({n: getattr(self, n) for n in known} | changes)

    @classmethod
    def of(cls, other: Value, **changes: Any) -> Self:
        """One made of the fields of `other` that have the same names."""
        names = {f.name for f in dataclasses.fields(cls)} & vars(other).keys()
        return cls(**({n: getattr(other, n) for n in names} | changes))

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields)

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        """The arguments of the call that makes this value; a name of None is positional."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or not same(value, field.default):
                yield field.name, value

    def __repr__(self) -> str:
        return _layout(self, 0)

    def _repr_markdown_(self) -> str | None:
        """The composition with its formulas, for a notebook, which shows the repr where this is None."""
        return _explained(self, lambda explanation: explanation.markdown)

    def _repr_latex_(self) -> str | None:
        return _explained(
            self, lambda explanation: f"$${explanation.equations}$$" if explanation.equations else None
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return all(same(a, b) for a, b in zip(_values(self), _values(other), strict=True))

    def __hash__(self) -> int:
        try:
            return self._hashed
        except AttributeError:  # not yet: a composite is asked at every level of every trace
            pass
        try:
            object.__setattr__(self, "_hashed", hash((type(self), tuple(hash_key(v) for v in _values(self)))))
            return self._hashed
        except UnhashableError as error:
            raise TypeError(
                f"{type(self).__name__} can't be hashed: it holds {error}. Pass it to jit as an "
                "ordinary argument (it is a pytree), or give it one Python number."
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)  # without the hash, which is another one in another process, and the facts


# ---------------------------------------------------------------- pytree


class _Structure:
    """The static half of a flattened value: compares and hashes by content."""

    __slots__ = ("data", "fixed")

    def __init__(self, data: tuple[str, ...], fixed: tuple[tuple[str, Any], ...]) -> None:
        self.data, self.fixed = data, fixed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self.data == other.data and same(self.fixed, other.fixed)

    def __hash__(self) -> int:
        return hash((self.data, hash_key(self.fixed)))

    def __repr__(self) -> str:
        return ", ".join([*self.data, *(f"{n}={v!r}" for n, v in self.fixed)])


def _split(value: Value) -> tuple[list[str], list[tuple[str, Any]]]:
    data: list[str] = []
    fixed: list[tuple[str, Any]] = []
    for name, role in _roles(type(value)):
        held = getattr(value, name)
        if role == "data" or (role == "optional" and not is_off(held)):
            data.append(name)
        else:
            fixed.append((name, held))
    return data, fixed


def _flatten(value: Value) -> tuple[list[Any], _Structure]:
    data, fixed = _split(value)
    return [getattr(value, n) for n in data], _Structure(tuple(data), tuple(fixed))


def _flatten_with_keys(value: Value) -> tuple[list[Any], _Structure]:
    children, structure = _flatten(value)
    keys = [jax.tree_util.GetAttrKey(n) for n in structure.data]
    return list(zip(keys, children, strict=True)), structure


def _unflatten(cls: type[Value], structure: _Structure, children: Any) -> Value:
    # No constructor and no check: jax puts tracers, None and its own sentinels into leaves.
    value = object.__new__(cls)
    for name, held in (*structure.fixed, *zip(structure.data, children, strict=True)):
        object.__setattr__(value, name, held)
    return value


@per_class
def _roles(cls: type[Value]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f.name,
            "static" if f.metadata.get("static") else "optional" if f.metadata.get("optional") else "data",
        )
        for f in dataclasses.fields(cls)
    )


def _values(value: Value) -> list[Any]:
    return [getattr(value, name) for name, _ in _roles(type(value))]


# ---------------------------------------------------------------- equality, hash, repr


def _explained(value: Value, form: Callable[[Any], str | None]) -> str | None:
    explanation = registry.explained(value)
    return None if explanation is None else form(explanation)


def _show(x: Any, indent: int) -> str:
    if isinstance(x, Value):
        return _layout(x, indent)
    if isinstance(x, tuple):
        return "(" + ", ".join(_show(v, indent) for v in x) + ("," if len(x) == 1 else "") + ")"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {_show(v, indent)}" for k, v in x.items()) + "}"
    if isinstance(x, types.FunctionType):
        return x.__qualname__
    return repr(x)


def _layout(value: Value, indent: int) -> str:
    """One line where it fits, else one argument per line; either way the constructor's call."""
    head = type(value).__name__

    def arguments(at: int) -> list[str]:
        return [_show(v, at) if n is None else f"{n}={_show(v, at)}" for n, v in value._arguments()]

    line = f"{head}({', '.join(arguments(indent))})"
    if "\n" not in line and len(line) + indent <= _WIDTH:
        return line
    pad = " " * (indent + 4)
    return f"{head}(\n" + "".join(f"{pad}{a},\n" for a in arguments(indent + 4)) + " " * indent + ")"


# ---------------------------------------------------------------- what the fields accept


@per_class
def accepted(cls: type[Value]) -> tuple[tuple[str, Kind], ...]:
    """(field, kind) for every field that has one: from `Annotated` metadata, else from its type."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: {error}. Annotations must name things that its module defines."
        ) from error
    found = ((f.name, kind_of(hints[f.name], cls.kinds)) for f in dataclasses.fields(cls))
    return tuple((name, kind) for name, kind in found if kind is not None)
