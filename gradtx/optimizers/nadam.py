"""NAdam: Adam with Nesterov's momentum, which looks one step ahead.

    m̂ₜ = β₁ mₜ / (1 - β₁ᵗ⁺¹) + (1 - β₁) gₜ / (1 - β₁ᵗ)
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)

Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2 with a constant decay and
Adam's v̂, as in Optax; with `momentum_decay=4e-3` the schedule of its section 2, as in PyTorch:

    m̂ₜ = μₜ₊₁ mₜ / (1 - μ₁ ... μₜ₊₁) + (1 - μₜ) gₜ / (1 - μ₁ ... μₜ),   μₜ = β₁ (1 - 0.96^(t ψ) / 2)

https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments import rms
from gradtx.atoms.moments.corrections import Decays, after, no_decays, weight
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import adam
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["nadam", "warming_direction", "warming_momentum"]


class WarmingMomentumState(NamedTuple):
    mean: PyTree  # m; structure and shapes of the parameters, at least float32
    decays: Decays  # μ₁, ..., μₜ


class warming_momentum(GradientTransformation, reach=ENTRY):
    """Nesterov's momentum that warms up: μₜ₊₁ mₜ / (1 - μ₁ ... μₜ₊₁) + (1 - μₜ) gₜ / (1 - μ₁ ... μₜ).

    m averages with β; μₜ = β (1 - 0.96^(t ψ) / 2) rises from a half of it.

    Args:
        decay: β, in [0, 1).
        momentum_decay: ψ, at least 0: how fast μ rises; 4e-3 takes it to 0.99 β in 24,000 steps.
        accumulator_dtype: of the state; None is the parameters', at least float32.
    """

    decay: Decay
    momentum_decay: NonNegative = 4e-3
    accumulator_dtype: DtypeName | None = static(default=None)

    def _warmed(self, step: jax.Array) -> Any:
        decay: Any = self.decay  # no schedule by now
        rise: Any = self.momentum_decay
        return decay * (1 - jnp.exp(step.astype(float) * rise * math.log(0.96)) / 2)

    def init(self, params: PyTree) -> WarmingMomentumState:
        first = self._warmed(jnp.ones((), jnp.int32))
        return WarmingMomentumState(tree.zeros_like(params, self.accumulator_dtype), no_decays(first))

    def update(
        self, updates: PyTree, state: WarmingMomentumState, params: PyTree | None = None
    ) -> tuple[PyTree, WarmingMomentumState]:
        step = numerics.safe_increment(state.decays.step)
        now, then = self._warmed(step), self._warmed(numerics.safe_increment(step))
        decays = after(state.decays, now)
        mean = tree.averaged(updates, state.mean, numerics.complement(self.decay))
        of_mean = then / weight(decays, numerics.log_decay(then, decays.log.dtype))
        of_gradient = numerics.complement(now) / weight(decays)

        def look(g: jax.Array, m: jax.Array) -> jax.Array:
            return numerics.plus_times(numerics.times(numerics.cast(m, g.dtype), of_mean), g, of_gradient)

        kept = tree.cast_like(mean, state.mean)
        return jax.tree.map(look, updates, mean), WarmingMomentumState(kept, decays)


def warming_direction(self: Any) -> GradientTransformation:
    """The direction of `nadam` and `nadamw` with their `momentum_decay`, without the learning rate."""
    if not self.nesterov:
        owner = type(self).__name__
        raise ValueError(f"{owner}(momentum_decay=..., nesterov=False): only Nesterov's momentum warms up.")
    look = warming_momentum(self.b1, self.momentum_decay, self.mu_dtype)
    return ratio(look, rms(self.b2, self.eps_root, self.nu_dtype), self.eps)


class nadam(Composite):
    """NAdam: `adam` with `nesterov=True`.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead; False is Adam.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
        momentum_decay: ψ, at least 0, of a momentum that warms up: 4e-3 as in PyTorch. None, the default, is
            Optax's constant β₁.

    Raises:
        ValueError: `momentum_decay` without `nesterov`.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=True, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)
    momentum_decay: NonNegative | None = dataclasses.field(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        if self.momentum_decay is None:
            return adam.of(self).expand()
        direction = warming_direction(self)
        return chain(direction, scale_by_learning_rate(self.learning_rate))
