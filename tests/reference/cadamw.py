"""Liang, Chen, Liu & Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024,
algorithm 2."""

from __future__ import annotations

import numpy as np

import gradtx
from tests.reference.case import Case, bind


def cadamw(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, decay=0.0, slack=1.0
):  # fmt: skip
    """A tensor, whose agreeing entries are counted, is a leaf."""
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            u = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t) + eps_root) + eps)
            phi = np.where(u * g > 0, 1.0, 0.0)
            rate = learning_rate * phi.size / (np.sum(phi) + slack)
            new.append(theta[i] - rate * u * phi - learning_rate * decay * theta[i])
        theta = new
        path.append(theta)
    return path


NO_PEER = "Optax has no cautious optimizers"

CASES = [
    Case(
        "cadamw",
        gradtx.cadamw(1e-2, weight_decay=0.0),
        bind(cadamw, learning_rate=1e-2),
        not_optax=NO_PEER,
    ),
    Case(
        "cadamw-decay",
        gradtx.cadamw(1e-2, 0.95, 0.99, 1e-4, 1e-6, weight_decay=0.1, slack=3.0),
        bind(cadamw, learning_rate=1e-2, b1=0.95, b2=0.99, eps=1e-4, eps_root=1e-6, decay=0.1, slack=3.0),
        not_optax=NO_PEER,
    ),
]
