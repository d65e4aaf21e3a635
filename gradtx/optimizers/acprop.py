"""ACProp: each gradient divided by how far those before it were from their average.

    θₜ = θₜ₋₁ - λ gₜ / (sqrt(ŝₜ₋₁) + ε)                 θ₁ = θ₀ - λ g₁ / (1 + ε)
    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
    sₜ = β₂ sₜ₋₁ + (1 - β₂) (gₜ - mₜ)² + ε_root         ŝₜ = sₜ / (1 - β₂ᵗ)

sₜ₋₁ does not know gₜ: the denominator is independent of what it divides. There is no momentum in the step.

Zhuang et al., "Momentum Centering and Asynchronous Update for Adaptive Gradient Methods", 2021. As in the
authors' code ε_root enters s at every step, which comes to ε_root / (1 - β₂) in ŝ.
https://arxiv.org/abs/2110.05454

Optax's code subtracts mₜ₋₁ where they, and Optax's text, subtract mₜ: its steps are β₁ times as long.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments.corrections import Decays, after, no_decays, weight
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["acprop", "scale_by_acprop"]


class ACPropState(NamedTuple):
    decays: Decays  # of the squares: how many, and their mean logarithm
    mean: PyTree  # of the gradients; structure and shapes of the parameters, at least float32
    squares: PyTree  # of their distances from the mean; the same


class scale_by_acprop(GradientTransformation, reach=ENTRY):
    """ACProp's direction, gₜ / (sqrt(ŝₜ₋₁) + ε), without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1). With 0 it is the gradient, and s is 0.
        b2: β₂, the decay of the average of squared distances, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: added to s at every step, at least 0.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16

    def init(self, params: PyTree) -> ACPropState:
        return ACPropState(no_decays(self.b2), tree.zeros_like(params), tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: ACPropState, params: PyTree | None = None
    ) -> tuple[PyTree, ACPropState]:
        first = state.decays.step == 0
        gathered = jnp.where(first, 1.0, weight(state.decays))
        # Added step by step it would round s once more each time, and always the same way.
        drift = self.eps_root / numerics.complement(self.b2)

        def divided(g: jax.Array, s: jax.Array) -> jax.Array:
            s = numerics.cast(s, g.dtype)
            root = numerics.root(numerics.over(s, gathered) + numerics.like(drift, s))
            return g / (jnp.where(first, jnp.ones_like(root), root) + numerics.like(self.eps, s))

        def spread(s: jax.Array, g: jax.Array, m: jax.Array) -> jax.Array:
            away = numerics.Square(g - numerics.cast(m, g.dtype))
            return numerics.lerp(s, away, numerics.complement(self.b2))

        out = tree.map(divided, updates, state.squares)
        mean = tree.averaged(updates, state.mean, numerics.complement(self.b1))
        squares = tree.map(spread, state.squares, updates, mean)
        kept = (tree.cast_like(x, old) for x, old in ((mean, state.mean), (squares, state.squares)))
        return out, ACPropState(after(state.decays, self.b2), *kept)


class acprop(Composite):
    """ACProp: `scale_by_acprop`, then the weight decay and the learning rate.

    Learning rates are Adam's. The first step is λ times the gradient itself: warm up where that may be long.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of squared distances, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: added to s at every step, at least 0; the authors' experiments use 1e-8 for both.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = 1e-16
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return decoupled.of(self, direction=scale_by_acprop.of(self)).expand()
