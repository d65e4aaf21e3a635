"""Schedule-free learning: gradients are taken between the iterate and its average, and no schedule is needed.

    yₜ = (1 - β) zₜ + β xₜ                        where the gradient is taken: the parameters
    zₜ₊₁ = zₜ + uₜ                                uₜ: the base optimizer's step, at yₜ
    cₜ = wₜ / (w₁ + ... + wₜ),   wₜ = (max of λ₁ ... λₜ)ᵖ
    xₜ₊₁ = (1 - cₜ) xₜ + cₜ zₜ₊₁                  the weighted average of z: what to evaluate

Only z is kept. The step of y needs no x, while β stays: yₜ₊₁ - yₜ = cₜ (zₜ₊₁ - yₜ) + (1 - cₜ)(1 - β) uₜ.

Defazio et al., "The Road Less Scheduled", 2024, algorithm 1, with the weights of its authors' code: p = 2 and
the largest λ so far, where the paper has λₜ². https://arxiv.org/abs/2405.15682
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import DtypeName, Hyperparameter, NonNegative, Rate, Scalar
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.states.views import seen_through
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["Mix", "schedule_free", "schedule_free_eval_params"]

Mix = Annotated[Scalar, Hyperparameter(0, 1, open_low=True, why="0 would leave no average to evaluate")]
"""β, the share of the average in the parameters."""


class ScheduleFreeState(NamedTuple):
    """The iterate, and how much its average weighs."""

    b1: jax.Array  # β at the last update: with it, the average is found in the parameters
    max_lr: jax.Array  # the largest learning rate so far
    length: jax.Array  # the sum of the weights, in units of the last one
    z: PyTree  # the base optimizer's iterate; structure and shapes of the parameters, at least float32
    base_optimizer_state: PyTree


class schedule_free(GradientTransformation, reach=ENTRY):
    """An optimizer that needs no decaying schedule: its steps move z, whose average is what to evaluate.

    Evaluate and save at `schedule_free_eval_params(state, params)`, not at the parameters. Give a base
    optimizer without momentum, which β replaces, and the same learning rate here and there; a warm-up
    helps, a decay does not. 0.9 is a fair β, 0.95 to 0.98 for long runs.

    Here and in the base optimizer a schedule is read at the same step; Optax reads it one step later for
    the weights.

    Args:
        base_optimizer: the optimizer whose steps these are; it is given the parameters, y.
        learning_rate: λ, the base optimizer's, by which the average is weighted.
        b1: β, in (0, 1].
        weight_lr_power: p, at least 0; 0 weights all steps alike.
        state_dtype: of z; None is the parameters', at least float32.

    Raises:
        ValueError: update is called without the parameters.

    Examples:
        >>> tx = gradtx.schedule_free(gradtx.sgd(0.1), learning_rate=0.1)
        >>> gradtx.schedule_free_eval_params(tx.init(jnp.ones(2)), jnp.ones(2))
        Array([1., 1.], dtype=float32)
    """

    base_optimizer: GradientTransformation
    learning_rate: Rate
    b1: Mix = 0.9
    weight_lr_power: NonNegative = 2.0
    state_dtype: DtypeName | None = static(default=None)

    def init(self, params: PyTree) -> ScheduleFreeState:
        z = tree.copied(params, self.state_dtype)
        mix, largest, length = jnp.array(self.b1, float), jnp.zeros((), float), jnp.zeros((), float)
        return ScheduleFreeState(mix, largest, length, z, self.base_optimizer.init(params))

    def update(
        self, updates: PyTree, state: ScheduleFreeState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ScheduleFreeState]:
        params, base = need_params(self, params), self.base_optimizer
        steps, inner = base.update(updates, state.base_optimizer_state, params, **extra)
        mix = jnp.asarray(self.b1, state.b1.dtype)
        largest = jnp.maximum(state.max_lr, jnp.asarray(self.learning_rate, state.max_lr.dtype))
        # In units of the last weight the sum grows by 1 and stays exact; a sum of λ² loses its digits.
        last = jnp.where(largest > 0, state.max_lr / jnp.where(largest > 0, largest, 1.0), 0.0)
        length = 1.0 + state.length * last ** numerics.like(self.weight_lr_power, last)
        share, kept = 1.0 / length, mix / state.b1  # c, and 1 while β stays
        to_z, along = share + (1.0 - kept) * (1.0 - share), (1.0 - share) * (kept - mix)

        def iterate(u: jax.Array, z: jax.Array) -> jax.Array:
            wide = numerics.wider(u.dtype, z.dtype)
            return numerics.cast(numerics.cast(z, wide) + numerics.cast(u, wide), z.dtype)

        def step(u: jax.Array, new: jax.Array, old: jax.Array, y: jax.Array) -> jax.Array:
            narrow = jnp.finfo(new.dtype).bits < jnp.finfo(u.dtype).bits
            new, old, y = (numerics.cast(x, u.dtype) for x in (new, old, y))
            # Where z is narrow, what it has made of u, or x would drift. Else not the old z: XLA for CPU
            # would copy it before the new one takes its place.
            moved = new - old if narrow else u
            return numerics.times(new - y, to_z) + numerics.times(moved, along)

        z = tree.map(iterate, steps, state.z)
        out = tree.map(step, steps, z, state.z, params)
        return out, ScheduleFreeState(mix, largest, length, z, inner)


def schedule_free_eval_params(state: PyTree, params: PyTree) -> PyTree:
    """The parameters to evaluate: x = (y - (1 - β) z) / β, the average, in the parameters' dtypes.

    Args:
        state: the state of a `schedule_free`, or anything that contains it: of a chain, of `masked`, of
            an optimizer with a schedule. Leaves that no `schedule_free` sees are returned as they are.
        params: the parameters that are trained, y.

    Raises:
        ValueError: there is no `schedule_free` in the state, or its trees are not the parameters'.
    """

    def average(held: ScheduleFreeState, y: jax.Array, z: jax.Array) -> jax.Array:
        wide = numerics.wider(numerics.wide_dtype(y.dtype), z.dtype)
        y_wide, z = numerics.cast(y, wide), numerics.cast(z, wide)
        back = numerics.like(1.0 / held.b1 - 1.0, y_wide)
        return numerics.cast(y_wide + back * (y_wide - z), y.dtype)

    return seen_through("schedule_free_eval_params", ScheduleFreeState, "z", state, params, average)
