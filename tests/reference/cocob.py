"""Orabona & Tommasi, "Training Deep Networks without Learning Rates Through Coin Betting", 2017."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def cocob(theta, gradient, steps, *, learning_rate=1.0, alpha=100.0, eps=1e-8, decay=0.0):
    """Algorithm 2, COCOB-Backprop, with L₀ = ε; its g is the negative gradient."""
    start, path = theta, []
    largest = [eps + 0.0 * p for p in theta]
    absolute, reward, summed = ([0.0 * p for p in theta] for _ in range(3))
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            g = -learning_rate * (g + decay * theta[i])
            largest[i] = np.maximum(largest[i], np.abs(g))
            absolute[i] = absolute[i] + np.abs(g)
            reward[i] = np.maximum(reward[i] + (theta[i] - start[i]) * g, 0)
            summed[i] = summed[i] + g
            beta = summed[i] / (largest[i] * np.maximum(absolute[i] + largest[i], alpha * largest[i]))
            new.append(start[i] + beta * (largest[i] + reward[i]))
        theta = new
        path.append(theta)
    return path


GROWS = {
    "relative": "a step is the difference of two places: test_parameter_free.py measures it by their size",
    "optax_dtype": "float64",
    "curvature": 1.0,
}

CASES = [
    Case("cocob", gradtx.cocob(), bind(cocob), optax.contrib.cocob(), **GROWS),
    Case(
        "cocob-decay",
        gradtx.cocob(0.5, 10.0, 1e-4, 0.1),
        bind(cocob, learning_rate=0.5, alpha=10.0, eps=1e-4, decay=0.1),
        optax.contrib.cocob(0.5, 10.0, 1e-4, 0.1),
        **GROWS,
    ),
]
