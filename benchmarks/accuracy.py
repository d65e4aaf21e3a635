"""How far Adam's update in float32 is from float64's, after 1, 10, 100 and 1000 steps.

Each peer is given the same gradients, which float32 holds exactly, and the loop of the paper runs over
them in NumPy's float64. The learning rate is 1, and torch's parameters start each step at 0, so that
they are the update when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx
from benchmarks import by_torch

AT = (1, 10, 100, 1000)
DECAYS = (0.999, 0.9999)
ENTRIES = 1008  # enough for a median
B1, EPS = 0.9, 1e-8

Updates = dict[int, np.ndarray]  # by step
Path = Callable[[float, np.ndarray], Updates]  # b2, gradients -> updates


def gradients(steps: int) -> np.ndarray:
    """Noise around a mean over six decades, as in training; axis 0 is time."""
    rng = np.random.default_rng(2)
    size, mean = 10.0 ** rng.uniform(-6, 0, ENTRIES), rng.normal(size=ENTRIES)
    return (size * (mean + rng.normal(size=(steps, ENTRIES)))).astype(np.float32)


def in_float64(b2: float, grads: np.ndarray) -> Updates:
    """Kingma & Ba's algorithm 1 at a learning rate of 1."""
    m, v, found = np.zeros(ENTRIES), np.zeros(ENTRIES), {}
    for t, g in enumerate(grads.astype(np.float64), start=1):
        m = B1 * m + (1 - B1) * g
        v = b2 * v + (1 - b2) * g**2
        if t in AT:
            found[t] = -(m / (1 - B1**t)) / (np.sqrt(v / (1 - b2**t)) + EPS)
    return found


def by_jax(make: Callable[..., Any]) -> Path:
    """The updates of `make(1.0, b1=, b2=, eps=)`, in one compiled loop."""

    def path(b2: float, grads: np.ndarray) -> Updates:
        tx = make(1.0, b1=B1, b2=b2, eps=EPS)

        def step(state: Any, g: jax.Array) -> Any:
            updates, state = tx.update(g, state)
            return state, updates

        made = jax.jit(lambda grads: jax.lax.scan(step, tx.init(grads[0]), grads)[1])(jnp.asarray(grads))
        return {t: np.asarray(made[t - 1]) for t in AT if t <= len(grads)}

    return path


def of_torch(kind: str) -> Path:
    """The updates of torch.optim.Adam."""

    def path(b2: float, grads: np.ndarray) -> Updates:
        settings = by_torch.Settings("Adam", {"lr": 1.0, "betas": (B1, b2), "eps": EPS})
        (param,) = by_torch.with_gradients([np.zeros_like(grads[0])], [grads[0]])
        optimizer, found = settings.over([param], kind), {}
        for t, g in enumerate(grads, start=1):
            param.grad.numpy()[:] = g
            param.data.zero_()
            optimizer.step()
            if t in AT:
                found[t] = param.detach().numpy().copy()
        return found

    return path


def paths() -> dict[str, Path]:
    """Those that are compared."""
    found = {"gradtx": by_jax(gradtx.adam), "optax": by_jax(optax.adam)}
    if by_torch.missing() is None:
        found |= {f"torch, {kind}": of_torch(kind) for kind in by_torch.KINDS}
    return found


def error(updates: np.ndarray, exact: np.ndarray) -> float:
    """The median of the entries' relative errors."""
    return float(np.median(np.abs(updates.astype(np.float64) - exact) / np.abs(exact)))


def rows(steps: int = AT[-1]) -> list[dict[str, Any]]:
    """The table, a dictionary for each peer, decay and step."""
    grads, table = gradients(steps), []
    for b2 in DECAYS:
        exact = in_float64(b2, grads)
        for peer, path in paths().items():
            for t, updates in path(b2, grads).items():
                table.append({"peer": peer, "b2": b2, "step": t, "error": error(updates, exact[t])})
    return table
