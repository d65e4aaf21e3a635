"""Mokhtari, Ozdaglar & Pattathil, "A Unified Analysis of Extra-gradient and Optimistic Gradient Methods
for Saddle Point Problems: Proximal Point Approach", 2019, and Daskalakis et al., "Training GANs with
Optimism", 2017."""

from __future__ import annotations

import warnings

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def optimistic(
    theta, gradient, steps, *, learning_rate, alpha=1.0, beta=1.0, adam=False, b1=0.9, b2=0.999, eps=1e-8,
    nesterov=False,
):  # fmt: skip
    """The direction is the gradient, or Adam's; the one before the first is the first itself."""
    m, v, path, last = [0.0 * p for p in theta], [0.0 * p for p in theta], [], None
    for t in range(1, steps + 1):
        direction = []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            mean = m[i] / (1 - b1**t)
            if nesterov:
                mean = b1 * m[i] / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            direction.append(mean / (np.sqrt(v[i] / (1 - b2**t)) + eps) if adam else g)
        steps_taken = [
            (alpha + beta) * r - beta * old
            for r, old in zip(direction, direction if last is None else last, strict=True)
        ]
        theta = [p - learning_rate * u for p, u in zip(theta, steps_taken, strict=True)]
        last = direction
        path.append(theta)
    return path


with warnings.catch_warnings(action="ignore"):  # Optax calls it deprecated
    OPTAXS = optax.optimistic_adam(1e-2, 3e-3, 0.8, 0.99)

CASES = [
    Case(
        "optimistic_gradient_descent",
        gradtx.optimistic_gradient_descent(1e-2),
        bind(optimistic, learning_rate=1e-2),
        optax.optimistic_gradient_descent(1e-2),
    ),
    Case(
        "optimistic_gradient_descent-weights",
        gradtx.optimistic_gradient_descent(1e-2, 0.7, 2.0),
        bind(optimistic, learning_rate=1e-2, alpha=0.7, beta=2.0),
        optax.optimistic_gradient_descent(1e-2, 0.7, 2.0),
    ),
    Case(
        "optimistic_adam",
        gradtx.optimistic_adam(1e-2),
        bind(optimistic, learning_rate=1e-2, adam=True),
        not_optax="optax.optimistic_adam has Nesterov's momentum by default, the paper has not",
    ),
    Case(
        "optimistic_adam-nesterov",
        gradtx.optimistic_adam(1e-2, 3e-3, 0.8, 0.99, nesterov=True),
        bind(optimistic, learning_rate=1.0, alpha=1e-2, beta=3e-3, adam=True, b1=0.8, b2=0.99, nesterov=True),
        OPTAXS,
    ),
    Case(
        "optimistic_adam_v2",
        gradtx.optimistic_adam_v2(1e-2, alpha=2.0, beta=0.5, b1=0.5, b2=0.99),
        bind(optimistic, learning_rate=1e-2, alpha=2.0, beta=0.5, b1=0.5, b2=0.99, adam=True),
        optax.optimistic_adam_v2(1e-2, alpha=2.0, beta=0.5, b1=0.5, b2=0.99, nesterov=False),
    ),
]
