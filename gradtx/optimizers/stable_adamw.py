"""StableAdamW: AdamW whose leaf steps shorter where the gradient has outgrown its second moment.

    rₜ = rms(gₜ / max(sqrt(v̂ₜ), ε))                                  leaf by leaf; v̂ and m̂ as in Adam
    θₜ = θₜ₋₁ - λ / max(1, rₜ / d) · (m̂ₜ / (sqrt(v̂ₜ) + ε) + w θₜ₋₁)

Wortsman et al., "Stable and low-precision training for large-scale vision-language models", 2023,
algorithm 2. It keeps v with a decay of β₂ (1 - β₂ᵗ⁻¹) / (1 - β₂ᵗ), which gives v̂. The authors'
own code leaves the decay's learning rate as it is: `scale_decay=False`. https://arxiv.org/abs/2304.13013
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.atoms.decay import add_decoupled_weight_decay
from gradtx.atoms.moments import momentum, rms
from gradtx.atoms.pointwise import identity, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, divided
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Positive, Rate
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["stable_adamw", "steady_ratio"]


class SteadyRatioState(NamedTuple):
    numerator: PyTree
    denominator: PyTree
    after: PyTree


class steady_ratio(GradientTransformation, reach=LEAF):
    """after(n / (d + ε)) / max(1, rms(g / max(d, ε)) / c), leaf by leaf, of n and d as in `ratio`.

    What the denominator expects of the gradient's size is compared with the gradient: where it is
    behind, the leaf's whole step is shortened. The averages see the gradient as it is.

    Args:
        numerator: a transformation, such as momentum.
        denominator: a transformation whose results are not negative, such as a root mean square.
        eps: ε, at least 0. With ε = 0 an entry whose d is 0 gives 0 / 0.
        threshold: c, above 0.
        after: what the quotient goes through before it is shortened, such as a weight decay.
    """

    numerator: GradientTransformation
    denominator: GradientTransformation
    eps: NonNegative = optional(default=0.0)
    threshold: Positive = 1.0
    after: GradientTransformation = identity()

    def init(self, params: PyTree) -> SteadyRatioState:
        return SteadyRatioState(
            *(part.init(params) for part in (self.numerator, self.denominator, self.after))
        )

    def update(
        self, updates: PyTree, state: SteadyRatioState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, SteadyRatioState]:
        def run(part: GradientTransformation, updates: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
            return part.update(updates, state, params, **extra)

        def shortened(u: jax.Array, g: jax.Array, d: jax.Array) -> jax.Array:
            size = numerics.rms(g / jnp.maximum(d, numerics.like(self.eps, d)))
            return numerics.divide_above_one(u, numerics.over(size, self.threshold))

        top, numerator = run(self.numerator, updates, state.numerator)
        bottom, denominator = run(self.denominator, updates, state.denominator)
        quotient = divided(top, bottom, self.eps)
        whole, after = run(self.after, quotient, state.after)
        steady = jax.tree.map(shortened, whole, updates, bottom)
        return steady, SteadyRatioState(numerator, denominator, after)


class stable_adamw(Composite):
    """StableAdamW: AdamW with the update clipping of Adafactor, in place of a clip of the gradient.

    For training with large batches and in low precision, where the loss jumps after steps at which
    a gradient is much larger than the average of its squares remembers. No leaf waits for another,
    so that it needs no more memory in a compiled step than AdamW. The moments still see the large
    gradient; a clip in front would keep it out of them.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        weight_decay: w; what a step takes off a parameter is λ w θ, shortened with the step.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
        threshold: d, above 0; below 1 it shortens more steps.
        scale_decay: whether the decay is shortened with the step.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.99
    eps: NonNegative = 1e-6
    weight_decay: Number = optional(default=0.01)
    mask: Mask | None = static(default=None)
    mu_dtype: DtypeName | None = static(default=None, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)
    threshold: Positive = optional(default=1.0, kw_only=True)
    scale_decay: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        decay = unless_off(self.weight_decay, add_decoupled_weight_decay, self.mask)
        inside, behind = (decay, chain()) if self.scale_decay else (identity(), decay)
        moments = momentum(self.b1, self.mu_dtype), rms(self.b2, accumulator_dtype=self.nu_dtype)
        direction = steady_ratio(*moments, self.eps, self.threshold, inside)
        return chain(direction, behind, scale_by_learning_rate(self.learning_rate))
