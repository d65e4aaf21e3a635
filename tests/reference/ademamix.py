"""Pagliardini, Ablin & Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, and Morwani,
Vyas, Zhang & Kakade, "Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
Variants", 2025."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def ademamix(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8,
    eps_root=0.0, decay=0.0, grow=None,
):  # fmt: skip
    """With `grow`, α rises in a straight line from 0 over that many steps."""
    m1, m2, v = ([0.0 * p for p in theta] for _ in range(3))
    path = []
    for t in range(1, steps + 1):
        weight, new = alpha * min((t - 1) / grow, 1) if grow else alpha, []
        for i, g in enumerate(gradient(theta, t)):
            m1[i] = b1 * m1[i] + (1 - b1) * g
            m2[i] = b3 * m2[i] + (1 - b3) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            top = m1[i] / (1 - b1**t) + weight * m2[i]
            step = top / (np.sqrt(v[i] / (1 - b2**t) + eps_root) + eps)
            new.append(theta[i] - learning_rate * (step + decay * theta[i]))
        theta = new
        path.append(theta)
    return path


def simplified(
    theta, gradient, steps, *, learning_rate, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0, decay=0.0
):  # fmt: skip
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            step = (m[i] + alpha * g) / (np.sqrt(v[i] / (1 - b2**t) + eps_root) + eps)
            new.append(theta[i] - learning_rate * (step + decay * theta[i]))
        theta = new
        path.append(theta)
    return path


CASES = [
    Case("ademamix", gradtx.ademamix(1e-2), bind(ademamix, learning_rate=1e-2), optax.contrib.ademamix(1e-2)),
    Case(
        "ademamix-decay",
        gradtx.ademamix(1e-2, 0.8, 0.99, 0.995, 3.0, 1e-4, 1e-6, weight_decay=0.1),
        bind(
            ademamix,
            learning_rate=1e-2,
            b1=0.8,
            b2=0.99,
            b3=0.995,
            alpha=3.0,
            eps=1e-4,
            eps_root=1e-6,
            decay=0.1,
        ),
        optax.contrib.ademamix(1e-2, 0.8, 0.99, 0.995, 3.0, 1e-4, 1e-6, weight_decay=0.1),
    ),
    Case(
        "ademamix-growing",
        gradtx.ademamix(1e-2, alpha=gradtx.linear_schedule(0.0, 8.0, 40)),
        bind(ademamix, learning_rate=1e-2, alpha=8.0, grow=40),
        optax.contrib.ademamix(1e-2, alpha=optax.linear_schedule(0.0, 8.0, 40)),
    ),
    Case(
        "simplified_ademamix",
        gradtx.simplified_ademamix(1e-4),
        bind(simplified, learning_rate=1e-4),
        optax.contrib.simplified_ademamix(1e-4),
    ),
    Case(
        "simplified_ademamix-alpha",
        gradtx.simplified_ademamix(1e-4, 0.9, 0.99, 10.0, 1e-4, 1e-6, weight_decay=0.1),
        bind(simplified, learning_rate=1e-4, b1=0.9, b2=0.99, alpha=10.0, eps=1e-4, eps_root=1e-6, decay=0.1),
        optax.contrib.simplified_ademamix(1e-4, 0.9, 0.99, 10.0, 1e-4, 1e-6, weight_decay=0.1),
    ),
]
