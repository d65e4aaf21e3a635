"""Defazio & Jelassi, "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method
for Stochastic Optimization", 2021, algorithm 1."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def madgrad(theta, gradient, steps, *, learning_rate, momentum=0.9, decay=0.0, eps=1e-6):
    start, s, v, path = theta, [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        rate, new = (learning_rate + eps) * np.sqrt(np.longdouble(t)), []
        for i, g in enumerate(gradient(theta, t)):
            g = g + decay * theta[i]
            s[i], v[i] = s[i] + rate * g, v[i] + rate * g**2
            z = start[i] - s[i] / (np.cbrt(v[i]) + eps)
            new.append(momentum * theta[i] + (1 - momentum) * z)
        theta = new
        path.append(theta)
    return path


RELATIVE = "the step is a difference of parameters: see test_matrices.py"
CASES = [
    Case(
        "madgrad",
        gradtx.madgrad(1e-2),
        bind(madgrad, learning_rate=1e-2),
        optax.contrib.madgrad(1e-2),
        optax_rtol=1e-3,  # Optax subtracts parameters of size 1 that are a thousandth apart
        relative=RELATIVE,
    ),
    Case(
        "madgrad-all",
        gradtx.madgrad(0.01, 0.5, 0.01, 1e-3),
        bind(madgrad, learning_rate=0.01, momentum=0.5, decay=0.01, eps=1e-3),
        optax.contrib.madgrad(0.01, 0.5, 0.01, 1e-3),
        optax_rtol=1e-3,  # the same
        relative=RELATIVE,
    ),
]
