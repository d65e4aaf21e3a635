"""Gradients that are added up over several updates before they are used.

Source: none (the mean gradient of a large batch, computed in parts).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.pointwise import identity
from gradtx.contract.hyperparameters import DtypeName
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne, Function, Integer, is_traced
from gradtx.values.value import static

__all__ = ["accumulate", "apply_every", "has_updated", "skip_large_updates", "skip_not_finite"]


class _Every:
    """A whole number from 1 on, or a function of the number of updates."""

    def accept(self, owner: str, name: str, value: Any) -> Any:
        return (Function(1) if callable(value) else Integer(low=1)).accept(owner, name, value)


Every = Annotated[Any, _Every()]


class AccumulateState(NamedTuple):
    """What has been added up since the last update of `inner`."""

    micro_step: jax.Array  # int32: how many updates have been added up
    gradient_step: jax.Array  # int32: how many updates `inner` has made
    weight: jax.Array  # the sum of their weights
    total: PyTree  # structure and shapes of the parameters, in the accumulator's dtype
    skipped: PyTree  # what should_skip_update_fn said last
    inner: PyTree


class accumulate(GradientTransformation, reach=TREE, may_skip=True):
    """`inner`, once for every k updates, with their weighted mean; zero updates in between.

        ḡ = Σ wᵢ gᵢ / Σ wᵢ        over k micro-batches

    k micro-batches of equal size give what one batch of them all gives. Those of other sizes are
    weighted by their sizes: update(updates, state, params, weight=size). A weight is a finite number, at
    least 0. A traced one that is something else leaves its micro-batch out. Where all weights are 0,
    nothing is updated and the next k begin. `inner` counts its own updates: a schedule in it moves once
    for every k. Optax has this as `MultiSteps`.

    Args:
        inner: the transformation.
        every: k, at least 1; or a function of the number of updates that `inner` has made.
        mean: whether to divide by the sum of the weights; False uses the sum.
        should_skip_update_fn: (updates, gradient step, params) -> (whether to leave this micro-batch out,
            a tree to keep in the state), such as `skip_not_finite`. A micro-batch that is left out does not
            count.
        accumulator_dtype: of the sum; None is the parameters', at least float32.

    Raises:
        ValueError: `every` is below 1; an update's `weight` is known and means nothing.

    Examples:
        >>> tx, params = gradtx.accumulate(gradtx.sgd(0.1), every=2), jnp.ones(2)
        >>> waiting, state = tx.update(params, tx.init(params), params)
        >>> step, state = tx.update(3 * params, state, params)
        >>> waiting, step
        (Array([0., 0.], dtype=float32), Array([-0.2, -0.2], dtype=float32))
    """

    inner: GradientTransformation
    every: Every = static()
    mean: bool = static(default=True)
    should_skip_update_fn: Callable[[PyTree, Any, Any], Any] | None = static(default=None)
    accumulator_dtype: DtypeName | None = static(default=None)

    def init(self, params: PyTree) -> AccumulateState:
        micro, made = numerics.counter(), numerics.counter()
        total = tree.zeros_like(params, self.accumulator_dtype)
        skipped = self._skip(tree.zeros_like(params), made, params)[1]
        return AccumulateState(micro, made, jnp.zeros((), float), total, skipped, self.inner.init(params))

    def update(
        self,
        updates: PyTree,
        state: AccumulateState,
        params: PyTree | None = None,
        *,
        weight: Any = 1.0,
        **extra: Any,
    ) -> tuple[PyTree, AccumulateState]:
        skip, skipped = self._skip(updates, state.gradient_step, params)
        share = jnp.asarray(weight, state.weight.dtype)
        usual = isinstance(weight, (int, float)) and 0 < weight < math.inf
        if not usual:
            if not is_traced(share) and not 0 <= share < jnp.inf:
                raise ValueError(
                    f"accumulate: weight={weight!r}: a micro-batch's weight is a finite number, at least 0."
                )
            skip = skip | ~((share >= 0) & (share < jnp.inf))

        def more(g: jax.Array, total: jax.Array) -> jax.Array:
            both = total + numerics.cast(numerics.times(g, share), total.dtype)
            return jnp.where(skip, total, both)  # not a product with 0: that would keep a NaN

        grown = tree.map(more, updates, state.total)
        weights = jnp.where(skip, state.weight, state.weight + share)
        micro = jnp.where(skip, state.micro_step, state.micro_step + 1)
        every = self.every(state.gradient_step) if callable(self.every) else self.every
        if not isinstance(every, int):  # a schedule's numbers are no whole ones
            every = jnp.ceil(jnp.asarray(every, float)).astype(micro.dtype)
        complete = (micro >= every) & (micro > 0)
        # Where all weights were 0 there is no mean: nothing is updated, and it begins anew.
        runs = complete if usual else complete & (weights > 0)

        def run() -> tuple[PyTree, PyTree]:
            gathered = self._gathered(updates, grown, weights)
            return self.inner.update(gathered, state.inner, params, **extra)

        out, inner = cond(runs, run, lambda: (tree.zeros_of(updates), state.inner))
        # Behind the branch, which only reads it: out of it, XLA for CPU would copy it.
        total = jax.tree.map(lambda s: jnp.where(complete, jnp.zeros_like(s), s), grown)
        return out, AccumulateState(
            micro_step=jnp.where(complete, 0, micro),
            gradient_step=jnp.where(runs, numerics.safe_increment(state.gradient_step), state.gradient_step),
            weight=jnp.where(complete, 0.0, weights).astype(weights.dtype),
            total=total,
            skipped=skipped,
            inner=inner,
        )

    def _gathered(self, updates: PyTree, total: PyTree, weights: jax.Array) -> PyTree:
        def gather(g: jax.Array, s: jax.Array) -> jax.Array:
            s = numerics.cast(s, g.dtype)
            return numerics.over(s, weights) if self.mean else s

        return tree.map(gather, updates, total)

    def _skip(self, updates: PyTree, made: jax.Array, params: PyTree | None) -> tuple[Any, PyTree]:
        if self.should_skip_update_fn is None:
            return jnp.zeros((), bool), ()
        return self.should_skip_update_fn(updates, made, params)


class apply_every(Composite):
    """The sum of every k updates at the k-th, and zero in between: `accumulate(identity(), k, mean=False)`.

    Behind an optimizer it adds up the steps, each with the state of its time; `accumulate` around the
    optimizer adds up the gradients.

    Args:
        k: at least 1.
    """

    k: AtLeastOne = static(default=1)

    def expand(self) -> GradientTransformation:
        return accumulate(identity(), self.k, mean=False)


def has_updated(state: AccumulateState) -> jax.Array:
    """Whether the last update of an `accumulate` was one of what it holds."""
    return (state.micro_step == 0) & (state.gradient_step > 0)


def skip_not_finite(updates: PyTree, gradient_step: Any, params: PyTree | None) -> tuple[jax.Array, PyTree]:
    """For `accumulate`: leave a micro-batch out that has an entry which is not finite."""
    wrong = sum((jnp.sum(~jnp.isfinite(u), dtype=jnp.int32) for u in jax.tree.leaves(updates)), jnp.int32(0))
    return wrong > 0, {"should_skip": wrong > 0, "num_not_finite": wrong}


def skip_large_updates(
    updates: PyTree, gradient_step: Any, params: PyTree | None, max_squared_norm: float
) -> tuple[jax.Array, PyTree]:
    """For `accumulate`, by functools.partial: leave a micro-batch out whose squared norm is too large.

    Args:
        updates: the micro-batch's gradients.
        gradient_step: not read.
        params: not read.
        max_squared_norm: the limit; NaN is not below it.
    """
    squares = jnp.square(tree.global_norm(updates))
    skip = ~(squares < max_squared_norm)
    return skip, {"should_skip": skip, "norm_squared": squares}
