"""Prodigy: D-Adaptation whose later gradients count for more, so that it finds the distance sooner.

    cₜ = sqrt(1 - β₂ᵗ) / (1 - β₁ᵗ),  ηₜ = dₜ₋₁ λ cₜ
    rₜ = β₃ rₜ₋₁ + dₜ₋₁ ηₜ / d₀ · Σ gₜ (θ₀ - θₜ₋₁)                        one number
    sₜ = β₃ sₜ₋₁ + dₜ₋₁ ηₜ / d₀ · gₜ
    mₜ = β₁ mₜ₋₁ + (1 - β₁) dₜ₋₁ gₜ
    vₜ = β₂ vₜ₋₁ + (1 - β₂) dₜ₋₁² gₜ²
    dₜ = max(dₜ₋₁, κ rₜ / ‖sₜ‖₁),  d₀ = estim_lr0
    θₜ = θₜ₋₁ - ηₜ (mₜ / (sqrt(vₜ) + dₜ₋₁ ε) + w θₜ₋₁)

Mishchenko & Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023, algorithm 4, with
the d₀ that keeps r and s from being tiny, the κ, the bias correction and the decoupled decay of its
authors' code. https://arxiv.org/abs/2306.06101

The authors' code and Optax multiply ε by the new estimate dₜ, which is known only after a first pass over all
gradients; by dₜ₋₁, as here and in the algorithm, the whole step is one pass. It differs where a gradient is
not much larger than ε.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments.corrections import Decays, adam_correction, no_decays
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Betas, Decay, NonNegative, Number, Positive, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.optimizers.dadapt_adamw import farther
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional, static

__all__ = ["prodigy", "scale_by_prodigy"]


class ProdigyState(NamedTuple):
    """The trees have the parameters' structure and shapes, in at least float32."""

    decays: tuple[Decays, Decays] | None  # β₁ and β₂ so far; None without the bias correction
    distance: jax.Array  # d
    numerator: jax.Array  # r
    mean: PyTree  # m
    squares: PyTree  # v
    sums: PyTree  # s
    start: PyTree  # θ₀


