"""Rates, decays and line searches: where Optax counts for a schedule."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from optax import contrib

import gradtx
from gradtx.contract.transformation import EmptyState
from gradtx.interop.optax.states.classes import (
    BACKTRACKING_INFO,
    MASKED_NOTHING,
    NOTHING,
    WEIGHT_DECAY_SCHEDULE,
)
from gradtx.interop.optax.states.codec import Codec, Convert, Way, known
from gradtx.optimizers.fromage import turn_by_learning_rate
from gradtx.schedules.plateau import PlateauState
from gradtx.schedules.schedule import Schedule
from gradtx.searches import backtracking, zoom
from gradtx.tree import PyTree

__all__ = ["Rate"]


class Rate(Codec):
    """The count of a schedule, in the place where it is read."""

    def __init__(self, field: str, theirs: type) -> None:
        self._field, self._theirs = field, theirs

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        if not isinstance(getattr(tx, self._field), Schedule) or way.step is None:
            return NOTHING
        way.rates.append(way.step)
        return self._theirs(way.step)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        if isinstance(state, self._theirs):
            way.rates.append(state.count)  # type: ignore[attr-defined]
        return EmptyState()


class _Decay(Rate):
    """Optax masks what decays, and reads its schedule there."""

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        inner = super().out(tx, state, way)
        return inner if tx.mask is None else optax.MaskedState(inner)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return super().back(tx, state.inner_state if isinstance(state, optax.MaskedState) else state, way)


def _plateau_out(tx: Any, state: PyTree, way: Way) -> PyTree:
    if not way.levels:
        return NOTHING
    scale, best, bad, cooldown, total, reported = way.levels.pop(0)
    mean = total / jnp.maximum(reported, 1).astype(total.dtype)
    return contrib.ReduceLROnPlateauState(scale, best, bad, cooldown, reported, mean)


def _plateau_back(tx: Any, state: Any, way: Way) -> PyTree:
    if isinstance(state, contrib.ReduceLROnPlateauState) and way.levels is not None:
        mean = jnp.asarray(state.avg_value)
        total = mean * jnp.asarray(state.count, mean.dtype)
        level: Any = (state.scale, state.best_value, state.plateau_count, state.cooldown_count)
        way.levels.append(PlateauState._make((*level, total, state.count)))
    return EmptyState()


def _zoom(tx: Any, state: Any, way: Way) -> Any:
    return optax.ScaleByZoomLinesearchState(*state[:3], optax.ZoomLinesearchInfo(*state.info))


def _tries(tx: Any, state: Any, way: Way) -> Any:
    info = BACKTRACKING_INFO(*state.info)
    return optax.ScaleByBacktrackingLinesearchState(*state[:3], info)


def _zoom_back(tx: Any, state: Any, way: Way) -> Any:
    return zoom.ZoomLinesearchState(
        state.learning_rate, state.value, state.grad, zoom.ZoomLinesearchInfo(*state.info)
    )


def _tries_back(tx: Any, state: Any, way: Way) -> Any:
    info = backtracking.BacktrackingLinesearchInfo(*state.info)
    return backtracking.BacktrackingLinesearchState(state.learning_rate, state.value, state.grad, info)


_SCHEDULE = optax.ScaleByScheduleState
known |= {
    gradtx.scale_by_learning_rate: Rate("learning_rate", _SCHEDULE),
    turn_by_learning_rate: Rate("learning_rate", _SCHEDULE),
    gradtx.scale_by_schedule: Rate("step_size_fn", _SCHEDULE),
    gradtx.scale: Rate("step_size", _SCHEDULE),
    gradtx.add_decoupled_weight_decay: _Decay("weight_decay", WEIGHT_DECAY_SCHEDULE),
    gradtx.reduce_on_plateau: Convert(_plateau_out, _plateau_back),
    gradtx.scale_by_zoom_linesearch: Convert(_zoom, _zoom_back),
    gradtx.scale_by_backtracking_linesearch: Convert(_tries, _tries_back),
    gradtx.freeze: Convert(lambda tx, state, way: MASKED_NOTHING, lambda tx, state, way: EmptyState()),
}
