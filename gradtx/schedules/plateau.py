"""A level that falls when a metric has stopped improving: PyTorch's ReduceLROnPlateau.

Once for every metric mₖ that is reported, as torch.optim.lr_scheduler.ReduceLROnPlateau.step does:

    improved:   mₖ < best - rtol |best| - atol      (mode 'max': mₖ > best + rtol |best| + atol)
    best      = mₖ if improved
    bad       = 0 if improved or while cooling down, else bad + 1
    bad > patience:   level = max(factor · level, min_value), bad = 0, then cool down

https://docs.pytorch.org/docs/2.13/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.schedules.fields import Level, Period, Steps
from gradtx.schedules.schedule import Adaptive
from gradtx.values.kinds import Choice, Real
from gradtx.values.value import static

__all__ = ["Mode", "PlateauState", "Reduction", "Tolerance", "plateau_schedule"]

Reduction = Annotated[float | jax.Array, Real(0, 1, open_low=True, open_high=True)]
Tolerance = Annotated[float | jax.Array, Real(0)]
Mode = Annotated[Literal["min", "max"], Choice("min", "max")]


class PlateauState(NamedTuple):
    """The memory of a `plateau_schedule`."""

    scale: jax.Array  # level / init_value
    best: jax.Array  # the best metric so far, ±inf before the first
    bad: jax.Array  # int32: how many metrics in a row have not improved on it
    cooldown: jax.Array  # int32: how many metrics more do not count as bad
    total: jax.Array  # the sum of the values reported since the last metric
    reported: jax.Array  # int32: how many those are


class plateau_schedule(Adaptive):
    """A level that is multiplied by `factor` when more than `patience` metrics in a row did not improve.

    Wherever a schedule may stand: adam(plateau_schedule(1e-3)) for the learning rate, or in a product
    with a schedule of the step. The metric is given to each update, update(updates, state, params,
    value=loss), and the level that follows from it holds for that very update.

    Differences from PyTorch: the metric is part of the update, and improvement is measured by |best|,
    so that a relative threshold is right for negative metrics as well (PyTorch's best · (1 - threshold)
    lies on the wrong side of a negative best). PyTorch's threshold is `rtol` or, with
    threshold_mode='abs', `atol`. Optax's reduce_on_plateau lowers the level one metric earlier, at the
    `patience`-th bad one.

    Args:
        init_value: the level before the first reduction.
        factor: in (0, 1).
        patience: how many metrics in a row may fail to improve without consequence, at least 0.
        rtol: by what part of |best| a metric has to be better, at least 0.
        atol: by how much it has to be better besides, at least 0.
        cooldown: for how many metrics after a reduction none counts as bad, at least 0.
        accumulation_size: how many updates make a metric: the mean of their values, at least 1. The
            steps of an epoch, for a metric per epoch.
        min_value: the level never falls below this.
        mode: 'min' for a metric that should fall, 'max' for one that should rise.
        eps: a reduction by no more than this is not made, at least 0.

    Raises:
        ValueError: a number is out of its range.
        TypeError: at an update without `value`.
    """

    init_value: Level
    factor: Reduction = 0.1
    patience: Steps = static(default=10)
    rtol: Tolerance = 1e-4
    atol: Tolerance = 0.0
    cooldown: Steps = static(default=0)
    accumulation_size: Period = static(default=1)
    min_value: Level = 0.0
    mode: Mode = static(default="min")
    eps: Tolerance = 1e-8

    def start(self) -> PlateauState:
        worst = jnp.asarray(jnp.inf if self.mode == "min" else -jnp.inf, float)
        bad, cooldown, reported = (numerics.counter() for _ in range(3))  # each its own, to donate
        return PlateauState(jnp.ones((), float), worst, bad, cooldown, jnp.zeros((), float), reported)

    def follow(self, memory: PlateauState, *, value: Any) -> PlateauState:
        total = memory.total + _metric(value).astype(memory.total.dtype)
        reported = memory.reported + 1
        complete = reported == self.accumulation_size
        after = self._after(memory, total / self.accumulation_size)
        kept = PlateauState(*memory[:4], total, reported)
        return PlateauState(*(jnp.where(complete, new, old) for new, old in zip(after, kept, strict=True)))

    def level(self, memory: PlateauState) -> jax.Array:
        return memory.scale * numerics.like(self.init_value, memory.scale)

    def _after(self, memory: PlateauState, metric: jax.Array) -> PlateauState:
        """The memory after a metric."""
        improved = self._improves(metric, memory.best)
        cooling = memory.cooldown > 0
        bad = jnp.where(improved | cooling, 0, memory.bad + 1)
        reduce = bad > self.patience
        return PlateauState(
            scale=jnp.where(reduce, self._reduced(memory.scale), memory.scale),
            best=jnp.where(improved, metric, memory.best),
            bad=jnp.where(reduce, 0, bad),
            cooldown=jnp.where(reduce, self.cooldown, jnp.maximum(memory.cooldown - 1, 0)),
            total=jnp.zeros_like(memory.total),
            reported=jnp.zeros_like(memory.reported),
        )

    def _improves(self, metric: jax.Array, best: jax.Array) -> jax.Array:
        first = jnp.isinf(best)  # inf - rtol · inf is NaN
        size = jnp.where(first, 0.0, jnp.abs(best))
        margin = numerics.times(size, self.rtol) + numerics.like(self.atol, size)
        return metric < best - margin if self.mode == "min" else metric > best + margin

    def _reduced(self, scale: jax.Array) -> jax.Array:
        start, least, factor, eps = (
            numerics.like(x, scale) for x in (self.init_value, self.min_value, self.factor, self.eps)
        )
        old = scale * start
        new = jnp.maximum(old * factor, least)
        lower = scale * jnp.where(old == 0, 1.0, new / jnp.where(old == 0, 1.0, old))
        return jnp.where(old - new > eps, lower, scale)


def _metric(value: Any) -> jax.Array:
    metric = jnp.asarray(value)
    if metric.shape != ():
        raise ValueError(
            f"plateau_schedule: value must be one number, the metric; it has shape {metric.shape}. Take its "
            "mean."
        )
    return metric
