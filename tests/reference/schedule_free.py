"""Defazio et al., "The Road Less Scheduled", 2024, algorithm 1, with its authors' weights and
bias correction."""

from __future__ import annotations

import numpy as np

import gradtx
from tests.reference.case import Case, bind


def schedule_free(theta, gradient, steps, **settings):
    """The points y at which gradients are taken, after each step."""
    return [y for y, _ in both(theta, gradient, steps, **settings)]


def both(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=None, eps=1e-8, decay=0.0, power=2.0, warmup=1
):  # fmt: skip
    """Pairs of y and the average x. With b2 it is AdamW, without SGD."""
    x, y, z, v, path = theta, theta, theta, [0.0 * p for p in theta], []
    largest, total = 0.0, 0.0
    for t in range(1, steps + 1):
        rate = learning_rate * min(1.0, t / np.longdouble(warmup))
        largest = max(largest, rate)
        weight = largest**power
        total = total + weight
        c, new = weight / total, []
        for i, g in enumerate(gradient(y, t)):
            if b2 is not None:
                v[i] = b2 * v[i] + (1 - b2) * g**2
                g = g / (np.sqrt(v[i] / (1 - b2**t)) + eps)
            new.append(z[i] - rate * g - rate * decay * y[i])
        z = new
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
        y = [(1 - b1) * b + b1 * a for a, b in zip(x, z, strict=True)]
        path.append((y, x))
    return path


DRIFTS = "float32 rounds y and z each step; tests/wrappers/test_schedule_free.py bounds the step"
ROUNDS = "its updates are differences of rounded parameters; see tests/wrappers/test_schedule_free.py"

CASES = [
    Case(
        "schedule_free_sgd",
        gradtx.schedule_free_sgd(0.5),
        bind(schedule_free, learning_rate=0.5),
        not_optax=ROUNDS,
        relative=DRIFTS,
    ),
    Case(
        "schedule_free_sgd-options",
        gradtx.schedule_free_sgd(0.5, 20, 0.95, 0.1, 1.0),
        bind(schedule_free, learning_rate=0.5, b1=0.95, decay=0.1, power=1.0, warmup=20),
        not_optax="its warm-up is a step behind the paper's",
        relative=DRIFTS,
    ),
    Case(
        "schedule_free_adamw",
        gradtx.schedule_free_adamw(),
        bind(schedule_free, learning_rate=0.0025, b2=0.999),
        not_optax=ROUNDS,
        relative=DRIFTS,
    ),
    Case(
        "schedule_free_adamw-options",
        gradtx.schedule_free_adamw(0.01, 30, 0.98, 0.95, 1e-6, 0.1, 0.5),
        bind(
            schedule_free,
            learning_rate=0.01, b1=0.98, b2=0.95, eps=1e-6, decay=0.1, power=0.5, warmup=30,
        ),
        not_optax="its warm-up is a step behind the paper's",
        relative=DRIFTS,
    ),
]  # fmt: skip
