"""What a short average gets wrong, and by how much: its weight, and its variance."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gradtx import numerics
from gradtx.contract.hyperparameters import Decay, Number
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import either_way
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["Decays", "adam_correction", "after", "bias_correction", "no_decays", "rectify", "weight"]


class Decays(NamedTuple):
    """The decays of an average so far: how many, and the mean of their logarithms.

    Their product is exp(n · mean). Of a decay that stays the mean stays too, without a rounding: a sum
    of logarithms, or a product, would drift over thousands of steps.
    """

    step: jax.Array  # int32: how many updates have been averaged
    log: jax.Array  # the mean of log β: float64 where x64 is enabled, else float32


def no_decays(decay: Any) -> Decays:
    """Before the first update.

    The mean of nothing counts for nothing: it begins at the decay that comes, so that the average is right
    too where another step is put into the state before the first update.
    """
    dtype = jnp.result_type(float)
    return Decays(numerics.counter(), jnp.asarray(numerics.log_decay(decay, dtype), dtype))


def after(decays: Decays, decay: Any) -> Decays:
    """One update later."""
    step = numerics.safe_increment(decays.step)
    dtype = decays.log.dtype
    beyond = numerics.minus(decays.log, numerics.log_decay(decay, dtype))
    return Decays(step, numerics.minus(decays.log, numerics.over(beyond, step)))


def weight(decays: Decays, ahead: Any = None) -> jax.Array:
    """What the weights of the average add up to: 1 - β₁β₂...βₜ, which is 1 - βᵗ where β stays.

    Args:
        decays: those so far.
        ahead: the sum of the logarithms of more, if there are more.
    """
    # expm1, because 1 - 0.999ᵗ in float32 has lost two or three of its seven digits at t = 1.
    logs = numerics.times(decays.log, decays.step)
    if ahead is not None:
        logs = numerics.plus(logs, ahead)
    return _gathered(logs)


@either_way
def _gathered(logs: jax.Array) -> jax.Array:
    return lax.neg(lax.expm1(logs))


def adam_correction(decays: tuple[Decays, Decays] | None, b1: Any, b2: Any) -> tuple[jax.Array, Any]:
    """sqrt(1 - β₂ᵗ) / (1 - β₁ᵗ), by which Adam's two bias corrections scale a step, and the decays after it.

    Args:
        decays: of the average of gradients and of that of squares; None is without corrections, 1.
        b1: β₁ of this step.
        b2: β₂ of this step.
    """
    if decays is None:
        return jnp.ones((), float), None
    first, second = after(decays[0], b1), after(decays[1], b2)
    return numerics.over(numerics.root(weight(second)), weight(first)), (first, second)


class BiasCorrectionState(NamedTuple):
    decays: Decays  # of the average


class bias_correction(GradientTransformation, reach=ENTRY):
    """Divide an average that started at zero by the weight it has gathered: m̂ₜ = mₜ / (1 - Πβ).

    The product is over the decays so far, so that a decay may change while training runs; of one that
    stays, it is βᵗ.

    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, section 3.
    https://arxiv.org/abs/1412.6980

    Args:
        decay: β of the average in front of it, in [0, 1).
        ahead: how many steps ahead to read the weight: 1 in NAdam, otherwise 0. The decay is taken
            to stay as it is for those.
        root: divide by the weight's root, for an average whose root has been taken.
    """

    decay: Decay
    ahead: int = static(default=0)
    root: bool = static(default=False)

    def init(self, params: PyTree) -> BiasCorrectionState:
        return BiasCorrectionState(no_decays(self.decay))

    def update(
        self, updates: PyTree, state: BiasCorrectionState, params: PyTree | None = None
    ) -> tuple[PyTree, BiasCorrectionState]:
        decays = after(state.decays, self.decay)
        ahead = self.ahead * numerics.log_decay(self.decay, decays.log.dtype) if self.ahead else None
        gathered = weight(decays, ahead)
        gathered = numerics.root(gathered) if self.root else gathered
        corrected = jax.tree.map(lambda m: numerics.over(m, gathered), updates)
        return corrected, BiasCorrectionState(decays)


class RectifyState(NamedTuple):
    step: jax.Array  # int32: how many updates the average in front of it has seen


class rectify(GradientTransformation, reach=ENTRY):
    """Divide a root mean square by rₜ, or replace it by 1 while the average is too short to trust.

        rₜ² = (ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ)   where ρₜ ≥ threshold and ρₜ > 4

    ρₜ is the length of the average, `numerics.average_length`; rₜ rises to 1.

    Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, algorithm 2.
    https://arxiv.org/abs/1908.03265

    Args:
        decay: β of the average in front of it, in [0, 1). Up to 0.6, ρₜ never exceeds 4. Where it
            changes, ρₜ is that of the current β held from the start.
        threshold: the least ρₜ to trust. The paper's is any above 4.
    """

    decay: Decay
    threshold: Number = 5.0

    def init(self, params: PyTree) -> RectifyState:
        return RectifyState(numerics.counter())

    def update(
        self, updates: PyTree, state: RectifyState, params: PyTree | None = None
    ) -> tuple[PyTree, RectifyState]:
        step = numerics.safe_increment(state.step)
        length, limit = numerics.average_length(self.decay, step)
        trusted = (length >= numerics.like(self.threshold, length)) & (length > 4)
        # The unused branch of a `where` must be finite too, or its gradient is NaN.
        length, limit = (jnp.where(trusted, x, 6.0).astype(length.dtype) for x in (length, limit))
        share = (length - 4) / (limit - 4) * ((length - 2) / (limit - 2)) * (limit / length)
        factor = jnp.sqrt(share)
        rectified = jax.tree.map(
            lambda d: jnp.where(trusted, numerics.over(d, factor), jnp.ones_like(d)), updates
        )
        return rectified, RectifyState(step)
