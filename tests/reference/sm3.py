"""Anil et al., "Memory-Efficient Adaptive Optimization", 2019, SM3-II."""

from __future__ import annotations

import functools

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def sm3(theta, gradient, steps, *, learning_rate, momentum=0.9, b2=1.0, eps=1e-8):
    """The cover of a matrix is its rows and columns; of a vector, each entry."""
    covers, m, path = [None for _ in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            axes = [tuple(a for a in range(g.ndim) if a != axis) for axis in range(max(g.ndim, 1))]
            mu = covers[i] or [np.zeros_like(g.max(axis=a, keepdims=True)) for a in axes]
            nu = b2 * functools.reduce(np.minimum, mu) + (1 if b2 == 1 else 1 - b2) * g**2
            covers[i] = [nu.max(axis=a, keepdims=True) for a in axes]
            step = np.where(nu > 0, g / np.sqrt(nu + eps), 0)
            m[i] = momentum * m[i] + (1 - momentum) * step
            new.append(theta[i] - learning_rate * m[i])
        theta = new
        path.append(theta)
    return path


LEAVES = ("matrix", "vector")  # Optax fails on scalars, and on leaves without entries
CASES = [
    Case("sm3", gradtx.sm3(0.1), bind(sm3, learning_rate=0.1), optax.sm3(0.1), optax_leaves=LEAVES),
    Case(
        "sm3-bare",
        gradtx.sm3(0.1, None),
        bind(sm3, learning_rate=0.1, momentum=0.0),
        optax.sm3(0.1, 0.0),
        optax_leaves=LEAVES,
    ),
    Case(
        "sm3-all",
        gradtx.chain(gradtx.scale_by_sm3(0.5, 0.99, 1e-4), gradtx.scale_by_learning_rate(0.1)),
        bind(sm3, learning_rate=0.1, momentum=0.5, b2=0.99, eps=1e-4),
        optax.chain(optax.scale_by_sm3(0.5, 0.99, 1e-4), optax.scale(-0.1)),
        optax_leaves=LEAVES,
    ),
]
