"""What each optimizer is drawn on, for its page: the kind of function that shows what it does.

Each problem has what `gallery.trajectories` asks of a surface: `start`, `examples` where single examples
count, and its value, the height above its minimum, by calling it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import gallery
from gradtx.contract.facts import facts


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A function of an array, from where to descend, and the losses whose mean it is."""

    title: str
    start: Any
    function: Callable[[jax.Array], jax.Array]
    examples: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, point: jax.Array) -> jax.Array:
        return self.function(point)


class Kind(NamedTuple):
    """Problems that are drawn side by side."""

    said: str
    problems: tuple[Any, ...]
    least: float  # below it, float32 has nothing to say


def of(tx: Any) -> Kind:
    """The kind for one: by what it takes, and what it is made of."""
    if facts(tx).takes_examples:
        return REGRESSIONS
    return MATRICES if _asks_for_matrices(tx) else POINTS


def _asks_for_matrices(tx: Any) -> bool:
    return hasattr(tx, "weight_dimension_numbers") or any(map(_asks_for_matrices, tx.made_of()))


def _least_squares() -> Problem:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    curvatures = jnp.asarray(basis * np.geomspace(1, 1000, 32) @ basis.T, float)
    target = jnp.asarray(rng.normal(size=(32, 16)), float)

    def height(w: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum((w - target) * (curvatures @ (w - target)))

    return Problem("Quadratic, of condition 1000", np.zeros((32, 16)), height)


def _factorisation() -> Problem:
    rng = np.random.default_rng(1)
    factor, _ = np.linalg.qr(rng.normal(size=(32, 8)))
    product = jnp.asarray(factor * np.geomspace(0.1, 20, 8) @ factor.T, float)

    def height(w: jax.Array) -> jax.Array:
        return 0.25 * jnp.sum((w @ w.T - product) ** 2)

    return Problem("Factorisation, ¼ ‖W Wᵀ - M‖²", 0.1 * rng.normal(size=(32, 8)), height)


def _regression(title: str, loss: Callable[[Any, Any], Any], labels: Callable[[Any, Any], Any]) -> Problem:
    """256 examples of 8 features, some of which vary five times as much as others."""
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(256, 8)) * np.geomspace(0.4, 2, 8), float)
    y = jnp.asarray(labels(np.asarray(x @ rng.normal(size=8)), rng), float)

    def examples(w: jax.Array) -> jax.Array:
        return loss(x @ w, y)

    def mean(w: jax.Array) -> jax.Array:
        return examples(w).mean()

    best = jnp.zeros(8)
    for _ in range(20):  # Newton's method: both are convex
        best -= jnp.linalg.solve(jax.hessian(mean)(best), jax.grad(mean)(best))
    least = float(mean(best))
    return Problem(title, np.zeros(8), lambda w: mean(w) - least, examples)


POINTS = Kind("two functions of two variables", (gallery.ravine, gallery.rosenbrock), 1e-12)
MATRICES = Kind(
    "two functions of a matrix, of 32 × 16 and of 32 × 8",
    (_least_squares(), _factorisation()),
    1e-12,
)
REGRESSIONS = Kind(
    "two regressions with 8 parameters on 256 examples",
    (
        _regression(
            "Linear regression",
            lambda z, y: 0.5 * (z - y) ** 2,
            lambda z, rng: z + 0.5 * rng.normal(size=z.shape),
        ),
        _regression(
            "Logistic regression",
            lambda z, y: jax.nn.softplus(z) - y * z,
            lambda z, rng: rng.uniform(size=z.shape) < 1 / (1 + np.exp(-z)),
        ),
    ),
    1e-7,
)
