"""Defazio & Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", 2023, for Adam."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def dadapt_adamw(
    theta, gradient, steps, *, learning_rate=1.0, b1=0.9, b2=0.999, eps=1e-8, d=1e-6, decay=0.0, correct=True
):
    """The algorithm for Adam, with the authors' bias correction and decoupled decay."""
    s, m, v = ([0.0 * p for p in theta] for _ in range(3))
    r, root, path = 0.0, np.sqrt(b2), []
    for t in range(1, steps + 1):
        grads, old = gradient(theta, t), d
        eta = d * learning_rate * (np.sqrt(1 - b2**t) / (1 - b1**t) if correct else 1)
        inner = sum(np.sum(g * a / (np.sqrt(b) + eps)) for g, a, b in zip(grads, s, v, strict=True))
        r = root * r + (1 - root) * eta * inner
        s = [root * a + (1 - root) * eta * g for a, g in zip(s, grads, strict=True)]
        m = [b1 * a + (1 - b1) * eta * g for a, g in zip(m, grads, strict=True)]
        v = [b2 * a + (1 - b2) * g**2 for a, g in zip(v, grads, strict=True)]
        d = max(old, r / ((1 - root) * sum(np.sum(np.abs(a)) for a in s)))
        theta = [p - a / (np.sqrt(b) + eps) - decay * eta * p for p, a, b in zip(theta, m, v, strict=True)]
        path.append(theta)
    return path


GROWS = {
    "relative": "a step follows from a sum over all leaves: tests/optimizers/test_parameter_free.py",
    "optax_dtype": "float64",
}

CASES = [
    Case(
        "dadapt_adamw",
        gradtx.dadapt_adamw(),
        bind(dadapt_adamw),
        optax.contrib.dadapt_adamw(),
        **GROWS,
    ),
    Case(
        "dadapt_adamw-decay",
        gradtx.dadapt_adamw(0.5, (0.8, 0.99), 1e-6, 1e-3, 0.1),
        bind(dadapt_adamw, learning_rate=0.5, b1=0.8, b2=0.99, eps=1e-6, d=1e-3, decay=0.1),
        optax.contrib.dadapt_adamw(0.5, (0.8, 0.99), 1e-6, 1e-3, 0.1),
        **GROWS,
    ),
    Case(
        "dadapt_adamw-uncorrected",
        gradtx.dadapt_adamw(bias_correction=False),
        bind(dadapt_adamw, correct=False),
        curvature=1.0,
        sensitive="it turns around at the minimum, where its steps are as long as before",
        **GROWS,
        not_optax="Optax always corrects the bias",
    ),
]
