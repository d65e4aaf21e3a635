"""Schaipp et al., "MoMo: Momentum Models for Adaptive Learning Rates", 2023, algorithms 1 to 3."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def momo(
    theta, gradient, steps, *, value, learning_rate=1.0, b1=0.9, b2=None, eps=1e-8, bound=0.0, decay=0.0,
    adapt=False, debiased=False,
):  # fmt: skip
    """MoMo; with b2 MoMo-Adam, whose averages begin at zero. `bound` is f*, found anew where `adapt`."""
    m, v = [0.0 * p for p in theta], [0.0 * p for p in theta]
    loss, along, least, path = 0.0, 0.0, bound, []
    debiased = debiased or b2 is not None
    for t in range(1, steps + 1):
        grads, beta = gradient(theta, t), b1 if debiased or t > 1 else 0.0
        rho = 1 - b1**t if debiased else 1.0
        loss = beta * loss + (1 - beta) * value(t)
        along = beta * along + (1 - beta) * sum(np.sum(g * p) for g, p in zip(grads, theta, strict=True))
        m = [beta * a + (1 - beta) * g for a, g in zip(m, grads, strict=True)]
        root = [1.0 for _ in m]
        if b2 is not None:
            v = [b2 * a + (1 - b2) * g**2 for a, g in zip(v, grads, strict=True)]
            root = [np.sqrt(a / (1 - b2**t)) + eps for a in v]
        inner = sum(np.sum(a * p) for a, p in zip(m, theta, strict=True))
        squares = sum(np.sum(a * a / b) for a, b in zip(m, root, strict=True))
        stretch = 1 + learning_rate * decay
        here = stretch * (loss - along) + inner
        if adapt and here < stretch * rho * bound:
            bound = max(here / (2 * stretch * rho), least)
        tau = min(learning_rate / rho, max(here - stretch * rho * bound, 0) / squares)
        if adapt:
            bound = max((loss + inner - along - tau * squares / 2) / rho, least)
        theta = [(p - tau * a / b) / stretch for p, a, b in zip(theta, m, root, strict=True)]
        path.append(theta)
    return path


GROWS = {
    "relative": "a step follows from losses and sums: tests/optimizers/test_parameter_free.py",
    "optax_dtype": "float64",
}
DECAY = "Optax does not divide the step by 1 + λ w"

CASES = [
    Case("momo", gradtx.momo(), bind(momo), optax.contrib.momo(), **GROWS),
    Case(
        "momo-short",
        gradtx.momo(0.05, 0.5, -0.5),
        bind(momo, learning_rate=0.05, b1=0.5, bound=-0.5),
        optax.contrib.momo(0.05, 0.5, -0.5),
        **GROWS,
    ),
    Case(
        "momo-adaptive-bound",
        gradtx.momo(adapt_lower_bound=True),
        bind(momo, adapt=True),
        optax.contrib.momo(adapt_lower_bound=True),
        **GROWS,
    ),
    Case(
        "momo-options",
        gradtx.momo(0.3, 0.8, 0.1, 0.2, True, bias_correction=True),
        bind(momo, learning_rate=0.3, b1=0.8, bound=0.1, decay=0.2, adapt=True, debiased=True),
        **GROWS,
        not_optax=DECAY,
    ),
    Case(
        "momo_adam",
        gradtx.momo_adam(),
        bind(momo, learning_rate=0.01, b2=0.999),
        optax.contrib.momo_adam(),
        **GROWS,
    ),
    Case(
        "momo_adam-adaptive-bound",
        gradtx.momo_adam(1.0, 0.8, 0.99, 1e-4, 0.1, adapt_lower_bound=True),
        bind(momo, learning_rate=1.0, b1=0.8, b2=0.99, eps=1e-4, bound=0.1, adapt=True),
        optax.contrib.momo_adam(1.0, 0.8, 0.99, 1e-4, 0.1, adapt_lower_bound=True),
        **GROWS,
    ),
    Case(
        "momo_adam-options",
        gradtx.momo_adam(0.1, 0.8, 0.99, 1e-4, 0.1, 0.2, True),
        bind(momo, learning_rate=0.1, b1=0.8, b2=0.99, eps=1e-4, bound=0.1, decay=0.2, adapt=True),
        **GROWS,
        not_optax=DECAY,
    ),
]
