"""Wortsman et al., "Stable and low-precision training for vision-language models", 2023, algorithm 2."""

from __future__ import annotations

import numpy as np

import gradtx
from tests.reference.case import Case, bind


def stable_adamw(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.99, eps=1e-6, decay=0.01, threshold=1.0,
    scale_decay=True,
):  # fmt: skip
    """Algorithm 2, whose decays gather the bias correction; each leaf is a tensor."""
    v, u, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        now1 = b1 * (1 - b1 ** (t - 1)) / (1 - b1**t)
        now2 = b2 * (1 - b2 ** (t - 1)) / (1 - b2**t)
        new = []
        for i, g in enumerate(gradient(theta, t)):
            v[i] = now1 * v[i] + (1 - now1) * g
            u[i] = now2 * u[i] + (1 - now2) * g**2
            size = np.sqrt(np.mean(g**2 / np.maximum(u[i], eps**2)))
            rate = learning_rate / np.maximum(1, size / threshold)
            shrink = (rate if scale_decay else learning_rate) * decay * theta[i]
            new.append(theta[i] - shrink - rate * v[i] / (np.sqrt(u[i]) + eps))
        theta = new
        path.append(theta)
    return path


NONE = "Optax has no StableAdamW"

CASES = [
    Case("stable_adamw", gradtx.stable_adamw(1e-2), bind(stable_adamw, learning_rate=1e-2), not_optax=NONE),
    Case(
        "stable_adamw-threshold",
        gradtx.stable_adamw(1e-2, b2=0.9999, eps=1e-4, weight_decay=0.1, threshold=0.5),
        bind(stable_adamw, learning_rate=1e-2, b2=0.9999, eps=1e-4, decay=0.1, threshold=0.5),
        not_optax=NONE,
    ),
    Case(
        "stable_adamw-decay-alone",
        gradtx.stable_adamw(1e-2, weight_decay=0.1, scale_decay=False),
        bind(stable_adamw, learning_rate=1e-2, decay=0.1, scale_decay=False),
        not_optax=NONE,
    ),
]
