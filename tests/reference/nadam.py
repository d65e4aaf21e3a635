"""Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2 with a constant decay."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def nadam(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, decay=0.0,
    independent=False,
):  # fmt: skip
    """Algorithm 2; `decay` is line 12 of algorithm 2 in Loshchilov & Hutter, 2019."""
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            mean = b1 * m[i] / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            step = learning_rate * mean / (np.sqrt(v[i] / (1 - b2**t) + eps_root) + eps)
            new.append(theta[i] - step - (1 if independent else learning_rate) * decay * theta[i])
        theta = new
        path.append(theta)
    return path


def warming(theta, gradient, steps, *, learning_rate, momentum_decay, b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    """PyTorch's NAdam, with the schedule μ of Dozat's section 2; `decay` is decoupled."""
    m, v, path, product = [0.0 * p for p in theta], [0.0 * p for p in theta], [], 1.0
    for t in range(1, steps + 1):
        mu, following = (b1 * (1 - 0.5 * np.longdouble(0.96) ** (n * momentum_decay)) for n in (t, t + 1))
        product, new = product * mu, []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            mean = following * m[i] / (1 - product * following) + (1 - mu) * g / (1 - product)
            step = learning_rate * mean / (np.sqrt(v[i] / (1 - b2**t)) + eps)
            new.append(theta[i] - step - learning_rate * decay * theta[i])
        theta = new
        path.append(theta)
    return path


OTHERS = "Optax's decay is constant"
CASES = [
    Case(
        "nadam-momentum_decay",
        gradtx.nadam(1e-2, momentum_decay=4e-3),
        bind(warming, learning_rate=1e-2, momentum_decay=4e-3),
        not_optax=OTHERS,
    ),
    Case(
        "nadam-momentum_decay=0.1",
        gradtx.nadam(1e-2, b1=0.99, momentum_decay=0.1),
        bind(warming, learning_rate=1e-2, b1=0.99, momentum_decay=0.1),
        not_optax=OTHERS,
    ),
    Case(
        "nadam-momentum_decay=0",
        gradtx.nadam(1e-2, momentum_decay=0.0),
        bind(warming, learning_rate=1e-2, momentum_decay=0.0),
        not_optax=OTHERS,
    ),
    Case(
        "nadamw-momentum_decay",
        gradtx.nadamw(1e-2, weight_decay=0.1, momentum_decay=4e-3),
        bind(warming, learning_rate=1e-2, momentum_decay=4e-3, decay=0.1),
        not_optax=OTHERS,
    ),
    Case("nadam", gradtx.nadam(1e-2), bind(nadam, learning_rate=1e-2), optax.nadam(1e-2)),
    Case(
        "nadam-eps_root",
        gradtx.nadam(1e-2, eps=0.0, eps_root=1e-8),
        bind(nadam, learning_rate=1e-2, eps=0.0, eps_root=1e-8),
        optax.nadam(1e-2, eps=0.0, eps_root=1e-8),
    ),
    Case(
        "nadam-b2=0.9999",
        gradtx.nadam(1e-2, b2=0.9999),
        bind(nadam, learning_rate=1e-2, b2=0.9999),
        optax.nadam(1e-2, b2=0.9999),
        optax_rtol=2e-4,
    ),
]
