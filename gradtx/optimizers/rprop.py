"""Rprop: each parameter has a step size of its own, which grows while the gradient's sign stays.

    Δₜ = min(η⁺ Δₜ₋₁, Δmax)    where gₜ and gₜ₋₁ have the same sign
    Δₜ = max(η⁻ Δₜ₋₁, Δmin)    where they differ; then no step is made, and gₜ counts as 0 in the next
    Δₜ = Δₜ₋₁                  where one of them is 0
    θₜ = θₜ₋₁ - sign(gₜ) Δₜ

That is iRprop⁻: Igel & Hüsken, "Empirical evaluation of the improved Rprop learning algorithms", 2003;
PyTorch's, too. Where the sign changes, the first article takes the last step back instead,
`backtrack=True`: Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning: the
RPROP algorithm", 1993. https://doi.org/10.1109/ICNN.1993.298623

Optax makes each step one update late, with the next gradient deciding whether: its first update is 0.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.pointwise import scale
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Hyperparameter, Positive
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.schedules.schedule import Schedule
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["rprop", "scale_by_rprop"]

Shrink = Annotated[float | jax.Array | Schedule, Hyperparameter(0, 1, open_low=True)]
Growth = Annotated[float | jax.Array | Schedule, Hyperparameter(1)]


class RpropState(NamedTuple):
    sizes: PyTree  # the step sizes; structure and shapes of the parameters, at least float32
    signs: PyTree  # the signs of the last gradient; 0 where the one before had another sign


class scale_by_rprop(GradientTransformation, reach=ENTRY, real_only=True):
    """Rprop's step, in the direction of the gradient.

    It compares signs, where Optax multiplies the gradient by the last step: 0 where both are small.
    Real parameters only.

    Args:
        learning_rate: Δ₀, the first step sizes, above 0; of a schedule, its first value.
        eta_minus: η⁻, in (0, 1].
        eta_plus: η⁺, at least 1.
        min_step_size: Δmin, above 0.
        max_step_size: Δmax, above 0.
        backtrack: take the last step back where the sign changes.
    """

    learning_rate: Positive
    eta_minus: Shrink = 0.5
    eta_plus: Growth = 1.2
    min_step_size: Positive = 1e-6
    max_step_size: Positive = 50.0
    backtrack: bool = static(default=False, kw_only=True)

    def init(self, params: PyTree) -> RpropState:
        return RpropState(tree.full_like(params, self.learning_rate), tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: RpropState, params: PyTree | None = None
    ) -> tuple[PyTree, RpropState]:
        def resized(g: jax.Array, size: jax.Array, last: jax.Array) -> jax.Array:
            low, high = (numerics.like(x, size) for x in (self.min_step_size, self.max_step_size))
            agrees = jnp.sign(numerics.cast(g, size.dtype)) * last
            grown = jnp.clip(numerics.times(size, self.eta_plus), low, high)
            shrunk = jnp.clip(numerics.times(size, self.eta_minus), low, high)
            return jnp.where(agrees > 0, grown, jnp.where(agrees < 0, shrunk, size))

        def kept(g: jax.Array, last: jax.Array) -> jax.Array:
            sign = jnp.sign(numerics.cast(g, last.dtype))
            return jnp.where(sign * last < 0, jnp.zeros_like(sign), sign)

        def step(
            g: jax.Array, new: jax.Array, sign: jax.Array, size: jax.Array, last: jax.Array
        ) -> jax.Array:
            made = sign * new
            if self.backtrack:
                made = jnp.where(jnp.sign(numerics.cast(g, last.dtype)) * last < 0, -last * size, made)
            return numerics.cast(made, g.dtype)

        sizes = tree.map(resized, updates, state.sizes, state.signs)
        signs = tree.map(kept, updates, state.signs)
        return jax.tree.map(step, updates, sizes, signs, *state), RpropState(sizes, signs)


class rprop(Composite, real_only=True):
    """Rprop: `scale_by_rprop`, downhill.

    For gradients of the whole data: with small batches the sign flips by chance, and every flip halves a
    step size. Only signs count, so that no gradient is too small. Real parameters only.

    Args:
        learning_rate: Δ₀, the first step sizes, above 0; of a schedule, its first value. 0.1 in the article.
        eta_minus: η⁻, in (0, 1].
        eta_plus: η⁺, at least 1.
        min_step_size: Δmin, above 0.
        max_step_size: Δmax, above 0.
        backtrack: take the last step back where the sign changes, as in the first article.
    """

    learning_rate: Positive
    eta_minus: Shrink = 0.5
    eta_plus: Growth = 1.2
    min_step_size: Positive = 1e-6
    max_step_size: Positive = 50.0
    backtrack: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_rprop.of(self), scale(-1.0))
