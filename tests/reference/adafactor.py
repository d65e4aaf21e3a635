"""Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
algorithms 4 and 5."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def adafactor(
    theta, gradient, steps, *, learning_rate=1.0, power=0.8, offset=0, least=128, relative=True,
    threshold=1.0, momentum=None, decay=0.0, eps=1e-30,
):  # fmt: skip
    rows, columns, full = ([0.0] * len(theta) for _ in range(3))
    m, path = [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        b, new = 1 - np.longdouble(max(t - offset, 1)) ** -power, []
        for i, g in enumerate(gradient(theta, t)):
            if g.ndim == 2 and min(g.shape) >= least:
                rows[i] = b * rows[i] + (1 - b) * np.sum(g**2 + eps, axis=1)
                columns[i] = b * columns[i] + (1 - b) * np.sum(g**2 + eps, axis=0)
                v = np.outer(rows[i], columns[i]) / np.sum(rows[i])
            else:
                v = full[i] = b * full[i] + (1 - b) * (g**2 + eps)
            u = g / np.sqrt(v)
            if threshold is not None:
                u = u / max(1, np.sqrt(np.mean(u**2)) / threshold)
            size = max(1e-3, np.sqrt(np.mean(theta[i] ** 2))) if relative else 1
            m[i] = learning_rate * size * u if momentum is None else (
                momentum * m[i] + (1 - momentum) * learning_rate * size * u
            )  # fmt: skip
            new.append(theta[i] - m[i] - decay * theta[i])
        theta = new
        path.append(theta)
    return path


CASES = [
    Case(
        "adafactor",
        gradtx.adafactor(1e-2),
        bind(adafactor, learning_rate=1e-2),
        optax.adafactor(1e-2),
    ),
    Case(
        "adafactor-factored",
        gradtx.adafactor(1e-2, 8, multiply_by_parameter_scale=False),
        bind(adafactor, learning_rate=1e-2, least=8, relative=False),
        optax.adafactor(1e-2, 8, multiply_by_parameter_scale=False),
    ),
    Case(
        "adafactor-all",
        gradtx.adafactor(
            1e-2, 8, 0.7, -3, True, 2.0, 0.9, dtype_momentum=None, weight_decay_rate=1e-4, eps=1e-8
        ),
        bind(
            adafactor,
            learning_rate=1e-2,
            least=8,
            power=0.7,
            offset=-3,
            threshold=2.0,
            momentum=0.9,
            decay=1e-4,
            eps=1e-8,
        ),
        optax.adafactor(1e-2, 8, 0.7, -3, True, 2.0, 0.9, weight_decay_rate=1e-4, eps=1e-8),
    ),
    Case(
        "adafactor-bare",
        gradtx.adafactor(None, multiply_by_parameter_scale=False, clipping_threshold=None, factored=False),
        bind(adafactor, threshold=None, relative=False),
        optax.adafactor(None, multiply_by_parameter_scale=False, clipping_threshold=None, factored=False),
    ),
]
