"""When two fields are equal, and a key that is equal where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from gradtx.values.kinds import is_array, is_traced

__all__ = ["same"]


class UnhashableError(TypeError):
    pass


def same(a: Any, b: Any) -> bool:
    """Whether two fields' contents are equal: arrays by their entries, 1 and True are not."""
    if a is b:
        return True
    if is_traced(a) or is_traced(b):
        return False  # two unknown numbers are equal only if they are the same one
    if is_array(a) or is_array(b):
        a, b = _entries(a), _entries(b)
        return np.shape(a) == np.shape(b) and _equal(np.asarray(a), np.asarray(b))
    if type(a) is not type(b):
        return not isinstance(a, bool) and not isinstance(b, bool) and _equal(a, b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return _equal(a, b)


def _equal(a: Any, b: Any) -> bool:
    """Whether all entries are equal; what can't be compared, as a float with 10**5000, is not."""
    try:
        return bool(np.all(a == b))
    except (TypeError, ValueError, OverflowError):
        return False


def _entries(x: Any) -> Any:
    """An array as it is; of a key of jax.random its numbers, which can be compared."""
    is_key = isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x)) if is_key else x


def hash_key(x: Any) -> Any:
    """Something hashable that is equal where the values are equal."""
    if is_traced(x):
        raise UnhashableError("a number that is being traced")
    if is_array(x):
        x = _entries(x)
        if np.ndim(x) == 0:
            return x.item()
        raise UnhashableError(f"an array of shape {np.shape(x)}")
    if isinstance(x, (tuple, list)):
        return tuple(hash_key(v) for v in x)
    if isinstance(x, Mapping):
        return frozenset((k, hash_key(v)) for k, v in x.items())
    try:
        hash(x)
        return x
    except TypeError:
        leaves, structure = jax.tree.flatten(x)
        if jax.tree_util.treedef_is_leaf(structure):
            raise UnhashableError(f"{x!r}") from None
        return structure, tuple(hash_key(v) for v in leaves)
