"""Where optimizers go on a surface, for many learning rates at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.contract.facts import facts, read_by
from gradtx.contract.foreign import instead
from gradtx.contract.transformation import GradientTransformation
from gradtx.gallery.surfaces import Surface
from gradtx.optimizers.adagrad import adagrad
from gradtx.optimizers.adam import adam
from gradtx.optimizers.rmsprop import rmsprop
from gradtx.optimizers.sgd import sgd
from gradtx.tree.updates import apply_updates
from gradtx.wrappers.tuning import tunable, with_hyperparams

__all__ = ["CLASSICS", "Trajectories", "steps_to_escape", "trajectories"]

CLASSICS: dict[str, GradientTransformation] = {
    "SGD": sgd(0.01),
    "momentum": sgd(0.01, momentum=0.9),
    "NAG": sgd(0.01, momentum=0.9, nesterov=True),
    "Adagrad": adagrad(0.01, initial_accumulator_value=0.0, eps=1e-10, eps_in_sqrt=False),
    "RMSprop": rmsprop(0.01),
    "Adam": adam(0.01),
}
"""The optimizers that most pictures compare; Adagrad as its paper and PyTorch have it, from a sum of 0."""


class Trajectories(NamedTuple):
    """The paths of several optimizers on one surface."""

    surface: Surface
    labels: tuple[str, ...]  # one for each optimizer
    rates: tuple[float, ...] | None  # None: each optimizer has its own learning rate
    points: np.ndarray  # (optimizers, rates or 1, steps + 1, 2); the first is the start
    values: np.ndarray  # (optimizers, rates or 1, steps + 1): the surface there


def trajectories(
    surface: Surface,
    optimizers: Mapping[str, GradientTransformation] | Sequence[GradientTransformation],
    steps: int,
    rates: Sequence[float] | None = None,
) -> Trajectories:
    """Follow each optimizer from the surface's start, at each learning rate.

    Each optimizer is one compiled loop, mapped over the learning rates.

    Args:
        surface: what to minimise.
        optimizers: by label; or a sequence, each then labelled with the call that makes it.
        steps: how many updates to make, at least 1.
        rates: learning rates, which take the place of each optimizer's own; None leaves it as it is,
            which suits schedules and optimizers without one.

    Raises:
        ValueError: there is nothing to follow, or an optimizer has no number `learning_rate` to set.
        TypeError: one of the optimizers is not a transformation.
    """
    if steps < 1:
        raise ValueError(f"gallery.trajectories(steps={steps!r}): expected at least 1.")
    if not optimizers or (rates is not None and len(rates) == 0):
        raise ValueError("gallery.trajectories: there is no optimizer, or no learning rate, to follow.")
    named: dict[str, Any] = (
        dict(optimizers)
        if isinstance(optimizers, Mapping)
        else {_label(tx, rates is not None): tx for tx in optimizers}
    )
    for tx in named.values():
        if not isinstance(tx, GradientTransformation):
            raise TypeError(f"gallery.trajectories: expected transformations, {instead(tx)}")
    start = jnp.asarray(surface.start, float)
    walked = [
        _walk(surface, steps, tx, start, None if rates is None else _array(rates)) for tx in named.values()
    ]
    return Trajectories(
        surface,
        tuple(named),
        None if rates is None else tuple(map(float, rates)),
        np.stack([np.asarray(points) for points, _ in walked]),
        np.stack([np.asarray(values) for _, values in walked]),
    )


def steps_to_escape(paths: Trajectories, below: float = -1.0) -> dict[str, list[int | None]]:
    """After how many updates each optimizer is first below a value, for each learning rate.

    Args:
        paths: what `trajectories` returned.
        below: the value, such as -1 for leaving a saddle, or 1e-6 for reaching a minimum of 0.

    Returns:
        By label, one number for each learning rate; None where it never was.
    """

    def first(values: np.ndarray) -> int | None:
        there = values < below
        return int(np.argmax(there)) if there.any() else None

    return {
        label: [first(row) for row in rows] for label, rows in zip(paths.labels, paths.values, strict=True)
    }


def _array(rates: Sequence[float]) -> jax.Array:
    return jnp.asarray(rates, float)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _walk(
    surface: Surface, steps: int, tx: GradientTransformation, start: jax.Array, rates: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Points and values, (rates or 1, steps + 1, ...)."""

    def grad_fn(point: jax.Array, i: Any) -> jax.Array:
        return jax.grad(surface)(point)

    def examples(point: jax.Array) -> jax.Array:
        return surface(point)[None] if surface.examples is None else surface.examples(point)

    def step(tx: GradientTransformation, carry: Any) -> Any:
        point, state = carry
        value, grad = jax.value_and_grad(surface)(point)
        extra = {"value": value, "grad": grad, "value_fn": surface, "obj_fn": surface, "grad_fn": grad_fn}
        grads = jax.jacrev(examples)(point) if facts(tx).takes_examples else grad
        updates, state = tx.update(grads, state, point, **read_by(tx, extra))
        return (apply_updates(point, updates), state), (point, value)

    def follow(tx: GradientTransformation, state: Any) -> tuple[jax.Array, jax.Array]:
        (last, _), (points, values) = jax.lax.scan(lambda c, _: step(tx, c), (start, state), length=steps)
        return jnp.concatenate([points, last[None]]), jnp.concatenate([values, surface(last)[None]])

    if rates is None:
        return jax.tree.map(lambda x: x[None], follow(tx, tx.init(start)))
    tuned = tunable(tx, "learning_rate")
    state = tuned.init(start)
    return jax.vmap(lambda rate: follow(tuned, with_hyperparams(state, learning_rate=rate)))(rates)


def _label(tx: GradientTransformation, rate_is_set: bool) -> str:
    """The call that makes it, with λ for a learning rate that is set from outside."""
    if not (rate_is_set and hasattr(tx, "learning_rate")):
        return repr(tx)
    given = [(name, value) for name, value in tx._arguments() if name != "learning_rate"]
    return f"{type(tx).__name__}({', '.join(['λ', *(f'{name}={value!r}' for name, value in given)])})"
