"""You et al., "Large Batch Optimization for Deep Learning", 2020, algorithm 2."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def lamb(theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, decay=0.0):
    """Algorithm 2 with φ(z) = z; a layer is a leaf."""
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            r = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t) + eps_root) + eps) + decay * theta[i]
            trust = np.sqrt(np.sum(theta[i] ** 2) / np.sum(r**2))
            new.append(theta[i] - learning_rate * trust * r)
        theta = new
        path.append(theta)
    return path


RELATIVE = "a step is as large as its leaf: tests/optimizers/test_layerwise.py measures it"

CASES = [
    Case("lamb", gradtx.lamb(1e-2), bind(lamb, learning_rate=1e-2), optax.lamb(1e-2), relative=RELATIVE),
    Case(
        "lamb-decay",
        gradtx.lamb(1e-3, eps=1e-3, eps_root=1e-6, weight_decay=0.1),
        bind(lamb, learning_rate=1e-3, eps=1e-3, eps_root=1e-6, decay=0.1),
        optax.lamb(1e-3, eps=1e-3, eps_root=1e-6, weight_decay=0.1),
        relative=RELATIVE,
    ),
    Case(
        "lamb-b2=0.9999",
        gradtx.lamb(1e-3, b2=0.9999, weight_decay=0.1),
        bind(lamb, learning_rate=1e-3, b2=0.9999, decay=0.1),
        optax.lamb(1e-3, b2=0.9999, weight_decay=0.1),
        optax_rtol=2e-4,
        relative=RELATIVE,
    ),
]
