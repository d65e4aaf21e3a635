"""Heavy-ball velocity, and PyTorch's dampening of it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay, DtypeName, KeptShare
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import either_way
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional, static

__all__ = ["dampen", "trace"]


class TraceState(NamedTuple):
    velocity: PyTree  # structure and shapes of the parameters, at least float32


class trace(GradientTransformation, reach=ENTRY):
    """Heavy-ball velocity: vₜ = β vₜ₋₁ + gₜ. Its steady state is g / (1 - β), not g.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    https://doi.org/10.1016/0041-5553(64)90137-5
    Nesterov's form as in Sutskever et al., "On the importance of initialization and momentum in
    deep learning", 2013, equation 3, at the shifted parameters.
    https://proceedings.mlr.press/v28/sutskever13.html

    Args:
        decay: β, in [0, 1]; 0 passes the gradient through, and 1 adds up all of them.
        nesterov: look one step ahead by returning β vₜ + gₜ.
        accumulator_dtype: of the state; None is the parameters', at least float32.

    Examples:
        >>> tx = gradtx.trace(0.9)
        >>> first, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
        >>> tx.update(jnp.ones(2), state)[0]
        Array([1.9, 1.9], dtype=float32)
    """

    decay: KeptShare
    nesterov: bool = static(default=False)
    accumulator_dtype: DtypeName | None = static(default=None)

    def init(self, params: PyTree) -> TraceState:
        return TraceState(tree.zeros_like(params, self.accumulator_dtype))

    def update(
        self, updates: PyTree, state: TraceState, params: PyTree | None = None
    ) -> tuple[PyTree, TraceState]:
        # v - (1 - β) v, not β v: a rounded β is wrong the same way at every step.
        weight = numerics.complement(self.decay)

        def push(g: jax.Array, v: jax.Array) -> jax.Array:
            return _pushed(g, numerics.cast(v, g.dtype), numerics.beside(weight, g))

        velocity = tree.map(push, updates, state.velocity)
        after = TraceState(tree.cast_like(velocity, state.velocity))
        return (jax.tree.map(push, updates, velocity) if self.nesterov else velocity), after


@either_way
def _pushed(g: jax.Array, v: jax.Array, weight: jax.Array) -> jax.Array:
    kept = numerics.minus(v, numerics.times(v, weight))
    return numerics.plus(g, lax.select(lax.is_finite(kept), kept, v) if _is_real(kept) else kept)


def _is_real(x: jax.Array) -> bool:
    return not jnp.issubdtype(x.dtype, jnp.complexfloating)


class DampenState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made


class dampen(GradientTransformation, reach=ENTRY):
    """Multiply every update but the first by 1 - τ. In front of `trace`: PyTorch's dampening.

    There vₜ = β vₜ₋₁ + (1 - τ) gₜ starts at the whole first gradient, v₁ = g₁. With τ = β that is
    an exponential average that starts at the first gradient instead of zero.

    Source: none (a convention of PyTorch's SGD, which names no source for it).

    Args:
        dampening: τ, in [0, 1). With 0 the updates are counted and stay as they are.
    """

    dampening: Decay = optional(default=0.0)

    def init(self, params: PyTree) -> DampenState:
        return DampenState(numerics.counter())

    def update(
        self, updates: PyTree, state: DampenState, params: PyTree | None = None
    ) -> tuple[PyTree, DampenState]:
        after = DampenState(numerics.safe_increment(state.step))
        if is_off(self.dampening):
            return updates, after
        factor = jnp.where(state.step == 0, 1.0, numerics.complement(self.dampening))
        damped = jax.tree.map(lambda g: numerics.times(g, factor), updates)
        return damped, after
