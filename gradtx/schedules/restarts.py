"""Cosine cycles with a warm-up each, one after another, every one with its own numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import jax
import numpy as np

from gradtx.schedules.algebra import join_schedules
from gradtx.schedules.exact.pairs import Exact
from gradtx.schedules.schedule import Precise
from gradtx.schedules.warmup import warmup_cosine_decay_schedule
from gradtx.values.wording import shown

__all__ = ["sgdr_schedule"]


class _CosineCycles:
    """Cycles, or dicts of the arguments of each; at least one."""

    def accept(self, owner: str, name: str, value: Any) -> tuple[warmup_cosine_decay_schedule, ...]:
        if not isinstance(value, Iterable) or isinstance(value, (str, Mapping, jax.Array, np.ndarray)):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a sequence of dicts, one per cycle."
            )
        cycles = tuple(self._cycle(owner, f"{name}[{i}]", given) for i, given in enumerate(value))
        if not cycles:
            raise ValueError(f"{owner}: {name} must have at least one cycle.")
        return cycles

    def _cycle(self, owner: str, name: str, given: Any) -> warmup_cosine_decay_schedule:
        if isinstance(given, warmup_cosine_decay_schedule):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{owner}({name}={shown(given)}): each cycle is a dict of the arguments of "
                "warmup_cosine_decay_schedule, or such a schedule."
            )
        try:
            return warmup_cosine_decay_schedule(**given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{owner}, {name}: {error}") from None


Cycles = Annotated[
    Iterable[Mapping[str, Any] | warmup_cosine_decay_schedule] | tuple[warmup_cosine_decay_schedule, ...],
    _CosineCycles(),
]


class sgdr_schedule(Precise):
    """Cycles of a warm-up and half a cosine, one after another; the last one's end is held.

    For cycles that are alike, or grow by a factor, and have no warm-up: cosine_warm_restarts_schedule.

    Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.
    https://arxiv.org/abs/1608.03983

    Args:
        cosine_kwargs: for each cycle the arguments of warmup_cosine_decay_schedule, as a dict or as
            that schedule itself; `decay_steps` is the length of the cycle.

    Raises:
        ValueError: there is no cycle, or one has numbers out of their range.
    """

    cosine_kwargs: Cycles

    def at(self, step: jax.Array) -> Exact:
        cycles: Any = self.cosine_kwargs
        ends = tuple(itertools.accumulate(cycle.decay_steps for cycle in cycles))
        return join_schedules(cycles, ends[:-1]).at(step)
