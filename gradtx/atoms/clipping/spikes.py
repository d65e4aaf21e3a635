"""ZClip: shorten a gradient whose norm is an outlier among those before it.

    zₜ = (‖gₜ‖ - μₜ₋₁) / (σₜ₋₁ + ε)
    nₜ = μₜ₋₁ + ζ² σₜ₋₁ / zₜ   where zₜ > ζ, else ‖gₜ‖           the further out, the shorter
    uₜ = gₜ nₜ / ‖gₜ‖
    μₜ = α μₜ₋₁ + (1 - α) nₜ,   σₜ² = α σₜ₋₁² + (1 - α) (nₜ - μₜ)²

The statistics see the shortened norm, so that one outlier does not make the next one usual. Over the
first N steps nothing is shortened, and μ and σ are the plain mean and deviation of their norms. (ε is
that of the authors' code.)

Kumar, Owen, Roy Chowdhury & Güra, "ZClip: Adaptive Spike Mitigation for LLM Pre-Training", 2025.
https://arxiv.org/abs/2504.02507
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay, Positive
from gradtx.contract.reach import LEAF, OTHERS
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["leafwise_zclip", "zclip"]

Norms = AtLeastOne


class ZClipState(NamedTuple):
    step: jax.Array  # int32: how many norms the statistics are of
    mean: jax.Array
    variance: jax.Array


class zclip(GradientTransformation, reach=OTHERS):
    """ZClip by the norm of all leaves together, as in the paper: it waits for the last gradient.

    It follows the size of the gradients, so that nobody has to know it; what grows slowly is not
    stopped. Wrong where the norms have a trend that is steep against their noise, or jump for a
    reason (a new data set): chain `clip_by_global_norm` behind it for a fixed bound, as the authors
    do, also over the first steps. An update that is not an outlier passes
    bit by bit, and so does a NaN. Where the norm is infinite, the finite entries become zero. Neither enters
    the statistics. Squares are summed in plain units: in float32, norms count from 10⁻¹⁹ to 10¹⁹.

    Args:
        z_threshold: ζ, above 0: how many deviations above the mean a norm is an outlier.
        decay: α, in [0, 1).
        eps: ε, above 0, in the units of the updates.
        warmup_steps: N, at least 1.
    """

    z_threshold: Positive = 2.5
    decay: Decay = 0.97
    eps: Positive = 1e-6
    warmup_steps: Norms = static(default=25)

    def init(self, params: PyTree) -> ZClipState:
        dtype = functools.reduce(
            numerics.wider, map(numerics.norm_dtype, jax.tree.leaves(params)), jnp.dtype(jnp.float32)
        )
        return ZClipState(numerics.counter(), jnp.zeros((), dtype), jnp.zeros((), dtype))

    def update(
        self, updates: PyTree, state: ZClipState, params: PyTree | None = None
    ) -> tuple[PyTree, ZClipState]:
        leaves = jax.tree.leaves(updates)
        if not leaves:
            return updates, state
        norm = tree.length([jnp.sum(numerics.abs_sq(u)) for u in leaves])
        factor, *after = _shortened(self, numerics.cast(norm, state.mean.dtype), *state)
        return jax.tree.map(lambda u: numerics.times(u, factor), updates), ZClipState(*after)


class LeafwiseZClipState(NamedTuple):
    step: PyTree  # int32, 0-d for each leaf: how many norms the statistics are of
    mean: PyTree  # 0-d for each leaf
    variance: PyTree  # 0-d for each leaf


class leafwise_zclip(GradientTransformation, reach=LEAF):
    """ZClip of each leaf among its own norms: no gradient waits for the others.

    Unlike `zclip`, this shortens only the leaf that has the spike, so that the common direction
    turns; and a rise that all leaves share is an outlier only where it is one for the
    leaf, whose norms are noisier than the norm of all. Wrong where leaves have no gradient at most
    steps, such as embeddings of rare tokens or experts: to their statistics, each use is a spike.

    (A `zclip` that used the statistics of the step before for its factor would shorten the step
    after the spike.) An update that is not an outlier passes bit by bit, and so does a
    NaN. Where the norm is infinite, the finite entries become zero. Neither enters the leaf's statistics. In
    float32, norms count from 10⁻¹⁹ to 10¹⁹.

    Args:
        z_threshold: ζ, above 0: how many deviations above the mean a norm is an outlier.
        decay: α, in [0, 1).
        eps: ε, above 0, in the units of the updates.
        warmup_steps: N, at least 1.
    """

    z_threshold: Positive = 2.5
    decay: Decay = 0.97
    eps: Positive = 1e-6
    warmup_steps: Norms = static(default=25)

    def init(self, params: PyTree) -> LeafwiseZClipState:
        def zeros(dtype: Any = None) -> PyTree:
            return jax.tree.map(lambda p: jnp.zeros((), dtype or numerics.norm_dtype(p)), params)

        return LeafwiseZClipState(zeros(jnp.int32), zeros(), zeros())

    def update(
        self, updates: PyTree, state: LeafwiseZClipState, params: PyTree | None = None
    ) -> tuple[PyTree, LeafwiseZClipState]:
        def one(u: jax.Array, *seen: jax.Array) -> Any:
            norm = numerics.cast(numerics.norm(u), seen[1].dtype)
            factor, *after = _shortened(self, norm, *seen)
            return numerics.times(u, factor), *after

        new = jax.tree.map(one, updates, *state)
        bounded, *after = (jax.tree.map(lambda _, x, k=k: x[k], updates, new) for k in range(4))
        return bounded, LeafwiseZClipState(*after)


def _shortened(
    self: zclip | leafwise_zclip, norm: jax.Array, step: jax.Array, mean: jax.Array, variance: jax.Array
) -> tuple[jax.Array, ...]:
    """Return the scale factor and the updated statistics, which include the clipped norm."""
    threshold = numerics.like(self.z_threshold, norm)
    deviation = _root(variance)
    z = (norm - mean) / (deviation + numerics.like(self.eps, norm))
    spike = (step >= self.warmup_steps) & (z > threshold)
    # The branch that a `where` leaves out must be finite too, or its gradient is NaN.
    target = mean + threshold**2 * deviation / jnp.maximum(z, threshold)
    one = jnp.ones_like(norm)
    factor = jnp.where(spike, target / jnp.where(spike, norm, one), one)
    seen = _with(self, jnp.where(spike, target, norm), step, mean, variance)
    return factor, *(
        jnp.where(jnp.isfinite(norm), new, old) for new, old in zip(seen, (step, mean, variance), strict=True)
    )


def _with(
    self: zclip | leafwise_zclip, norm: jax.Array, step: jax.Array, mean: jax.Array, variance: jax.Array
) -> tuple[jax.Array, ...]:
    """The statistics with one more norm."""
    step = numerics.safe_increment(step)
    first = step <= self.warmup_steps
    weight = numerics.like(jnp.asarray(numerics.complement(self.decay)), norm)
    weight = jnp.where(first, 1 / step.astype(norm.dtype), weight)
    new = numerics.lerp(mean, norm, weight)
    # Over the first steps this is Welford's form of the plain variance.
    distance = (norm - new) * jnp.where(first, norm - mean, norm - new)
    return step, new, numerics.lerp(variance, distance, weight)


def _root(x: jax.Array) -> jax.Array:
    """sqrt, whose derivative at 0 is 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, jnp.ones_like(x))), jnp.zeros_like(x))
