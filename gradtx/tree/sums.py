"""One number about all leaves: sums over their entries, inner products, norms.

Squares of float32 overflow above 1.8e19 and lose digits below 1e-15. Which norm does what about it:

- `global_norm` sums them again in units of the largest entry, a second pass that runs only then: right
  wherever the norm is. For what has no threshold to measure by: `normalize`, line searches, monitors.
- `length` of squares in units of a threshold is right up to 1e23 thresholds, in one pass:
  `clip_by_global_norm` and the lagged clips.
- `length` of plain squares is infinite, and the update becomes zero: `zclip` and `leafwise_zclip`, to which
  it is an outlier in any case.
- The root of a `total` is infinite, and what divides by it stands still: `dog`, `dowg`, `polyak_sgd`.
- `numerics.norm`, of one leaf, is infinite as well: trust ratios.

A second pass reads every gradient once more, so only what has no threshold pays for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.numerics.dispatch import cond
from gradtx.tree.maps import map, real_dtype, together
from gradtx.tree.paths import PyTree

__all__ = ["dot", "global_norm", "inner", "inner_product", "length", "total", "totals"]


def total(f: Callable[..., Any], tree: PyTree, *rest: PyTree) -> jax.Array:
    """The sum of f over the entries of all leaves: in float64 where x64 is enabled, else float32.

    Args:
        f: a function of one leaf of each tree, real and in at least float32.
        tree: a tree.
        rest: trees of the same structure.
    """
    return _added([jnp.sum(x) for x in jax.tree.leaves(map(f, tree, *rest))])


def totals(fs: tuple[Callable[..., Any], ...], tree: PyTree, *rest: PyTree) -> tuple[jax.Array, ...]:
    """The `total` of each function, over the same trees: on a GPU each leaf has one reduction for all.

    Once two reductions have read an array, XLA for GPU copies it before it is overwritten in their kernel;
    after one it does not. XLA for TPU stores what a reduction of tuples reads: elsewhere there is one each.

    Args:
        fs: functions of one leaf of each tree, real and in at least float32; all of one shape.
        tree: a tree.
        rest: trees of the same structure.
    """
    flat = together(tree, rest)[1]
    sums = [
        jax.lax.platform_dependent(
            *(f(*leaves) for f in fs), cuda=_at_once, rocm=_at_once, default=_one_by_one
        )
        for leaves in zip(*flat, strict=True)
    ]
    return tuple(_added([of[i] for of in sums]) for i in range(len(fs)))


def _one_by_one(*terms: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.sum(x) for x in terms)


@jax.custom_jvp
def _at_once(*terms: jax.Array) -> tuple[jax.Array, ...]:
    def add(some: tuple[jax.Array, ...], more: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(a + b for a, b in zip(some, more, strict=True))

    zeros = tuple(jnp.zeros((), x.dtype) for x in terms)
    return tuple(jax.lax.reduce(terms, zeros, add, tuple(range(terms[0].ndim))))


@_at_once.defjvp
def _tangents_at_once(terms: Any, tangents: Any) -> Any:
    """The derivative, of sums: jax does not differentiate a reduction of tuples."""
    return _at_once(*terms), _one_by_one(*tangents)


def _added(sums: list[jax.Array]) -> jax.Array:
    if not sums:
        return jnp.zeros((), float)
    # The barrier keeps XLA from adding them up anew in the kernel of each leaf that reads the total: of 100
    # leaves a step of `polyak_sgd` had 23,617 lines instead of 3,751.
    return jnp.sum(jax.lax.optimization_barrier(jnp.stack([x.astype(float) for x in sums])))


def dot(tree: PyTree, other: PyTree) -> jax.Array:
    """The inner product of two trees, in the dtypes of the first; real also where they are complex."""
    return total(inner, tree, other)


def inner_product(tree: PyTree, other: PyTree, dtype: Any, *, bilinear: bool = False) -> jax.Array:
    """Re Σ conj(a) b over all leaves, each leaf summed in the wider of its two dtypes.

    Unlike `dot`, which is what a step's arithmetic takes, it keeps to the operations of its leaves and adds
    them up in the dtype that is asked for: line searches and L-BFGS compare such numbers.

    Args:
        tree: a tree.
        other: another of the same structure.
        dtype: of the result.
        bilinear: Re Σ a b instead. `jax.grad` gives the conjugate of the steepest ascent, so that this is
            the slope of a step b along a gradient a.
    """

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        both = numerics.wider(a.dtype, b.dtype)
        a, b = numerics.cast(a, both), numerics.cast(b, both)
        return jnp.sum(jnp.real((a if bilinear else jnp.conj(a)) * b)).astype(dtype)

    products = jax.tree.leaves(map(product, tree, other))
    return sum(products, jnp.zeros((), dtype))


def inner(a: jax.Array, b: Any) -> jax.Array:
    """The terms of the inner product of two leaves, whose `total` is `dot`."""
    b = numerics.cast(b, a.dtype)
    return (a.conj() * b).real if jnp.issubdtype(a.dtype, jnp.complexfloating) else a * b


def length(squares: list[jax.Array]) -> jax.Array:
    """The norm, given its square leaf by leaf: the root of their sum, in the widest of their dtypes."""

    def plus(a: jax.Array, b: jax.Array) -> jax.Array:
        dtype = numerics.wider(a.dtype, b.dtype)
        return numerics.plus(numerics.cast(a, dtype), b)

    return numerics.root(functools.reduce(plus, squares))


def global_norm(tree: PyTree) -> jax.Array:
    """The 2-norm of all leaves together, in at least float32; 0 for a tree without leaves.

    Finite wherever the norm itself is: where the squares overflow or vanish, they are summed
    again, divided by the largest entry (a second pass that runs only then).
    """
    leaves = [x.astype(numerics.wide_dtype(x.dtype)) for x in jax.tree.leaves(tree) if x.size]
    if not leaves:
        return jnp.zeros(())
    dtype = real_dtype(leaves)

    def total(scale: Any) -> Any:
        return sum(jnp.sum(numerics.abs_sq(numerics.times(x, scale))).astype(dtype) for x in leaves)

    def scaled(_: jax.Array) -> jax.Array:
        largest = jnp.stack([jnp.max(jnp.abs(x)).astype(dtype) for x in leaves]).max()
        usable = jnp.isfinite(largest) & (largest > 0)
        unit = jnp.where(usable, largest, jnp.ones_like(largest))
        # Two factors, because 1 / unit overflows where unit is subnormal.
        half = jax.lax.rsqrt(unit)
        sums = sum(
            jnp.sum(numerics.abs_sq(numerics.times(numerics.times(x, half), half))).astype(dtype)
            for x in leaves
        )
        return jnp.where(usable, unit * numerics.root(jnp.asarray(sums)), largest)

    plain = total(1.0)
    tiny = jnp.finfo(dtype).tiny * 1e7  # below this, squares have lost digits to underflow
    return cond((plain < jnp.inf) & (plain > tiny), numerics.root, scaled, plain)
