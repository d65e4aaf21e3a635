"""Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
1993; and iRprop⁻: Igel & Hüsken, "Empirical evaluation of the improved Rprop learning algorithms", 2003."""

from __future__ import annotations

import numpy as np

import gradtx
from tests.reference.case import Case, bind


def rprop(
    theta, gradient, steps, *, learning_rate, minus=0.5, plus=1.2, least=1e-6, most=50.0, backtrack=False
):  # fmt: skip
    sizes = [np.full(p.shape, learning_rate) for p in theta]
    last, step, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            same, other = g * last[i] > 0, g * last[i] < 0
            sizes[i] = np.where(same, np.minimum(sizes[i] * plus, most), sizes[i])
            sizes[i] = np.where(other, np.maximum(sizes[i] * minus, least), sizes[i])
            back = -step[i] if backtrack else 0.0
            step[i] = np.where(other, back, -np.sign(g) * sizes[i])
            last[i] = np.where(other, 0, g)
            new.append(theta[i] + step[i])
        theta = new
        path.append(theta)
    return path


WHY = "optax.rprop is one step late: test_matrices.py compares it so"
CASES = [
    Case("rprop", gradtx.rprop(1e-2), bind(rprop, learning_rate=1e-2), not_optax=WHY),
    Case(
        "rprop-bounds",
        gradtx.rprop(1e-2, 0.4, 1.5, 1e-3, 0.02),
        bind(rprop, learning_rate=1e-2, minus=0.4, plus=1.5, least=1e-3, most=0.02),
        not_optax=WHY,
    ),
    Case(
        "rprop-backtrack",
        gradtx.rprop(0.1, backtrack=True),
        bind(rprop, learning_rate=0.1, backtrack=True),
        not_optax=WHY,
    ),
]
