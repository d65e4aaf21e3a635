"""An average of the parameters, kept beside them, to evaluate and to save.

    aₜ = β aₜ₋₁ + (1 - β) θₜ,   a₀ = θ₀

With β = 1 - 1 / t, a schedule, it is the mean of all parameters so far.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. https://doi.org/10.1137/0330046
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.states.views import seen_through
from gradtx.tree import PyTree
from gradtx.tree.updates import apply_updates

__all__ = ["average_params", "averaged_params"]


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
        # Where the parameters will be: rounded to their dtype, as they are then.
        moved = tree.widen(tree.cast_like(apply_updates(tree.widen(params), steps), params))
        weight = numerics.complement(self.decay)
        average = tree.averaged(moved, state.average, weight)
        return steps, AverageParamsState(tree.cast_like(average, state.average), inner)


def averaged_params(state: PyTree, params: PyTree) -> PyTree:
    """The average that `average_params` keeps, in the parameters' dtypes.

    Args:
        state: the state of an `average_params`, or anything that contains it. Leaves that it does not see
            are returned as they are.
        params: the parameters that are trained.

    Raises:
        ValueError: there is no `average_params` in the state, or its trees are not the parameters'.
    """

    def average(held: AverageParamsState, param: jax.Array, mean: jax.Array) -> jax.Array:
        return numerics.cast(mean, param.dtype)

    return seen_through("averaged_params", AverageParamsState, "average", state, params, average)