class scale_by_prodigy(GradientTransformation, reach=OTHERS, real_only=True):
    """Prodigy's whole step, upwards: η (m / (sqrt(v) + d ε) + w θ). The arguments are `prodigy`'s.

    Args:
        rate: λ, which the estimate is multiplied by.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1).
        beta3: β₃, the decay of the sums, in [0, 1); None is sqrt(β₂).
        eps: ε, above 0.
        estim_lr0: d₀, above 0.
        estim_lr_coef: κ, above 0.
        weight_decay: w.
        safeguard_warmup: d in the place of η in s.
        bias_correction: cₜ as above; False is cₜ = 1.

    Raises:
        ValueError: update is called without the parameters.
    """

    rate: Rate = 1.0
    b1: Decay = 0.9
    b2: Decay = 0.999
    beta3: Decay | None = None
    eps: Positive = 1e-8
    estim_lr0: Positive = 1e-6
    estim_lr_coef: Positive = 1.0
    weight_decay: Number = optional(default=0.0)
    safeguard_warmup: bool = static(default=False)
    bias_correction: bool = static(default=True)

    def init(self, params: PyTree) -> ProdigyState:
        decays = (no_decays(self.b1), no_decays(self.b2)) if self.bias_correction else None
        mean, squares, sums = (tree.zeros_like(params) for _ in range(3))
        distance = jnp.array(self.estim_lr0, float)  # a copy: what a schedule said is kept by itself
        start = tree.copied(params)
        return ProdigyState(decays, distance, jnp.zeros((), float), mean, squares, sums, start)

    def update(
        self, updates: PyTree, state: ProdigyState, params: PyTree | None = None
    ) -> tuple[PyTree, ProdigyState]:
        params, d = need_params(self, params), state.distance
        correction, decays = adam_correction(state.decays, self.b1, self.b2)
        size = numerics.times(d, self.rate) * correction
        forget = self._forget()
        weight = numerics.over(d, self.estim_lr0)
        grown = weight * (d if self.safeguard_warmup else size)

        def average(old: jax.Array, new: jax.Array | numerics.Square, decay: Any) -> jax.Array:
            return numerics.lerp(old, new, numerics.complement(decay))

        def faded(total: jax.Array) -> jax.Array:
            return total - numerics.times(total, forget)

        def back(start: jax.Array, p: jax.Array) -> jax.Array:
            return start - numerics.cast(p, start.dtype)

        def direction(m: jax.Array, v: jax.Array, p: jax.Array) -> jax.Array:
            u = m / (numerics.root(v) + numerics.like(numerics.times(d, self.eps), v))
            if not is_off(self.weight_decay):
                u = u + numerics.times(numerics.cast(p, u.dtype), self.weight_decay)
            return numerics.times(u, size)

        scaled = tree.map(lambda g, m: numerics.cast(numerics.times(g, d), m.dtype), updates, state.mean)
        mean = tree.map(lambda g, m: average(m, g, self.b1), scaled, state.mean)
        squares = tree.map(lambda g, v: average(v, numerics.Square(g), self.b2), scaled, state.squares)
        sums = tree.map(
            lambda g, s: faded(s) + numerics.cast(numerics.times(g, grown), s.dtype), updates, state.sums
        )
        along, length = tree.totals(
            (lambda start, p, g, s: tree.inner(back(start, p), g), lambda start, p, g, s: jnp.abs(s)),
            *(state.start, params, updates, sums),
        )
        numerator = faded(state.numerator) + weight * size * along
        estimate = numerics.times(numerator, self.estim_lr_coef)
        distance = farther(d, estimate, length)
        moves = jax.tree.map(direction, mean, squares, params)
        return moves, ProdigyState(decays, distance, numerator, mean, squares, sums, state.start)

    def _forget(self) -> Any:
        """1 - β₃; of sqrt(β₂) without its cancellation."""
        if self.beta3 is None:
            return numerics.complement(self.b2) / (1 + numerics.square_root(self.b2))
        return numerics.complement(self.beta3)


class prodigy(Composite, real_only=True):
    """Prodigy: Adam without a learning rate to tune. Leave it at 1, or give a schedule that starts at 1.

    Its authors advise a cosine decay to 0 without restarts, and tuning κ where you would otherwise tune
    the learning rate. With a warm-up use `safeguard_warmup`: else d may be overestimated while λ is small.
    d never falls. In their code the bias correction is off unless asked for, and `growth_rate`, `d_coef`
    and `d0` are infinity, κ and d₀. It keeps four numbers for each parameter, where Adam keeps two.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from. Optax's
    estimate is NaN for good after a first gradient of zeros; here it stays what it was. Real parameters only.

    Args:
        learning_rate: λ, a number or a schedule: a factor to the estimate.
        betas: (β₁, β₂), the decays of the averages of gradients and of squares, each in [0, 1).
        beta3: β₃, the decay of the sums that the estimate is made of, in [0, 1); None is sqrt(β₂).
        eps: ε, above 0.
        estim_lr0: d₀, above 0, the first estimate: below the right one, which it hardly matters how far.
        estim_lr_coef: κ, above 0: 0.5 and 2 are fair tries.
        weight_decay: w; what a step takes off a parameter is η w θ.
        safeguard_warmup: leave λ out of the estimate's denominator.
        bias_correction: Adam's, as in Optax.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate = 1.0
    betas: Betas = (0.9, 0.999)
    beta3: Decay | None = None
    eps: Positive = 1e-8
    estim_lr0: Positive = 1e-6
    estim_lr_coef: Positive = 1.0
    weight_decay: NonNegative = optional(default=0.0)
    safeguard_warmup: bool = static(default=False)
    bias_correction: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        b1, b2 = self.betas
        direction = scale_by_prodigy.of(self, rate=self.learning_rate, b1=b1, b2=b2)
        return chain(direction, scale_by_learning_rate(1.0))
