"""Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022,
algorithm 1, with the bias corrections of its authors' code."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def adan(
    theta, gradient, steps, *, learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0,
    decay=0.0, proximal=True,
):  # fmt: skip
    """The paper's β is 1 - β here."""
    m, v, n, path, last = *([0.0 * p for p in theta] for _ in range(3)), [], None
    for t in range(1, steps + 1):
        gradients, new = gradient(theta, t), []
        for i, g in enumerate(gradients):
            change = 0 * g if last is None else g - last[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * change
            n[i] = b3 * n[i] + (1 - b3) * (g + b2 * change) ** 2
            size = learning_rate / (np.sqrt(n[i] / (1 - b3**t) + eps_root) + eps)
            step = size * (m[i] / (1 - b1**t) + b2 * v[i] / (1 - b2**t))
            if proximal:
                new.append((theta[i] - step) / (1 + learning_rate * decay))
            else:
                new.append(theta[i] - step - learning_rate * decay * theta[i])
        theta, last = new, gradients
        path.append(theta)
    return path


CASES = [
    Case(
        "adan",
        gradtx.adan(1e-2),
        bind(adan, learning_rate=1e-2),
        not_optax="optax.adan multiplies the change by 1 - b2 where the paper has b2",
    ),
    Case(
        "adan-b2=0.5",  # where 1 - b2 is b2
        gradtx.adan(1e-2, b2=0.5, eps_root=1e-8, weight_decay=0.1, proximal=False),
        bind(adan, learning_rate=1e-2, b2=0.5, eps_root=1e-8, decay=0.1, proximal=False),
        optax.adan(1e-2, b2=0.5, weight_decay=0.1),
    ),
    Case(
        "adan-proximal",
        gradtx.adan(1e-2, b1=0.9, b2=0.8, b3=0.999, eps=1e-4, weight_decay=2.0),
        bind(adan, learning_rate=1e-2, b1=0.9, b2=0.8, b3=0.999, eps=1e-4, decay=2.0),
        not_optax="optax.adan multiplies the change by 1 - b2, and its decay is not proximal",
    ),
]
