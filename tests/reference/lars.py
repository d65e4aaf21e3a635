"""You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def lars(
    theta, gradient, steps, *, learning_rate, decay=0.0, trust=0.001, eps=0.0, momentum=0.9,
    nesterov=False, joint=False,
):  # fmt: skip
    """Algorithm 1; a layer is a leaf. With `joint`, Optax's norm of the sum."""
    velocity, path = [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            size, u = np.sqrt(np.sum(theta[i] ** 2)), g + decay * theta[i]
            total = np.sqrt(np.sum(u**2)) if joint else np.sqrt(np.sum(g**2)) + decay * size
            step = learning_rate * trust * size / (total + eps) * u
            velocity[i] = momentum * velocity[i] + step
            new.append(theta[i] - (step + momentum * velocity[i] if nesterov else velocity[i]))
        theta = new
        path.append(theta)
    return path


RELATIVE = "a step is as large as its leaf: tests/optimizers/test_layerwise.py measures it"

CASES = [
    Case("lars", gradtx.lars(1.0), bind(lars, learning_rate=1.0), optax.lars(1.0), relative=RELATIVE),
    Case(
        "lars-decay",
        gradtx.lars(1.0, weight_decay=0.1),
        bind(lars, learning_rate=1.0, decay=0.1),
        not_optax="optax.lars divides by the norm of the sum, the paper by the sum of the norms",
        relative=RELATIVE,
    ),
    Case(
        "lars-joint_norm",
        gradtx.lars(1.0, weight_decay=0.1, joint_norm=True),
        bind(lars, learning_rate=1.0, decay=0.1, joint=True),
        optax.lars(1.0, weight_decay=0.1),
        relative=RELATIVE,
    ),
    Case(
        "lars-eps",
        gradtx.lars(1.0, trust_coefficient=0.01, eps=0.1, momentum=0.5, nesterov=True),
        bind(lars, learning_rate=1.0, trust=0.01, eps=0.1, momentum=0.5, nesterov=True),
        optax.lars(1.0, trust_coefficient=0.01, eps=0.1, momentum=0.5, nesterov=True),
        relative=RELATIVE,
    ),
]
