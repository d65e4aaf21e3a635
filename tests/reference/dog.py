"""DoG and DoWG.

Ivgi, Hinder & Carmon, "DoG is SGD's Best Friend", 2023. Khaled, Mishchenko & Jin, "DoWG Unleashed", 2023.
"""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def _squares(leaves):
    return sum(np.sum(x**2) for x in leaves)


def dog(theta, gradient, steps, *, learning_rate=1.0, what="heuristic", number=1e-6, eps=1e-8, decay=0.0):
    """Equation (DoG), and r_ε = α (1 + ‖x₀‖) of the section on the first step."""
    start, total, path = theta, 0.0, []
    farthest = {"heuristic": number * (1 + np.sqrt(_squares(start))), "distance": number}.get(what, 0.0)
    for t in range(1, steps + 1):
        grads = [g + decay * p for g, p in zip(gradient(theta, t), theta, strict=True)]
        farthest = max(farthest, np.sqrt(_squares(p - s for p, s in zip(theta, start, strict=True))))
        total = total + _squares(grads)
        eta = number if t == 1 and what == "learning_rate" else farthest / np.sqrt(total + eps)
        theta = [p - learning_rate * eta * g for p, g in zip(theta, grads, strict=True)]
        path.append(theta)
    return path


def dowg(theta, gradient, steps, *, learning_rate=1.0, first=None, eps=1e-4, decay=0.0):
    """Algorithm 1, with ε as in its authors' code."""
    start, total, path = theta, 0.0, []
    distance = eps if first is None else first
    for t in range(1, steps + 1):
        grads = [g + decay * p for g, p in zip(gradient(theta, t), theta, strict=True)]
        distance = max(distance, _squares(p - s for p, s in zip(theta, start, strict=True)))
        total = total + distance * _squares(grads)
        eta = distance / (np.sqrt(total) + eps)
        theta = [p - learning_rate * eta * g for p, g in zip(theta, grads, strict=True)]
        path.append(theta)
    return path


GROWS = {
    "relative": "a step follows from the way that rounded parameters went: see test_parameter_free.py",
    "optax_dtype": "float64",
    "curvature": 1.0,
}

CASES = [
    Case("dog", gradtx.dog(), bind(dog), optax.contrib.dog(), **GROWS),
    Case(
        "dog-distance-decay",
        gradtx.dog(0.5, ("distance", 0.01), 1e-4, 0.1),
        bind(dog, learning_rate=0.5, what="distance", number=0.01, eps=1e-4, decay=0.1),
        optax.contrib.dog(0.5, ("distance", 0.01), 1e-4, 0.1),
        **GROWS,
    ),
    Case(
        "dog-learning-rate",
        gradtx.dog(init_step=("learning_rate", 1e-3)),
        bind(dog, what="learning_rate", number=1e-3),
        optax.contrib.dog(init_step=("learning_rate", 1e-3)),
        **GROWS,
    ),
    Case("dowg", gradtx.dowg(), bind(dowg), optax.contrib.dowg(), **GROWS),
    Case(
        "dowg-first-decay",
        gradtx.dowg(0.5, 1e-3, 1e-6, 0.1),
        bind(dowg, learning_rate=0.5, first=1e-3, eps=1e-6, decay=0.1),
        optax.contrib.dowg(0.5, 1e-3, 1e-6, 0.1),
        **GROWS,
    ),
]
