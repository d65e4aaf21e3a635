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
import numpy as np

from gradtx.values import registry
from gradtx.values.equality import same
from gradtx.values.kinds import is_traced
from gradtx.values.value import Value, behind
from gradtx.values.wording import nearest

__all__ = ["VERSION", "from_json", "to_json"]

VERSION = 1


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
        ValueError: not JSON of this version, an unknown class or field, or a number out of range.
        TypeError: a field holds the wrong kind of thing, or this is not a text.
    """
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"from_json: expected the text that to_json wrote, not {text!r}.")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"from_json: this is not JSON: {error}.") from None
    if not isinstance(data, dict) or "gradtx" not in data or "value" not in data:
        raise ValueError(f'from_json: expected {{"gradtx": {VERSION}, "value": ...}}, as to_json writes it.')
    if data["gradtx"] != VERSION:
        raise ValueError(
            f"from_json: this text has version {data['gradtx']!r}; this gradtx reads version "
            f"{VERSION}. Read it with the gradtx that wrote it, or write it again."
        )
    return _read(data["value"], _classes(known))


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


def _read(x: Any, classes: dict[str, type[Value]]) -> Any:
    if isinstance(x, list):
        return [_read(v, classes) for v in x]
    if not isinstance(x, dict):
        return x
    if "type" in x:
        return _build(x, classes)
    if x.keys() == {"tuple"}:
        return tuple(_read(v, classes) for v in x["tuple"])
    if x.keys() == {"dict"}:
        return {_read(k, classes): _read(v, classes) for k, v in x["dict"]}
    if x.keys() == {"array", "dtype"}:
        return np.asarray(x["array"], x["dtype"])
    raise ValueError(f"from_json: {x!r} is neither a value, a tuple, a dict nor an array.")


def _build(x: dict[str, Any], classes: dict[str, type[Value]]) -> Value:
    name = x["type"]
    if name not in classes:
        raise ValueError(
            f"from_json: gradtx has no {name!r}.{nearest(str(name), classes)} "
            "For a class of your own: from_json(text, known=[that_class])."
        )
    cls = classes[name]
    fields = {f.name: f.default for f in dataclasses.fields(cls)}
    given = {k: _read(v, classes) for k, v in x.items() if k != "type"}
    for key in given:
        if key not in fields:
            raise ValueError(
                f"from_json: {name} has no field {key!r}.{nearest(key, fields)} "
                f"Its fields: {', '.join(fields) or 'none'}."
            )
    defaults = {k: v for k, v in fields.items() if v is not dataclasses.MISSING}
    if missing := fields.keys() - defaults.keys() - given.keys():
        raise ValueError(f"from_json: {name} lacks {', '.join(sorted(missing))}.")
    return cls._rebuild(defaults | given)
