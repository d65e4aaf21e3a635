"""Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, with AdamW beside it."""

from __future__ import annotations

import functools

import numpy as np
import optax

import gradtx
from tests.reference.case import Case, bind

MUON = (3.4445, -4.7750, 2.0315)
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


def orthogonalized(x, rows=(MUON,) * 5, eps=1e-8, scaling="frobenius"):
    """The authors' zeropower_via_newtonschulz5, and other scalings in front."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    if scaling == "spectral":
        x = x / (np.linalg.norm(x.astype(float), 2) + eps)
    elif scaling == "aol":
        x = x / np.sqrt(np.abs(x @ x.T).sum(axis=1, keepdims=True))
    elif scaling == "schatten":
        x = x / np.sqrt(np.sqrt(np.sum((x @ x.T) ** 2)))
    else:
        x = x / (np.sqrt(np.sum(x**2)) + eps)
    for a, b, c in rows:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def muon(
    theta, gradient, steps, *, learning_rate, beta=0.95, eps=1e-8, decay=0.0, nesterov=True, adaptive=False,
    rows=(MUON,) * 5, scaling="frobenius", rms=None, corrected=False, b1=0.9, b2=0.999, adam_decay=0.0,
    adam_rate=None,
):  # fmt: skip
    m, v, path = [0.0 * p for p in theta], [0.0 * p for p in theta], []
    adam_rate = learning_rate if adam_rate is None else adam_rate
    for t in range(1, steps + 1):
        new = []
        for i, g in enumerate(gradient(theta, t)):
            b = beta if g.ndim == 2 else b1
            bias = corrected or g.ndim < 2
            m[i] = b * m[i] + (1 - b) * g
            now, ahead = (1 - b**t, 1 - b ** (t + 1)) if bias else (1, 1)
            look = b * m[i] / ahead + (1 - b) * g / now if nesterov else m[i] / now
            if g.ndim == 2:
                o = orthogonalized(look, rows, eps, scaling)
                o = o * np.sum(look * o) if adaptive else o
                size = (
                    np.sqrt(max(1, g.shape[1] / g.shape[0])) if rms is None else rms * np.sqrt(max(g.shape))
                )
                new.append(theta[i] - learning_rate * (size * o + decay * theta[i]))
            else:
                v[i] = b2 * v[i] + (1 - b2) * g**2
                step = look / (np.sqrt(v[i] / (1 - b2**t)) + eps)
                new.append(theta[i] - adam_rate * (step + adam_decay * theta[i]))
        theta = new
        path.append(theta)
    return path


RELATIVE = "rounding in the matrix products is of rows and columns, not of an entry"
OPTAX = functools.partial(gradtx.muon, bias_correction=True)


def case(name, options, loop, optax_rtol=2e-4):
    """A case, and with Optax's bias correction in both, one that Optax agrees with."""
    return [
        Case(
            f"muon{name}",
            gradtx.muon(0.02, **options),
            bind(muon, learning_rate=0.02, **loop),
            not_optax="optax.contrib.muon corrects a bias that the authors' code leaves",
            relative=RELATIVE,
            leaf_rtol=1e-5,
        ),
        Case(
            f"muon{name}-corrected",
            OPTAX(0.02, **options),
            bind(muon, learning_rate=0.02, corrected=True, **loop),
            optax.contrib.muon(0.02, **options),
            optax_rtol=optax_rtol,  # rounding of the two orders in which the products are computed
            optax_leaves=("matrix", "vector", "scalar"),  # of an empty matrix Optax divides by its rows
            relative=RELATIVE,
            leaf_rtol=1e-5,
        ),
    ]


CASES = [
    *case("", {}, {}),
    *case(
        "-dion",
        {
            "ns_coeffs": DION,
            "beta": 0.9,
            "weight_decay": 0.1,
            "nesterov": False,
            "adaptive": True,
            "adam_weight_decay": 0.2,
            "adam_learning_rate": 0.01,
            "consistent_rms": 0.2,
        },
        {
            "rows": DION,
            "beta": 0.9,
            "decay": 0.1,
            "nesterov": False,
            "adaptive": True,
            "adam_decay": 0.2,
            "adam_rate": 0.01,
            "rms": 0.2,
        },
    ),
    case("-spectral", {"preconditioning": "spectral"}, {"scaling": "spectral"})[1],
    case("-aol", {"preconditioning": "aol", "ns_steps": 4}, {"scaling": "aol", "rows": (MUON,) * 4})[1],
    case("-schatten", {"preconditioning": "schatten", "eps": 1e-4}, {"scaling": "schatten", "eps": 1e-4})[1],
]
