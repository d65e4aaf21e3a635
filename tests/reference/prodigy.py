"""Mishchenko & Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def prodigy(
    theta, gradient, steps, *, learning_rate=1.0, b1=0.9, b2=0.999, b3=None, eps=1e-8, first=1e-6,
    coefficient=1.0, decay=0.0, safeguard=False, correct=True,
):  # fmt: skip
    """Algorithm 4, with what its authors' code adds: d / d₀, the coefficient, the bias correction."""
    start, d, r, path = theta, first, 0.0, []
    s, m, v = ([0.0 * p for p in theta] for _ in range(3))
    b3 = np.sqrt(b2) if b3 is None else b3
    for t in range(1, steps + 1):
        grads, old = gradient(theta, t), d
        eta = d * learning_rate * (np.sqrt(1 - b2**t) / (1 - b1**t) if correct else 1)
        inner = sum(np.sum(g * (x - p)) for g, x, p in zip(grads, start, theta, strict=True))
        r = b3 * r + d / first * eta * inner
        s = [b3 * a + d / first * (d if safeguard else eta) * g for a, g in zip(s, grads, strict=True)]
        m = [b1 * a + (1 - b1) * d * g for a, g in zip(m, grads, strict=True)]
        v = [b2 * a + (1 - b2) * d**2 * g**2 for a, g in zip(v, grads, strict=True)]
        d = max(old, coefficient * r / sum(np.sum(np.abs(a)) for a in s))
        theta = [
            p - eta * (a / (np.sqrt(b) + old * eps) + decay * p) for p, a, b in zip(theta, m, v, strict=True)
        ]
        path.append(theta)
    return path


GROWS = {
    "relative": "a step follows from a sum over all leaves: tests/optimizers/test_parameter_free.py",
    "optax_dtype": "float64",
}
GAINS = "r is made of θ₀ - θ, which is tiny at first: a last digit of θ becomes 1e-11 as d grows"
AHEAD = "Optax multiplies ε by the next estimate"

CASES = [
    Case(
        "prodigy",
        gradtx.prodigy(),
        bind(prodigy),
        sensitive=GAINS,
        **GROWS,
        not_optax=AHEAD,
    ),
    Case(
        "prodigy-small-eps",
        gradtx.prodigy(eps=1e-16),
        bind(prodigy, eps=1e-16),
        optax.contrib.prodigy(eps=1e-16),
        **GROWS,
    ),
    Case(
        "prodigy-options",
        gradtx.prodigy(0.5, (0.8, 0.99), 0.9, 1e-16, 1e-3, 2.0, 0.1, True),
        bind(
            prodigy,
            learning_rate=0.5,
            b1=0.8,
            b2=0.99,
            b3=0.9,
            eps=1e-16,
            first=1e-3,
            coefficient=2.0,
            decay=0.1,
            safeguard=True,
        ),
        optax.contrib.prodigy(0.5, (0.8, 0.99), 0.9, 1e-16, 1e-3, 2.0, 0.1, True),
        **GROWS,
    ),
    Case(
        "prodigy-uncorrected",
        gradtx.prodigy(bias_correction=False),
        bind(prodigy, correct=False),
        curvature=1.0,
        sensitive="it turns around at the minimum, where its steps are as long as before",
        **GROWS,
        not_optax="Optax always corrects the bias",
    ),
]
