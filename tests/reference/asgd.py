"""Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992: PyTorch's ASGD."""

from __future__ import annotations

import gradtx
from tests.reference.case import Case, bind


def asgd(theta, gradient, steps, *, learning_rate, lambd=1e-4, alpha=0.75, decay=0.0, t0=1e6, average=None):
    """The parameters after each step; the means are appended to `average`."""
    eta, mu, mean, path = learning_rate, 1, [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        theta = [
            p * (1 - lambd * eta) - eta * (g + decay * p)
            for p, g in zip(theta, gradient(theta, t), strict=True)
        ]
        mean = [p if mu == 1 else a + mu * (p - a) for p, a in zip(theta, mean, strict=True)]
        eta = learning_rate / (1 + lambd * learning_rate * t) ** alpha
        mu = 1 / max(1, t - t0)
        path.append(theta)
        if average is not None:
            average.append(mean)
    return path


NONE = "Optax has no ASGD"
CASES = [
    Case("asgd", gradtx.asgd(1e-2), bind(asgd, learning_rate=1e-2), not_optax=NONE),
    Case(
        "asgd-all",
        gradtx.asgd(1e-2, 0.1, 0.5, 100.0, 0.01),
        bind(asgd, learning_rate=1e-2, lambd=0.1, alpha=0.5, t0=100.0, decay=0.01),
        not_optax=NONE,
    ),
]
