"""D-Adaptation: AdamW that estimates from below how far the solution is, and takes that for its rate.

    cₜ = sqrt(1 - β₂ᵗ) / (1 - β₁ᵗ),  ηₜ = dₜ₋₁ λ cₜ,  β = sqrt(β₂)
    rₜ = β rₜ₋₁ + (1 - β) ηₜ Σ gₜ sₜ₋₁ / (sqrt(vₜ₋₁) + ε)                  one number
    sₜ = β sₜ₋₁ + (1 - β) ηₜ gₜ
    mₜ = β₁ mₜ₋₁ + (1 - β₁) ηₜ gₜ
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²
    dₜ = max(dₜ₋₁, rₜ / ((1 - β) ‖sₜ‖₁)),  d₀ = estim_lr0
    θₜ = θₜ₋₁ - mₜ / (sqrt(vₜ) + ε) - ηₜ w θₜ₋₁

Defazio & Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", 2023, the algorithm for Adam, with
the bias correction and the decoupled decay of its authors' code. https://arxiv.org/abs/2301.07733
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments.corrections import Decays, adam_correction, no_decays
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Betas, Decay, NonNegative, Number, Positive, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional, static

__all__ = ["dadapt_adamw", "farther", "scale_by_dadapt"]


def farther(distance: jax.Array, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """max(d, n / D), and d where D is 0: before the first gradient nothing has been learnt."""
    known = denominator > 0
    return jnp.maximum(distance, jnp.where(known, numerator / jnp.where(known, denominator, 1.0), 0.0))


class DadaptState(NamedTuple):
    """The trees have the parameters' structure and shapes, in at least float32."""

    decays: tuple[Decays, Decays] | None  # β₁ and β₂ so far; None without the bias correction
    distance: jax.Array  # d
    numerator: jax.Array  # r
    mean: PyTree  # m
    squares: PyTree  # v
    sums: PyTree  # s


class scale_by_dadapt(GradientTransformation, reach=OTHERS):
    """D-Adaptation's whole step, upwards: m / (sqrt(v) + ε) + η w θ. The arguments are `dadapt_adamw`'s.

    Args:
        rate: λ, which the estimate is multiplied by.
        b1: β₁, the decay of the average of steps, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1).
        eps: ε, above 0.
        estim_lr0: d₀, above 0.
        weight_decay: w.
        bias_correction: cₜ as above; False is cₜ = 1.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    rate: Rate = 1.0
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: Positive = 1e-8
    estim_lr0: Positive = 1e-6
    weight_decay: Number = optional(default=0.0)
    bias_correction: bool = static(default=True)

    def init(self, params: PyTree) -> DadaptState:
        decays = (no_decays(self.b1), no_decays(self.b2)) if self.bias_correction else None
        trees = [tree.zeros_like(params) for _ in range(3)]
        distance = jnp.array(self.estim_lr0, float)  # a copy: what a schedule said is kept by itself
        return DadaptState(decays, distance, jnp.zeros((), float), *trees)

    def update(
        self, updates: PyTree, state: DadaptState, params: PyTree | None = None
    ) -> tuple[PyTree, DadaptState]:
        correction, decays = adam_correction(state.decays, self.b1, self.b2)
        size = state.distance * numerics.times(correction, self.rate)
        # 1 - sqrt(β), without its cancellation.
        share = numerics.complement(self.b2) / (1 + numerics.square_root(self.b2))

        def step(g: jax.Array) -> jax.Array:
            return numerics.times(g, size)

        def divided(x: jax.Array, v: jax.Array) -> jax.Array:
            return x / (numerics.root(v) + numerics.like(self.eps, v))

        mean = tree.map(
            lambda g, m: numerics.lerp(m, step(g), numerics.complement(self.b1)), updates, state.mean
        )
        sums = tree.map(lambda g, s: numerics.lerp(s, step(g), share), updates, state.sums)
        squares = tree.map(
            lambda g, v: numerics.lerp(v, numerics.Square(g), numerics.complement(self.b2)),
            updates,
            state.squares,
        )
        along, length = tree.totals(
            (lambda s, v, g, new: tree.inner(divided(s, v), g), lambda s, v, g, new: jnp.abs(new)),
            *(state.sums, state.squares, updates, sums),
        )
        numerator = numerics.lerp(state.numerator, size * along, share)
        distance = farther(state.distance, numerator, numerics.like(share, numerator) * length)
        out = jax.tree.map(divided, mean, squares)
        if not is_off(self.weight_decay):
            pull = numerics.times(size, self.weight_decay)
            out = jax.tree.map(
                lambda u, p: u + numerics.times(numerics.cast(p, u.dtype), pull),
                out,
                need_params(self, params),
            )
        return out, DadaptState(decays, distance, numerator, mean, squares, sums)


class dadapt_adamw(Composite):
    """AdamW with D-Adaptation: leave the learning rate at 1, or give a schedule that starts or peaks at 1.

    d grows from d₀ until it is about as large as the distance of the solution, in the largest entry;
    it never falls. A d₀ that is too large is the only wrong one: at 1e-6 the first steps do no harm, and a
    hundred steps later it has been forgotten. `prodigy` finds d in fewer steps.

    Optax's estimate is NaN for good after a first gradient of zeros; here it stays what it was.

    Args:
        learning_rate: λ, a number or a schedule: a factor to the estimate.
        betas: (β₁, β₂), the decays of the averages of steps and of squares, each in [0, 1).
        eps: ε, above 0.
        estim_lr0: d₀, above 0, the first estimate: below the right one.
        weight_decay: w; what a step takes off a parameter is η w θ.
        bias_correction: Adam's, as in Optax; in its authors' code it is off unless asked for.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate = 1.0
    betas: Betas = (0.9, 0.999)
    eps: Positive = 1e-8
    estim_lr0: Positive = 1e-6
    weight_decay: NonNegative = optional(default=0.0)
    bias_correction: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        b1, b2 = self.betas
        direction = scale_by_dadapt.of(self, rate=self.learning_rate, b1=b1, b2=b2)
        return chain(direction, scale_by_learning_rate(1.0))
