"""Functions of two variables that optimizers are drawn on."""

from __future__ import annotations

from collections.abc import Callable

import jax

from gradtx.values.value import Value, static

__all__ = ["Surface", "beale", "ravine", "rosenbrock", "saddle"]

Point = tuple[float, float]


class Surface(Value):
    """A function of a point (x, y), and where to look at it.

    Call it with an array of two numbers. `saddle.replace(start=(0.5, 0.01))` is another starting point.

    Args:
        function: an array of two numbers -> a number; JAX must be able to trace it.
        title: what stands over a picture of it.
        bounds: ((least x, greatest x), (least y, greatest y)) of a picture.
        start: where paths begin.
        minimum: where it is least; None if it is not bounded below.
        examples: an array of two numbers -> losses of single examples, of which the function is the mean up
            to a constant, for optimizers such as `dpsgd`; None is one example.
    """

    function: Callable[[jax.Array], jax.Array] = static()
    title: str = static()
    bounds: tuple[Point, Point] = static()
    start: Point = static()
    minimum: Point | None = static(default=None)
    examples: Callable[[jax.Array], jax.Array] | None = static(default=None)

    def __call__(self, point: jax.Array) -> jax.Array:
        return self.function(point)


def _saddle(point: jax.Array) -> jax.Array:
    return point[0] ** 2 - point[1] ** 2


def _beale(point: jax.Array) -> jax.Array:
    x, y = point[0], point[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _ravine(point: jax.Array) -> jax.Array:
    return (point[0] ** 2 + 50.0 * point[1] ** 2) / 2.0


def _rosenbrock(point: jax.Array) -> jax.Array:
    return (1.0 - point[0]) ** 2 + 100.0 * (point[1] - point[0] ** 2) ** 2


saddle = Surface(_saddle, "Saddle, x² - y²", ((-0.9, 1.2), (-0.7, 1.4)), (1.0, 1e-4))
"""x² - y², from almost the ridge: along x it leads to the saddle point at 0, and only along y on."""

beale = Surface(_beale, "Beale's function", ((-1.0, 4.0), (-1.5, 2.0)), (1.0, 1.5), (3.0, 0.5))
"""Beale, "On an Iterative Method for Finding a Local Minimum of a Function of More than One Variable",
1958."""

ravine = Surface(_ravine, "Ravine, ½ (x² + 50 y²)", ((-1.2, 0.4), (-0.5, 0.5)), (-1.0, 0.3), (0.0, 0.0))
"""½ (x² + 50 y²): 50 times as steep across as along."""

rosenbrock = Surface(
    _rosenbrock, "Rosenbrock's function", ((-1.8, 1.8), (-0.8, 2.4)), (-1.2, 1.0), (1.0, 1.0)
)
"""Rosenbrock, "An Automatic Method for Finding the Greatest or Least Value of a Function", 1960."""
