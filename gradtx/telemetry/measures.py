"""Measures of what passes through a chain, kept in the state by name; the updates pass as they are.

Source: none (a measurement, not a method of optimization).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments import ema, momentum
from gradtx.contract.foreign import as_transformation
from gradtx.contract.hyperparameters import Decay, DtypeName
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import Value, static
from gradtx.values.wording import a_kind, shown

__all__ = ["Measure", "measure_with_ema", "monitor", "snapshot"]


class SnapshotState(NamedTuple):
    """The measures of the last update."""

    measurement: dict[str, PyTree]  # name -> what the measure returned; zeros before the first update


class snapshot(GradientTransformation, reach=TREE):
    """Measure the updates that pass, and keep what was measured in the state, by name.

    `state.measurement[name]` has it, and optax.tree.get(state, name). Within a chain the measure sees
    what the part in front returned.

    Args:
        measure_name: the name.
        measure: a function of the updates that returns arrays.
    """

    measure_name: str = static()
    measure: Callable[[PyTree], PyTree] = static()

    def init(self, params: PyTree) -> SnapshotState:
        shapes = jax.eval_shape(self.measure, tree.zeros_like(params))
        return SnapshotState({self.measure_name: _zeros(shapes)})

    def update(
        self, updates: PyTree, state: SnapshotState, params: PyTree | None = None
    ) -> tuple[PyTree, SnapshotState]:
        return updates, SnapshotState({self.measure_name: self.measure(updates)})


class Measure(Value, abstract=True):
    """A measure that remembers: `monitor` keeps its state, and what it said last."""

    def init(self, params: PyTree) -> Any:
        """The state before the first update."""
        raise NotImplementedError

    def update(self, updates: PyTree, state: Any) -> tuple[PyTree, Any]:
        """The measure, and the state after it."""
        raise NotImplementedError


class measure_with_ema(Measure):
    """For `monitor`: an exponential average of what is measured, kept in at least float32.

    Args:
        measure: a function of the updates that returns arrays. Booleans count as 0 and 1.
        decay: β, in [0, 1).
        debias: divide by the weight that the average has gathered.
        accumulator_dtype: of the average; None is the measure's, at least float32.
    """

    measure: Callable[[PyTree], PyTree] = static()
    decay: Decay
    debias: bool = static(default=True)
    accumulator_dtype: DtypeName | None = static(default=None)

    def _average(self) -> GradientTransformation:
        make: Any = momentum if self.debias else ema
        return make(self.decay, accumulator_dtype=self.accumulator_dtype)

    def _measured(self, updates: PyTree) -> PyTree:
        def real(x: Any) -> jax.Array:
            x = jnp.asarray(x)
            exact = not jnp.issubdtype(x.dtype, jnp.inexact)
            return x.astype(jnp.float32 if exact else numerics.wide_dtype(x.dtype))

        return jax.tree.map(real, self.measure(updates))

    def init(self, params: PyTree) -> Any:
        return self._average().init(_zeros(jax.eval_shape(self._measured, tree.zeros_like(params))))

    def update(self, updates: PyTree, state: Any) -> tuple[PyTree, Any]:
        return self._average().update(self._measured(updates), state)


class _latest(Measure):
    """A plain function as a measure."""

    measure: Callable[[PyTree], PyTree] = static()

    def init(self, params: PyTree) -> EmptyState:
        return EmptyState()

    def update(self, updates: PyTree, state: Any) -> tuple[PyTree, Any]:
        return jax.tree.map(jnp.asarray, self.measure(updates)), state


class MonitorState(NamedTuple):
    measurements: dict[str, PyTree]  # name -> what was measured last; zeros before the first update
    measure_states: tuple[Any, ...]  # in the order of the names


class monitor(GradientTransformation, reach=TREE):
    """Measure the updates that pass, and keep what was measured in the state, by name; also averages.

        chain(monitor({"norm": norm, "mean_norm": measure_with_ema(norm, 0.99)}), adam(1e-3))

    `state.measurements[name]` has it, and optax.tree.get(state, name). Within a chain the measures see
    what the part in front returned. Before the first update there are zeros, where Optax has nothing:
    a state keeps its structure.

    Args:
        measures: name -> a function of the updates that returns arrays, a `measure_with_ema`, or a
            transformation, whose updates are kept.

    Raises:
        TypeError: a measure is anything else.
    """

    measures: Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.measures, Mapping) or not all(isinstance(k, str) for k in self.measures):
            raise TypeError(
                f"monitor(measures={shown(self.measures)}): measures must map names to functions, not "
                f"{a_kind(self.measures)}."
            )
        object.__setattr__(
            self, "measures", {k: _measure(k, self.measures[k]) for k in sorted(self.measures)}
        )

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        shown = {k: m.measure if isinstance(m, _latest) else m for k, m in self.measures.items()}
        yield "measures", shown

    def init(self, params: PyTree) -> MonitorState:
        zeros = tree.zeros_like(params)
        states = tuple(m.init(params) for m in self.measures.values())
        shapes = jax.eval_shape(lambda u: self._measured(u, states, u, {})[0], zeros)
        return MonitorState(_zeros(shapes), states)

    def update(
        self, updates: PyTree, state: MonitorState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, MonitorState]:
        return updates, MonitorState(*self._measured(updates, state.measure_states, params, extra))

    def _measured(
        self, updates: PyTree, states: tuple[Any, ...], params: PyTree | None, extra: dict[str, Any]
    ) -> tuple[dict[str, PyTree], tuple[Any, ...]]:
        found, after = {}, []
        for (name, m), state in zip(self.measures.items(), states, strict=True):
            if isinstance(m, GradientTransformation):
                found[name], state = m.update(updates, state, params, **extra)
            else:
                found[name], state = m.update(updates, state)
            after.append(state)
        return found, tuple(after)


def _measure(name: str, measure: Any) -> Any:
    if isinstance(measure, (Measure, GradientTransformation)):
        return measure
    if callable(measure) and not isinstance(measure, type):
        return _latest(measure)
    return as_transformation("monitor", f"measures[{name!r}]", measure)


def _zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
