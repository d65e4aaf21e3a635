"""L-BFGS: gradients times an inverse Hessian that is built of the last m steps.

    sᵢ = θᵢ₊₁ - θᵢ,  yᵢ = gᵢ₊₁ - gᵢ,  ρᵢ = 1 / ⟨yᵢ, sᵢ⟩,  γ = ⟨s, y⟩ / ⟨y, y⟩ of the last pair
    q = gₜ;        from the newest pair to the oldest:   αᵢ = ρᵢ ⟨sᵢ, q⟩,  q ← q - αᵢ yᵢ
    q ← γ q;       from the oldest to the newest:        q ← q + (αᵢ - ρᵢ ⟨yᵢ, q⟩) sᵢ
    θₜ₊₁ = θₜ - η q        with η from a line search

Nocedal & Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 7.4 and 7.5. Liu & Nocedal, "On the
limited memory BFGS method for large scale optimization", 1989. https://doi.org/10.1007/BF01589116

The first direction is gₜ min(1, 1 / ‖gₜ‖), as in Optax. A pair without positive curvature, ⟨y, s⟩ <= 0, is
left out, so that the direction always points downhill; Optax takes it in.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.pointwise import scale
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.searches import scale_by_zoom_linesearch
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["lbfgs", "scale_by_lbfgs"]


class LbfgsState(NamedTuple):
    """The last parameters and updates, and the pairs of differences: a ring along axis 0."""

    step: jax.Array  # int32: how many updates have been made
    pairs: jax.Array  # int32: how many pairs have been taken in; the next goes to its remainder by m
    params: PyTree  # θₜ₋₁, in at least float32
    updates: PyTree  # gₜ₋₁
    diff_params_memory: PyTree  # s, shape (m, ...)
    diff_updates_memory: PyTree  # y, shape (m, ...)
    weights_memory: jax.Array  # ρ, shape (m,); 0 where there is no pair yet
    scale: jax.Array  # γ


class scale_by_lbfgs(GradientTransformation, reach=OTHERS):
    """L-BFGS's direction, which a line search then scales.

    It keeps 2 m + 2 numbers for each parameter. Complex parameters are pairs of real ones: inner products
    are real, and the updates are the conjugate of what jax.grad gives.

    Args:
        memory_size: m, at least 1; 3 to 20 is usual.
        scale_init_precond: begin each product with γ; without it, with 1.

    Raises:
        ValueError: update is called without the parameters.
    """

    memory_size: AtLeastOne = static(default=10)
    scale_init_precond: bool = static(default=True)

    def init(self, params: PyTree) -> LbfgsState:
        def ring(p: jax.Array) -> jax.Array:
            return jnp.repeat(p[None], self.memory_size, axis=0)  # sharded as it is

        dtype, zeros = tree.real_dtype(params), tree.zeros_like(params)
        return LbfgsState(
            numerics.counter(),
            numerics.counter(),
            zeros,
            tree.zeros_like(params),
            jax.tree.map(ring, zeros),
            jax.tree.map(ring, zeros),
            jnp.zeros(self.memory_size, dtype),
            jnp.ones((), dtype),
        )

    def update(
        self, updates: PyTree, state: LbfgsState, params: PyTree | None = None
    ) -> tuple[PyTree, LbfgsState]:
        params = tree.cast_like(need_params(self, params), state.params)
        g = tree.cast_like(updates, state.updates)
        now = self._with_pair(state, tree.map(jnp.subtract, params, state.params), g)
        q = _direction(g, now, scaled=self.scale_init_precond)
        return q, now._replace(step=numerics.safe_increment(state.step), params=params, updates=g)

    def _with_pair(self, state: LbfgsState, s: PyTree, g: PyTree) -> LbfgsState:
        """The state with the newest pair in it, if it has positive curvature."""
        dtype = state.scale.dtype
        y = tree.map(jnp.subtract, g, state.updates)
        curvature, square = tree.inner_product(y, s, dtype), tree.inner_product(y, y, dtype)
        # Not a number is left out too.
        takes = (state.step > 0) & (curvature > 0) & jnp.isfinite(1 / curvature) & jnp.isfinite(square)
        at = state.pairs % self.memory_size

        def put(ring: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.asarray(ring).at[at].set(jnp.where(takes, new, ring[at]))

        norm = tree.global_norm(g).astype(dtype)
        first = 1 / jnp.maximum(norm, 1)
        return state._replace(
            pairs=state.pairs + takes.astype(jnp.int32),
            diff_params_memory=jax.tree.map(put, state.diff_params_memory, s),
            diff_updates_memory=jax.tree.map(put, state.diff_updates_memory, y),
            weights_memory=put(state.weights_memory, 1 / curvature),
            scale=jnp.where(takes, curvature / square, jnp.where(state.pairs > 0, state.scale, first)),
        )


# Jitted, so that calls where nothing is traced compile the loops once.
@functools.partial(jax.jit, inline=True, static_argnames="scaled")
def _direction(g: PyTree, now: LbfgsState, *, scaled: bool) -> PyTree:
    """The inverse Hessian of the pairs times the gradient, by two loops over them."""
    size = len(now.weights_memory)
    newest_last = (now.pairs + jnp.arange(size, dtype=jnp.int32)) % size

    def pair(i: jax.Array) -> tuple[PyTree, PyTree, jax.Array]:
        s, y = jax.tree.map(lambda x: x[i], (now.diff_params_memory, now.diff_updates_memory))
        return s, y, now.weights_memory[i]

    def back(q: PyTree, i: jax.Array) -> tuple[PyTree, jax.Array]:
        s, y, rho = pair(i)
        alpha = rho * tree.inner_product(s, q, rho.dtype)
        return _plus(q, -alpha, y), alpha

    def forth(q: PyTree, at: tuple[jax.Array, jax.Array]) -> tuple[PyTree, None]:
        s, y, rho = pair(at[0])
        return _plus(q, at[1] - rho * tree.inner_product(y, q, rho.dtype), s), None

    q, alphas = jax.lax.scan(back, g, newest_last, reverse=True)
    if scaled:
        q = jax.tree.map(lambda x: numerics.times(x, now.scale), q)
    q, _ = jax.lax.scan(forth, q, (newest_last, alphas))
    return q


def _plus(q: PyTree, factor: jax.Array, direction: PyTree) -> PyTree:
    return jax.tree.map(lambda x, d: x + numerics.times(d, factor), q, direction)


class lbfgs(Composite):
    """L-BFGS: `scale_by_lbfgs`, the sign or a learning rate, and a line search.

    For objectives without noise: a whole data set, a physical model. The line search needs the objective:

        value_and_grad = gradtx.value_and_grad_from_state(loss)

        @jax.jit
        def step(params, state):
            value, grad = value_and_grad(params, state=state)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
            return gradtx.apply_updates(params, updates), state

    Args:
        learning_rate: λ, a number or a schedule; None is 1, and the line search finds the step.
        memory_size: m, how many pairs are kept, at least 1.
        scale_init_precond: begin each product with γ; without it, with 1.
        linesearch: what finds the step; None takes the learning rate as it is.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: the line search needs an extra argument that is missing.
    """

    learning_rate: Rate | None = None
    memory_size: AtLeastOne = static(default=10)
    scale_init_precond: bool = static(default=True)
    linesearch: GradientTransformation | None = scale_by_zoom_linesearch(20, initial_guess_strategy="one")

    def expand(self) -> GradientTransformation:
        rate = scale(-1.0) if self.learning_rate is None else scale_by_learning_rate(self.learning_rate)
        search = chain() if self.linesearch is None else self.linesearch
        return chain(scale_by_lbfgs.of(self), rate, search)
