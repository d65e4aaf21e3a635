"""Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep
Networks", 2019."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def novograd(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, decay=0.0
):  # fmt: skip
    """A layer is a leaf."""
    m, v, path = [0.0 * p for p in theta], [None for _ in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            square = np.sum(g**2)
            v[i] = square if t == 1 else b2 * v[i] + (1 - b2) * square
            m[i] = b1 * m[i] + g / (np.sqrt(v[i] + eps_root) + eps) + decay * theta[i]
            new.append(theta[i] - learning_rate * m[i])
        theta = new
        path.append(theta)
    return path


CASES = [
    Case("novograd", gradtx.novograd(1e-2), bind(novograd, learning_rate=1e-2), optax.novograd(1e-2)),
    Case(
        "novograd-paper",
        gradtx.novograd(1e-2, 0.95, 0.98, 1e-4, 1e-6, weight_decay=1e-4),
        bind(novograd, learning_rate=1e-2, b1=0.95, b2=0.98, eps=1e-4, eps_root=1e-6, decay=1e-4),
        optax.novograd(1e-2, 0.95, 0.98, 1e-4, 1e-6, weight_decay=1e-4),
    ),
]
