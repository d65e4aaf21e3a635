"""Averaged SGD: steps that shrink slowly, and the mean of where they led.

    ηₜ = λ / (1 + l λ (t - 1))^α
    θₜ = θₜ₋₁ - ηₜ (gₜ + w θₜ₋₁ + l θₜ₋₁)
    aₜ = aₜ₋₁ + (θₜ - aₜ₋₁) / max(1, t - 1 - t₀)

The mean converges as fast as Newton's method would, where the steps do not fall as fast as 1 / t.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
https://doi.org/10.1137/0330046
Bottou, "Stochastic Gradient Descent Tricks", 2012, section 5.3, has this form of ηₜ, where l is the weight of
a penalty. https://doi.org/10.1007/978-3-642-35289-8_25
PyTorch's ASGD is this, with its defaults.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_l2_penalty
from gradtx.atoms.pointwise import unless_off
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Number, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import optional
from gradtx.wrappers.averaging import mean_params

__all__ = ["asgd", "scale_by_asgd"]


class AsgdState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made


class scale_by_asgd(GradientTransformation, reach=ENTRY):
    """ASGD's step, -ηₜ (g + l θ), which has the learning rate and the sign in it, without the mean.

    Args:
        learning_rate: λ, a number or a schedule; with l above 0 it is positive.
        lambd: l, at least 0: a penalty's weight, and how fast the steps shrink.
        alpha: α, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    lambd: NonNegative = 1e-4
    alpha: NonNegative = 0.75

    def init(self, params: PyTree) -> AsgdState:
        return AsgdState(numerics.counter())

    def update(
        self, updates: PyTree, state: AsgdState, params: PyTree | None = None
    ) -> tuple[PyTree, AsgdState]:
        params = need_params(self, params)
        rate: Any = self.learning_rate  # no schedule by now
        # log1p, because 1 + 1e-6 t has lost most of its digits at first.
        shrunk = jnp.log1p(state.step.astype(float) * (rate * self.lambd))
        alpha: Any = self.alpha
        step_size = -rate * jnp.exp(-alpha * shrunk)

        def moved(g: jax.Array, p: jax.Array) -> jax.Array:
            return numerics.times(numerics.plus_times(g, numerics.cast(p, g.dtype), self.lambd), step_size)

        out = tree.map(moved, updates, params, what="parameters'")
        return out, AsgdState(numerics.safe_increment(state.step))


class asgd(Composite):
    """Averaged SGD: the L2 penalty, then `scale_by_asgd`, with `mean_params` around both.

    For noisy gradients near a minimum: train on, and evaluate at `averaged_params(state, params)`. By
    default, as in PyTorch, the mean begins after a million updates, and until then the steps are those of
    SGD with a little decay: choose `t0` where the noise has come to outweigh the progress.

    Args:
        learning_rate: λ, a number or a schedule; positive. PyTorch's default is 1e-2.
        lambd: l, at least 0: a penalty's weight, and how fast the steps shrink.
        alpha: α, at least 0; 1/2 to 1, or 0 for steps that stay.
        t0: t₀, at least 0: how many updates come before the mean.
        weight_decay: w, an L2 penalty beside l, which the size of the steps does not read.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    lambd: NonNegative = 1e-4
    alpha: NonNegative = 0.75
    t0: NonNegative = 1e6
    weight_decay: Number = optional(default=0.0)

    def expand(self) -> GradientTransformation:
        penalty = unless_off(self.weight_decay, add_l2_penalty)
        return mean_params(chain(penalty, scale_by_asgd.of(self)), self.t0)
