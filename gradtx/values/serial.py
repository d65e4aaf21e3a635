"""Values as JSON: `to_json(tx)` and `from_json(text)`, exact for every number.

    {"gradtx": 1, "value": {"type": "ema", "decay": 0.9}}

A value is an object whose `type` is its class and whose other keys are its fields; fields at
their default are left out. Reading runs no code from the text: only classes that gradtx exports,
and those that the reader names, are built, through their constructors and so through every check.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.values import registry
from gradtx.values.equality import same
from gradtx.values.kinds import is_traced
from gradtx.values.value import Value, behind
from gradtx.values.wording import nearest, shown

__all__ = ["VERSION", "from_json", "to_json"]

VERSION = 1
_LONGEST = 10_000_000  # characters
_DEEPEST = 100  # objects and lists in one another
_TOO_DEEP = f"from_json: the text is nested too deeply: at most {_DEEPEST} objects and lists in one another."


def to_json(value: Value, *, indent: int | None = None) -> str:
    """The value as JSON text.

    Args:
        value: a transformation, a schedule or a rule.
        indent: spaces per level; None is one line.

    Raises:
        TypeError: it holds a function or a traced number, which have no text; the field is named.
    """
    value = behind(value)
    return json.dumps({"gradtx": VERSION, "value": _write(value, type(value).__name__)}, indent=indent)


def from_json(text: str, *, known: Iterable[type[Value]] = ()) -> Any:
    """The value that `to_json` wrote.

    Args:
        text: JSON text.
        known: classes of your own that may occur in it.

    Raises:
        ValueError: not JSON of this version, an unknown class or field, a number out of range, a key that is
            there twice, or a text too long or nested too deeply. Nothing larger than the text is made of it.
        TypeError: a field holds the wrong kind of thing, or this is not a text.
    """
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"from_json: expected the text that to_json wrote, not {shown(text)}.")
    if len(text) > _LONGEST:
        raise ValueError(f"from_json: the text has {len(text)} characters; at most {_LONGEST} are read.")
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"from_json: this is not JSON: {error}.") from None
    if not isinstance(data, dict) or "gradtx" not in data or "value" not in data:
        raise ValueError(f'from_json: expected {{"gradtx": {VERSION}, "value": ...}}, as to_json writes it.')
    version = data["gradtx"]
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"from_json: this text has version {shown(version)}; this gradtx reads version "
            f"{VERSION}. Read it with the gradtx that wrote it, or write it again."
        )
    value = _read(data["value"], _classes(known), 0)
    if not isinstance(value, Value):
        raise ValueError(
            f'from_json: "value" holds {shown(value)}: expected {{"type": ...}}, as to_json writes it.'
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return found


def _classes(known: Iterable[type[Value]]) -> dict[str, type[Value]]:
    return registry.public(Value) | {c.__name__: c for c in known}


def _write(x: Any, where: str) -> Any:
    if isinstance(x, Value):
        return {"type": type(x).__name__} | {
            f.name: _write(held, f"{where}.{f.name}")
            for f in dataclasses.fields(x)
            if not _is_default(f, held := getattr(x, f.name))
        }
    if isinstance(x, tuple):
        return {"tuple": [_write(v, f"{where}[{i}]") for i, v in enumerate(x)]}
    if isinstance(x, list):
        return [_write(v, f"{where}[{i}]") for i, v in enumerate(x)]
    if isinstance(x, Mapping):
        return {"dict": [[_write(k, where), _write(v, f"{where}[{k!r}]")] for k, v in x.items()]}
    if isinstance(x, (jax.Array, np.ndarray)) and not is_traced(x):
        return {"array": np.asarray(x).tolist(), "dtype": str(x.dtype)}
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    raise TypeError(
        f"to_json: {where} holds {x!r}, which has no JSON. Use a schedule of gradtx instead of a "
        "function, and a tree or a rule on the path as a mask; pickle keeps named functions."
    )


def _is_default(field: Any, held: Any) -> bool:
    return field.default is not dataclasses.MISSING and same(held, field.default)


def _read(x: Any, classes: dict[str, type[Value]], depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError(_TOO_DEEP)
    if isinstance(x, list):
        return [_read(v, classes, depth + 1) for v in x]
    if not isinstance(x, dict):
        return x
    if "type" in x:
        return _build(x, classes, depth)
    if x.keys() == {"tuple"} and isinstance(x["tuple"], list):
        return tuple(_read(v, classes, depth + 1) for v in x["tuple"])
    if x.keys() == {"dict"} and _are_pairs(x["dict"]):
        return _dict([(_read(k, classes, depth + 1), _read(v, classes, depth + 1)) for k, v in x["dict"]])
    if x.keys() == {"array", "dtype"}:
        return _array(x["array"], x["dtype"])
    raise ValueError(f"from_json: {shown(x)} is neither a value, a tuple, a dict nor an array.")


def _are_pairs(x: Any) -> bool:
    return isinstance(x, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in x)


def _dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    try:
        found = dict(pairs)
    except TypeError as error:
        raise ValueError(f"from_json: a key of a dict is of another kind: {error}.") from None
    if len(found) < len(pairs):
        raise ValueError(f"from_json: a key is there twice in {shown(pairs)}.")
    return found


def _array(entries: Any, dtype: Any) -> np.ndarray:
    """Only numbers have a dtype here: one of NumPy's may be a text of a gigabyte."""
    try:
        known = jnp.dtype(dtype) if isinstance(dtype, str) and dtype.isidentifier() else None
    except TypeError:
        known = None
    if known is None or not (jnp.issubdtype(known, jnp.number) or known == np.bool_):
        raise ValueError(f"from_json: {shown(dtype)} is not a dtype of numbers, such as 'float32'.")
    try:
        return np.asarray(entries, known)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"from_json: {shown(entries)} is not an array of {dtype}: {error}.") from None


def _build(x: dict[str, Any], classes: dict[str, type[Value]], depth: int) -> Value:
    name = x["type"]
    if not isinstance(name, str) or name not in classes:
        raise ValueError(
            f"from_json: gradtx has no {shown(name)}.{nearest(str(name)[:100], classes)} "
            "For a class of your own: from_json(text, known=[that_class])."
        )
    cls = classes[name]
    fields = {f.name: f.default for f in dataclasses.fields(cls)}
    given = {k: _read(v, classes, depth + 1) for k, v in x.items() if k != "type"}
    for key in given:
        if key not in fields:
            raise ValueError(
                f"from_json: {name} has no field {shown(key)}.{nearest(key[:100], fields)} "
                f"Its fields: {', '.join(fields) or 'none'}."
            )
    defaults = {k: v for k, v in fields.items() if v is not dataclasses.MISSING}
    if missing := fields.keys() - defaults.keys() - given.keys():
        raise ValueError(f"from_json: {name} lacks {', '.join(sorted(missing))}.")
    return cls._rebuild(defaults | given)
