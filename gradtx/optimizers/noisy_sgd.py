"""Noisy gradient descent: noise that dies away is added to each gradient.

    θₜ = θₜ₋₁ - λ (gₜ + N(0, η / tᵞ))

Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015, equation 1.
https://arxiv.org/abs/1511.06807
"""

from __future__ import annotations

from typing import Any

from gradtx.atoms.noise import add_noise
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.keys import Key
from gradtx.values.value import static

__all__ = ["noisy_sgd"]


class noisy_sgd(Composite):
    """Gradient descent with noise, for very deep networks that plain descent does not start to train.

    Args:
        learning_rate: λ, a number or a schedule.
        eta: η, the noise's variance at the first step, at least 0; the paper tries 0.01, 0.3 and 1.
        gamma: γ, how fast it dies away, at least 0.
        key: a whole number or a key of jax.random. The same key gives the same noise.
    """

    learning_rate: Rate
    eta: NonNegative = 0.01
    gamma: NonNegative = 0.55
    key: Key = static(default=0)

    def expand(self) -> GradientTransformation:
        key: Any = self.key
        return chain(add_noise(self.eta, self.gamma, key), scale_by_learning_rate(self.learning_rate))
