"""Taniguchi et al., "ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate", 2024, with
the clip of its authors' later version."""

from __future__ import annotations

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind


def adopt(
    theta, gradient, steps, *, learning_rate, b1=0.9, b2=0.9999, eps=1e-6, power=0.25, nesterov=False
):  # fmt: skip
    """The algorithm's t is that of the loop less one: its step 0 is where v₀ comes from."""
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(steps):
        new = []
        for i, g in enumerate(gradient(theta, t + 1)):
            if t == 0:
                v[i] = g**2
                new.append(theta[i])
                continue
            scaled = g / np.maximum(np.sqrt(v[i]), eps)
            if power is not None:
                scaled = np.clip(scaled, -(t**power), t**power)
            m[i] = b1 * m[i] + (1 - b1) * scaled
            v[i] = b2 * v[i] + (1 - b2) * g**2
            u = b1 * m[i] + (1 - b1) * scaled if nesterov else m[i]
            new.append(theta[i] - learning_rate * u)
        theta = new
        path.append(theta)
    return path


CASES = [
    Case("adopt", gradtx.adopt(1e-2), bind(adopt, learning_rate=1e-2), optax.contrib.adopt(1e-2)),
    Case(
        "adopt-b2=0.9",
        gradtx.adopt(1e-2, b2=0.9),
        bind(adopt, learning_rate=1e-2, b2=0.9),
        optax.contrib.adopt(1e-2, b2=0.9),
    ),
    Case(
        "adopt-unclipped",
        gradtx.adopt(1e-2, b2=0.999, use_clipping=False, nesterov=True),
        bind(adopt, learning_rate=1e-2, b2=0.999, power=None, nesterov=True),
        optax.contrib.adopt(1e-2, b2=0.999, use_clipping=False, nesterov=True),
    ),
    Case(
        "adopt-clip",
        gradtx.adopt(1e-2, b1=0.8, clip_value_fn=gradtx.power_schedule(0.1), eps=1e-3, nesterov=True),
        bind(adopt, learning_rate=1e-2, b1=0.8, power=0.1, eps=1e-3, nesterov=True),
        optax.contrib.adopt(1e-2, b1=0.8, clip_value_fn=lambda t: t**0.1, eps=1e-3, nesterov=True),
    ),
]
