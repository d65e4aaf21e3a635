"""Bernstein et al., "On the distance between two neural networks and the stability of learning", 2020,
algorithm 1."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def fromage(theta, gradient, steps, *, learning_rate, least=1e-6):
    """A layer is a leaf."""
    path = []
    for t in range(1, steps + 1):
        new = []
        for p, g in zip(theta, gradient(theta, t), strict=True):
            sizes = [max(np.sqrt(np.sum(x**2)), least) for x in (p, g)]
            new.append((p - learning_rate * sizes[0] / sizes[1] * g) / np.sqrt(1 + learning_rate**2))
        theta = new
        path.append(theta)
    return path


CASES = [
    Case(
        "fromage",
        gradtx.fromage(1e-2),
        bind(fromage, learning_rate=1e-2),
        optax.fromage(1e-2),
    ),
    Case(
        "fromage-large",
        gradtx.fromage(0.05, 0.1),
        bind(fromage, learning_rate=0.05, least=0.1),
        optax.fromage(0.05, 0.1),
        relative="the step is relative to parameters that drift in float32: see test_layerwise.py",
    ),
]
