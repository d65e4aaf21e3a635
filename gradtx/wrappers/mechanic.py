"""Mechanic: finds the factor by which the steps of another optimizer, all together, should be multiplied.

    uₜ: the step of the optimizer;  Δₜ = Δₜ₋₁ + uₜ;  Sₜ = Σᵢ sₜ,ᵢ, over n decays βᵢ = 1 - 10⁻ⁱ
    hₜ = -⟨gₜ + w Sₜ₋₁ ‖gₜ‖ θₜ₋₁ / ‖θₜ₋₁‖, Δₜ₋₁⟩           how well the way so far points
    rₜ = β rₜ₋₁ + clip(hₜ, mₜ₋₁) sₜ₋₁                       clipped to [-mₜ₋₁, mₜ₋₁]
    mₜ = max(β mₜ₋₁, |hₜ| + ε),  vₜ = β² vₜ₋₁ + hₜ²
    sₜ = (s₀ / n · mₜ + max(rₜ, 0)) / (sqrt(vₜ) + ε)
    θₜ = θ₀ + Sₜ Δₜ

Cutkosky, Defazio & Mehta, "Mechanic: A Learning Rate Tuner", 2023, algorithm 1, with the clipping of h, the
ε and the first factor n s₀ of its authors' code for JAX, which is Optax's. https://arxiv.org/abs/2306.00144
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import NonNegative, Positive
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import is_off, optional, static

__all__ = ["mechanize"]


class MechanicState(NamedTuple):
    """One number for each decay, and what trees there are, of the parameters' structure and shapes."""

    reward: jax.Array  # r
    largest: jax.Array  # m
    squares: jax.Array  # v
    scales: jax.Array  # s
    start: PyTree  # θ₀, in at least float32
    way: PyTree  # Δ where it is stored, in at least float32; else nothing
    inner: PyTree


class mechanize(GradientTransformation, reach=OTHERS):
    """The steps of `base_optimizer`, times a factor that is learnt.

    Give that a learning rate of 1, or a schedule that peaks at 1; not one whose steps are as long as the
    parameters, such as LAMB. It is not a substitute for a schedule.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from. (Optax
    takes those of the first update.)

    Args:
        base_optimizer: the optimizer; it sees the gradients as they are.
        weight_decay: w, at least 0, in the gradient by which the factor is learnt; no decay of the optimizer.
        eps: ε, above 0.
        s_init: s₀, above 0: what each of the factors is at first.
        num_betas: n, how many decays, at least 1.
        store_delta: keep Δ, for the memory of one more copy of the parameters. Else it is (θ - θ₀) / (S + ε):
            while S is 1e-6, float32 parameters round that by a few percent, and bf16 lose it.

    Raises:
        ValueError: update is called without the parameters.
    """

    base_optimizer: GradientTransformation
    weight_decay: NonNegative = optional(default=1e-2)
    eps: Positive = 1e-8
    s_init: Positive = 1e-6
    num_betas: AtLeastOne = static(default=6)
    store_delta: bool = static(default=False, kw_only=True)

    def init(self, params: PyTree) -> MechanicState:
        reward, largest, squares = (jnp.zeros(self.num_betas, float) for _ in range(3))
        scales = jnp.full(self.num_betas, jnp.asarray(self.s_init, float))
        way = tree.zeros_like(params) if self.store_delta else ()
        inner = self.base_optimizer.init(params)
        return MechanicState(reward, largest, squares, scales, tree.copied(params), way, inner)

    def update(
        self, updates: PyTree, state: MechanicState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, MechanicState]:
        params, base = need_params(self, params), self.base_optimizer
        steps, inner = base.update(updates, state.inner, params, **extra)
        before = jnp.sum(state.scales) + (0.0 if self.store_delta else numerics.like(self.eps, state.scales))
        moved = tree.map(lambda u, s, p: numerics.cast(p, s.dtype) - s, updates, state.start, params)
        way = state.way if self.store_delta else moved
        gain = -self._slope(updates, way, params, jnp.sum(state.scales))
        numbers = self._learn(state, gain if self.store_delta else gain / before)
        now = jnp.sum(numbers["scales"])

        if self.store_delta:
            way = tree.map(lambda d, u: d + numerics.cast(u, d.dtype), state.way, steps)
            out = jax.tree.map(lambda d, x: numerics.times(d, now) - x, way, moved)
        else:
            # θ₀ + S (Δ + u) - θ, where Δ is (θ - θ₀) / S₋
            more = now / before - 1
            out = jax.tree.map(
                lambda x, u: numerics.times(x, more) + numerics.times(numerics.cast(u, x.dtype), now),
                moved,
                steps,
            )
        return out, state._replace(**numbers, way=way if self.store_delta else (), inner=inner)

    def _slope(self, updates: PyTree, way: PyTree, params: PyTree, scale: jax.Array) -> jax.Array:
        """⟨g + w S ‖g‖ θ / (‖θ‖ + ε), way⟩."""
        slope = tree.dot(way, updates)
        if is_off(self.weight_decay):
            return slope
        of_updates, of_params = (
            jnp.sqrt(tree.total(numerics.abs_sq, x)) for x in (updates, tree.widen(params))
        )
        pull = numerics.like(self.weight_decay, slope) * scale * of_updates
        return slope + pull / (of_params + numerics.like(self.eps, slope)) * tree.dot(way, params)

    def _learn(self, state: MechanicState, gain: jax.Array) -> dict[str, jax.Array]:
        """r, m, v and s, of h."""
        rest = jnp.asarray(
            0.1 ** np.arange(1, self.num_betas + 1), float
        )  # 1 - β, which 1 - float32(β) is not
        eps, first = (jnp.asarray(x, float) for x in (self.eps, self.s_init))
        clipped = jnp.clip(gain, -state.largest, state.largest)
        reward = state.reward - rest * state.reward + clipped * state.scales
        largest = jnp.maximum(state.largest - rest * state.largest, jnp.abs(gain) + eps)
        squares = state.squares - rest * (2 - rest) * state.squares + gain**2
        wealth = first / self.num_betas * largest + jnp.maximum(reward, 0.0)
        scales = wealth / (jnp.sqrt(squares) + eps)
        return {"reward": reward, "largest": largest, "squares": squares, "scales": scales}
