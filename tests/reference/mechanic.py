"""Cutkosky, Defazio & Mehta, "Mechanic: A Learning Rate Tuner", 2023, around momentum."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def mechanic(
    theta, gradient, steps, *, rate=0.1, momentum=0.9, decay=1e-2, eps=1e-8, first=1e-6, count=6, stored=False
):
    """Algorithm 1, with its authors' clip of h; Δ is kept, or as in their code computed anew of θ."""
    start, path = theta, []
    betas = 1 - type(first)("0.1") ** np.arange(1, count + 1)
    r, m, v = (0 * betas for _ in range(3))
    s = first + 0 * betas
    velocity, way = [0.0 * p for p in theta], [0.0 * p for p in theta]
    for t in range(1, steps + 1):
        grads = gradient(theta, t)
        velocity = [momentum * u + g for u, g in zip(velocity, grads, strict=True)]
        if not stored:
            way = [(p - x) / (np.sum(s) + eps) for p, x in zip(theta, start, strict=True)]
        size, length = (np.sqrt(sum(np.sum(x**2) for x in of)) for of in (grads, theta))
        pull = decay * np.sum(s) * size / (length + eps)
        h = -sum(np.sum((g + pull * p) * x) for g, p, x in zip(grads, theta, way, strict=True))
        r = betas * r + np.clip(h, -m, m) * s
        m = np.maximum(betas * m, np.abs(h) + eps)
        v = betas**2 * v + h**2
        s = (first / count * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        way = [x - rate * u for x, u in zip(way, velocity, strict=True)]
        theta = [x + np.sum(s) * u for x, u in zip(start, way, strict=True)]
        path.append(theta)
    return path


GROWS = {
    "relative": "a step is the difference of two places: test_parameter_free.py measures it by their size",
    "optax_dtype": "float64",
    "curvature": 1.0,
}
STARTS = "the way is (θ - θ₀) / S, where S is tiny at first: a last digit of θ becomes 1e-12 as S grows"
SGD, PEER = gradtx.sgd(0.1, 0.9), optax.sgd(0.1, 0.9)

CASES = [
    Case(
        "mechanize",
        gradtx.mechanize(SGD),
        bind(mechanic),
        optax.contrib.mechanize(PEER),
        sensitive=STARTS,
        **GROWS,
    ),
    Case(
        "mechanize-numbers",
        gradtx.mechanize(SGD, 0.5, 1e-6, 1e-3, 3),
        bind(mechanic, decay=0.5, eps=1e-6, first=1e-3, count=3),
        optax.contrib.mechanize(PEER, 0.5, 1e-6, 1e-3, 3),
        sensitive=STARTS,
        **GROWS,
    ),
    Case(
        "mechanize-stored",
        gradtx.mechanize(SGD, store_delta=True),
        bind(mechanic, stored=True),
        **GROWS,
        not_optax="Optax computes the way so far from the parameters",
    ),
]
