"""Zhao et al., "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection", 2024, algorithm 2."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def _leading(g, rank, left):
    u, _, vt = np.linalg.svd(g.astype(float), full_matrices=False)
    p = (u if left else vt.T)[:, :rank]
    return p * np.sign(p[np.abs(p).argmax(axis=0), range(p.shape[1])])


def galore(
    theta, gradient, steps, *, learning_rate, rank=128, gap=200, scale=1.0, decay=0.0, reverse=False, b1=0.9,
    b2=0.999, eps=1e-8,
):  # fmt: skip
    """Of a singular vector, the largest entry is positive."""
    bases, m, v, path = [None for _ in theta], [0.0 for _ in theta], [0.0 for _ in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            left = g.ndim == 2 and (g.shape[0] <= g.shape[1]) != reverse
            if g.ndim == 2 and (t - 1) % gap == 0:
                bases[i] = _leading(g, rank, left)
            p = bases[i]
            r = g if g.ndim != 2 else p.T @ g if left else g @ p
            m[i] = b1 * m[i] + (1 - b1) * r
            v[i] = b2 * v[i] + (1 - b2) * r**2
            n = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
            n = n if g.ndim != 2 else scale * (p @ n if left else n @ p.T)
            new.append(theta[i] - learning_rate * (n + decay * theta[i]))
        theta = new
        path.append(theta)
    return path


RELATIVE = "rounding of a singular vector is of the vector, not of an entry"
CASES = [
    Case(
        "galore",
        gradtx.galore(1e-2, 5, 7, 0.25),
        bind(galore, learning_rate=1e-2, rank=5, gap=7, scale=0.25),
        not_optax="optax.contrib.galore has the basis on the larger side",
        relative=RELATIVE,
        leaf_rtol=2e-5,
    ),
    Case(
        "galore-reverse",
        gradtx.galore(1e-2, 5, 100, 0.25, weight_decay=0.1, proj_type="reverse_std"),
        bind(galore, learning_rate=1e-2, rank=5, gap=100, scale=0.25, decay=0.1, reverse=True),
        optax.contrib.galore(1e-2, 5, 100, 0.25, weight_decay=0.1),
        optax_rtol=2e-4,  # rounding of singular vectors, divided by the gaps between singular values
        relative=RELATIVE,
        leaf_rtol=2e-5,
    ),
]
