"""Zhuang et al., "Momentum Centering and Asynchronous Update for Adaptive Gradient Methods", 2021, with the
bias correction and the first step of the authors' code."""

from __future__ import annotations

import numpy as np

import gradtx
from tests.reference.case import Case, bind


def acprop(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, decay=0.0
):  # fmt: skip
    m, s, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            root = 1.0 if t == 1 else np.sqrt(s[i] / (1 - b2 ** (t - 1)))
            new.append(theta[i] - learning_rate * (g / (root + eps) + decay * theta[i]))
            m[i] = b1 * m[i] + (1 - b1) * g
            s[i] = b2 * s[i] + (1 - b2) * (g - m[i]) ** 2 + eps_root
        theta = new
        path.append(theta)
    return path


WHY = "optax.contrib.acprop subtracts the average before the gradient: test_matrices.py has the ratio"
CASES = [
    Case("acprop", gradtx.acprop(1e-2), bind(acprop, learning_rate=1e-2), not_optax=WHY),
    Case(
        "acprop-all",
        gradtx.acprop(1e-2, 0.8, 0.99, 1e-4, 1e-6, 0.1),
        bind(acprop, learning_rate=1e-2, b1=0.8, b2=0.99, eps=1e-4, eps_root=1e-6, decay=0.1),
        not_optax=WHY,
    ),
]
