"""How laws compare two trees, and how they name what they saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.laws.report import Finding
from gradtx.tree import PyTree
from gradtx.tree import name as name_of

__all__ = ["ROUNDINGS", "describe", "differences", "is_key", "numbers", "one_line", "pairs", "raised", "show"]

ROUNDINGS = 1e-5  # of a leaf's largest entry: 84 float32 roundings; a narrow leaf may add two of its own


def differences(
    seen: PyTree, expected: PyTree, name: str, when: str = "", tolerance: float | None = None
) -> Iterator[Finding]:
    """Where one tree differs from another.

    Args:
        seen: a tree of arrays, or of their shapes and dtypes.
        expected: another.
        name: whose trees they are, for the path.
        when: in which circumstances, for the message.
        tolerance: of the values, as a share of each leaf's largest entry; 0 wants the same bits, and
            None compares structure, shapes and dtypes only.
    """
    mine, theirs = (dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in (seen, expected))
    for path in mine | theirs:
        here, there = (describe(t[path]) if path in t else "nothing" for t in (mine, theirs))
        if here != there:
            yield Finding(f"{here} {when}".strip(), there, name_of(path, name))
        elif tolerance is not None:
            yield from _far(mine[path], theirs[path], name_of(path, name), when, tolerance)
    had: Any = jax.tree.structure(seen)
    should: Any = jax.tree.structure(expected)
    if mine.keys() == theirs.keys() and had != should:
        yield Finding(f"{had} {when}".strip(), f"{should}", f"{name}, in its containers")


def pairs(seen: Any, expected: Any, when: str, tolerance: float) -> Iterator[Finding]:
    """Where the updates and the state that one update returned differ from another's."""
    for name, mine, theirs in zip(("updates", "state"), seen, expected, strict=True):
        yield from differences(mine, theirs, name, when, tolerance)


def _far(x: Any, y: Any, at: str, when: str, tolerance: float) -> Iterator[Finding]:
    if tolerance and jnp.issubdtype(x.dtype, jnp.inexact) and jnp.finfo(x.dtype).bits < 32:
        tolerance += 2 * float(jnp.finfo(x.dtype).eps)
    error = _error(numbers(x), numbers(y))
    if error > tolerance:
        most = f"at most {tolerance:.0e}" if tolerance else "the same bits"
        yield Finding(f"a difference of {error:.1e} of the largest entry {when}".strip(), most, at)


def _error(x: np.ndarray, y: np.ndarray) -> float:
    """The largest difference, in units of the largest entry of y; NaN matches NaN."""
    if np.array_equal(x, y, equal_nan=True):
        return 0.0
    finite = np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return np.inf
    scale = np.max(np.abs(y[finite]))
    return float(np.max(np.abs(x[finite] - y[finite])) / scale) if scale else np.inf


def is_key(x: Any) -> bool:
    """Whether a leaf holds random keys, which are not numbers."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def numbers(x: Any) -> np.ndarray:
    """A leaf's entries in double precision."""
    x = np.asarray(jax.random.key_data(x) if is_key(x) else x)
    return x.astype(complex if np.iscomplexobj(x) else float)


def describe(x: Any) -> str:
    """'float32[3,4]', or the class of what is not an array. Weak types, which retrace, are marked."""
    if not hasattr(x, "dtype"):
        return f"a Python {type(x).__name__}"
    weak = " (weakly typed)" if getattr(x, "weak_type", False) else ""
    return f"{x.dtype}[{','.join(map(str, x.shape))}]{weak}"


def show(x: Any) -> str:
    """Its repr in one line, cut where it is long."""
    return _cut(repr(x), 200)


def one_line(error: Exception) -> str:
    """An error's class and message in one line, cut where it is long."""
    return f"{type(error).__name__}: {_cut(str(error), 400).rstrip('.')}"


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."


def raised(error: Exception, when: str = "", expected: str = "no error", at: str = "") -> Finding:
    """The finding that something raised."""
    return Finding(f"{one_line(error)}{f', {when}' if when else ''}", expected, at, error)
