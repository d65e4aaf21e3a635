"""Answers about a transformation, remembered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

__all__ = ["has_arrays", "remembered", "remembered_by_value"]


@functools.lru_cache(maxsize=1024)
def _remember(f: Callable[[Any], Any], tx: Any) -> Any:
    return f(tx)


_by_structure: dict[tuple[Any, Any], Any] = {}


def has_arrays(tx: Any) -> bool:
    """Whether numbers of `tx` are arrays: traced, or looked up."""
    return any(isinstance(x, jax.Array) for x in jax.tree.leaves(tx))


def remembered(f: Callable[[Any], Any], tx: Any) -> Any:
    """f(tx), remembered; `f` must not ask what a number in an array is."""
    if not has_arrays(tx):
        return remembered_by_value(f, tx)
    key = f, jax.tree.structure(tx)
    try:
        return _by_structure[key]
    except KeyError:  # not `in` and then a look: another thread may clear it in between
        answer = f(tx)
    if len(_by_structure) >= 1024:
        _by_structure.clear()
    _by_structure[key] = answer
    return answer


def remembered_by_value(f: Callable[[Any], Any], tx: Any) -> Any:
    """f(tx), remembered unless numbers of `tx` are arrays, or it can't be hashed."""
    try:
        if has_arrays(tx):
            return f(tx)
        hash(tx)
    except TypeError:
        return f(tx)
    return _remember(f, tx)
