"""Averages of the parameters, kept beside them, to evaluate and to save.

    aₜ = β aₜ₋₁ + (1 - β) θₜ,   a₀ = θ₀

`mean_params` keeps the mean of all since some step; `average_params` follows the newest, at the rate β.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. https://doi.org/10.1137/0330046
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay, NonNegative
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.states.views import seen_through
from gradtx.tree import PyTree
from gradtx.tree.updates import apply_updates

__all__ = ["average_params", "averaged_params", "mean_params"]


class AverageParamsState(NamedTuple):
    average: PyTree  # structure and shapes of the parameters, at least float32
    inner: PyTree


class average_params(GradientTransformation, reach=ENTRY):
    """Any optimizer, with an exponential average of the parameters in its state.

    The steps are those of the optimizer; evaluate at `averaged_params(state, params)`. It stands outermost:
    the average is of the parameters that its updates lead to.

    Args:
        inner: the optimizer.
        decay: β, in [0, 1); it averages over about 1 / (1 - β) steps.

    Raises:
        ValueError: update is called without the parameters.

    Examples:
        >>> tx, params = gradtx.average_params(gradtx.sgd(0.1), 0.9), jnp.ones(2)
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> gradtx.averaged_params(state, params)
        Array([0.99, 0.99], dtype=float32)
    """

    inner: GradientTransformation
    decay: Decay = 0.999

    def init(self, params: PyTree) -> AverageParamsState:
        return AverageParamsState(tree.copied(params), self.inner.init(params))

    def update(
        self, updates: PyTree, state: AverageParamsState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, AverageParamsState]:
        params = need_params(self, params)
        steps, inner = self.inner.update(updates, state.inner, params, **extra)
        moved = _moved(params, steps)
        weight = numerics.complement(self.decay)
        average = tree.averaged(moved, state.average, weight)
        return steps, AverageParamsState(tree.cast_like(average, state.average), inner)


def _moved(params: PyTree, steps: PyTree) -> PyTree:
    """Where the parameters will be, wide: rounded to their dtype, as they are then."""
    return tree.widen(tree.cast_like(apply_updates(tree.widen(params), steps), params))


class MeanParamsState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    average: PyTree  # structure and shapes of the parameters, at least float32
    inner: PyTree


class mean_params(GradientTransformation, reach=ENTRY):
    """Any optimizer, with the mean of its parameters since some step in its state.

        aₜ = aₜ₋₁ + (θₜ - aₜ₋₁) / max(1, t - 1 - t₀)

    Up to there the mean is the parameters as they are. The steps are those of the optimizer; evaluate at
    `averaged_params(state, params)`. It stands outermost: the mean is of the parameters that its updates
    lead to.

    Args:
        inner: the optimizer.
        start: t₀, at least 0, how many updates come before the mean.

    Raises:
        ValueError: update is called without the parameters.

    Examples:
        >>> tx, params = gradtx.mean_params(gradtx.sgd(1.0)), jnp.zeros(2)
        >>> state = tx.init(params)
        >>> for _ in range(3):
        ...     updates, state = tx.update(jnp.ones(2), state, params)
        ...     params = gradtx.apply_updates(params, updates)
        >>> params, gradtx.averaged_params(state, params)
        (Array([-3., -3.], dtype=float32), Array([-2.5, -2.5], dtype=float32))
    """

    inner: GradientTransformation
    start: NonNegative = 0.0

    def init(self, params: PyTree) -> MeanParamsState:
        return MeanParamsState(numerics.counter(), tree.copied(params), self.inner.init(params))

    def update(
        self, updates: PyTree, state: MeanParamsState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, MeanParamsState]:
        params = need_params(self, params)
        steps, inner = self.inner.update(updates, state.inner, params, **extra)
        moved = _moved(params, steps)
        start: Any = self.start  # no schedule by now
        since = state.step.astype(float) - start
        weight = 1 / jnp.maximum(since, jnp.ones_like(since))
        average = tree.averaged(moved, state.average, weight)
        # Not by a weight of 1, which rounds: until then the mean is the parameters, to the last bit.
        average = jax.tree.map(lambda new, mean: jnp.where(since <= 1, new, mean), moved, average)
        after = numerics.safe_increment(state.step)
        return steps, MeanParamsState(after, tree.cast_like(average, state.average), inner)


def averaged_params(state: PyTree, params: PyTree) -> PyTree:
    """The average that `average_params` or `mean_params` keeps, in the parameters' dtypes.

    Args:
        state: the state of one of the two, or anything that contains it. Leaves that it does not see
            are returned as they are.
        params: the parameters that are trained.

    Raises:
        ValueError: there is neither in the state, or its trees are not the parameters'.
    """

    def average(held: Any, param: jax.Array, mean: jax.Array) -> jax.Array:
        return numerics.cast(mean, param.dtype)

    return seen_through(
        "averaged_params", (AverageParamsState, MeanParamsState), "average", state, params, average
    )
