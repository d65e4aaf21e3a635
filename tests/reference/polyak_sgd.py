"""Loizou et al., "Stochastic Polyak Step-size for SGD", 2021.

SPS+: Garrigos et al., "Function Value Learning", 2023.
"""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def polyak(theta, gradient, steps, *, value, longest=1.0, scaling=1.0, bound=0.0, eps=0.0, positive=False):
    """SPS_max with c = 1, and SPS+."""
    path = []
    for t in range(1, steps + 1):
        grads, gap = gradient(theta, t), value(t) - bound
        squares = sum(np.sum(g**2) for g in grads) + eps
        step = min((max(gap, 0) if positive else gap) / squares, longest)
        theta = [p - scaling * step * g for p, g in zip(theta, grads, strict=True)]
        path.append(theta)
    return path


CASES = [
    Case("polyak_sgd", gradtx.polyak_sgd(), bind(polyak), optax.polyak_sgd()),
    Case(
        "polyak_sgd-long",
        gradtx.polyak_sgd(100.0, f_min=0.75, eps=0.1),
        bind(polyak, longest=100.0, bound=0.75, eps=0.1),
        optax.polyak_sgd(100.0, f_min=0.75, eps=0.1),
    ),
    Case(
        "polyak_sgd-positive",
        gradtx.polyak_sgd(0.5, 0.3, 0.75, variant="sps+"),
        bind(polyak, longest=0.5, scaling=0.3, bound=0.75, positive=True),
        not_optax="Optax measures the gradient behind the scaling",
    ),
]
