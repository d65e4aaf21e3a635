"""Hyperparameters that are read and set while training runs, by name, without compiling anew.

    tx = gradtx.tunable(gradtx.adamw(1e-3, weight_decay=0.1), "learning_rate")
    state = tx.init(params)
    gradtx.hyperparams(state)                                  {'adamw.learning_rate': 0.001}
    state = gradtx.with_hyperparams(state, learning_rate=3e-4)

A name is a class and a field, `adamw.learning_rate`, with more in front where two are alike; any end of
it that only one has will do.

Source: none (a way to set numbers, not a method of optimization).
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.contract.foreign import as_transformation
from gradtx.contract.names import chosen, find
from gradtx.contract.reach import ENTRY
from gradtx.contract.runtime import (
    HyperparamsState,
    advance,
    begin,
    check_numbers,
    held_in,
    hyperparameters_of,
    numbers_of,
    with_held,
)
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.kinds import is_traced, several
from gradtx.values.value import static
from gradtx.values.wording import shown

__all__ = ["hyperparams", "tunable", "with_hyperparams"]


class tunable(GradientTransformation, reach=ENTRY, own_clock=True):
    """`inner`, with the numbers of some of its hyperparameters in the state.

    There they can be read, set, mapped over and saved with the rest. A hyperparameter that is a
    schedule follows it as before; the schedule's own levels are numbers like any other,
    `adamw.learning_rate.init_value`. Optax's `inject_hyperparams` serves the same purpose.

    Args:
        inner: any transformation.
        names: the hyperparameters; by default every number in `inner`. An end of a name chooses all
            that have it: `weight_decay` in each group of a partition. A term
            switched off by zero (`eps_root=0.0`) is not in the program, so it cannot be tuned.

    Raises:
        ValueError: nothing has a name; the message lists the names there are.

    Examples:
        >>> state = gradtx.tunable(gradtx.adam(1e-3), "learning_rate").init(jnp.ones(2))
        >>> gradtx.hyperparams(gradtx.with_hyperparams(state, learning_rate=0.5))
        {'adam.learning_rate': Array(0.5, dtype=float32)}
    """

    inner: GradientTransformation
    names: tuple[str, ...] = static()

    def __init__(self, inner: GradientTransformation, *names: str) -> None:
        inner = as_transformation("tunable", "inner", inner)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"tunable: names are strings, not {shown(name)}.")
            chosen("tunable", name, hyperparameters_of(inner))
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "names", names)

    def _arguments(self) -> Iterator[tuple[str | None, Any]]:
        return ((None, x) for x in (self.inner, *self.names))

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> tunable:
        return cls(fields["inner"], *several("tunable", "names", fields["names"]))

    @property
    def per_example(self) -> bool:
        """Whether `inner` takes gradients of single examples."""
        return self.inner.per_example

    def init(self, params: PyTree) -> HyperparamsState:
        known = numbers_of(self.inner)
        every = hyperparameters_of(self.inner)
        names = {n for name in self.names for n in chosen("tunable", name, every)} if self.names else known
        return begin(self.inner, params, {name: x for name, x in known.items() if name in names})

    def update(
        self, updates: PyTree, state: HyperparamsState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, HyperparamsState]:
        return advance(self.inner, updates, state, params, extra)


def hyperparams(state: PyTree) -> dict[str, jax.Array]:
    """The current hyperparameters in a state, by name: for a logger.

    Those that `tunable` chose, and what each schedule said at the last update (before the first: says
    at step 0).

    Args:
        state: the state of a transformation that is `tunable` or has schedules, or anything that
            contains it.

    Raises:
        ValueError: there are none in it.
    """
    found: dict[str, jax.Array] = {}
    for name, (held, own) in _names(state, lambda held: held.scheduled | held.hyperparams).items():
        found[name] = (held.scheduled | held.hyperparams)[own]
    if not found:
        raise ValueError(
            "hyperparams: the state has none. They are numbers of the program: wrap the transformation "
            "in tunable(...) to have them in the state."
        )
    return found


def with_hyperparams(
    state: PyTree, values: Mapping[str, Any] | None = None, tx: tunable | None = None, /, **by_name: Any
) -> Any:
    """The same state with other hyperparameters, from the next update on.

    A compiled update that takes the state as an argument is not compiled anew.

    Args:
        state: the state of a `tunable`, or anything that contains it.
        values: names and numbers; or as keywords, by the last part of the name:
            with_hyperparams(state, learning_rate=3e-4).
        tx: the `tunable` whose state this is: the numbers are then held to their ranges as well, which
            a state does not know.

    Raises:
        ValueError: a name is unknown, or is the end of several; it follows a schedule; a number is
            not finite, or of another shape than the one in the state.
    """
    owner = "with_hyperparams"
    tuned = _names(state, lambda held: held.hyperparams)
    scheduled = _names(state, lambda held: held.scheduled)
    new: dict[int, dict[str, jax.Array]] = {}
    for given, value in {**(values or {}), **by_name}.items():
        name = find(owner, given, [*tuned, *(scheduled.keys() - tuned.keys())])
        if name not in tuned:
            raise ValueError(
                f"{owner}: {name!r} follows a schedule. Set one of the schedule's levels, if tunable chose "
                f"them, or go on with a number: resume(tx, state, params). To be set: "
                f"{', '.join(tuned) or 'none'}."
            )
        held, own = tuned[name]
        new.setdefault(id(held), {})[own] = _like(owner, name, value, held.hyperparams[own])
    if tx is not None:
        for numbers in new.values():
            check_numbers(tx.inner, numbers)
    return with_held(state, lambda held: held._replace(hyperparams=held.hyperparams | new.get(id(held), {})))


def _like(owner: str, name: str, value: Any, old: Any) -> jax.Array:
    number = jnp.asarray(value, old.dtype)
    if number.shape != old.shape:
        raise ValueError(f"{owner}: {name} has shape {old.shape}, not {number.shape}.")
    if not is_traced(number) and not np.all(np.isfinite(number)):
        raise ValueError(f"{owner}({name}={value!r}): expected a finite number.")
    return number


def _names(
    state: PyTree, of: Callable[[HyperparamsState], dict[str, Any]]
) -> dict[str, tuple[HyperparamsState, str]]:
    """name -> where it is held, and its name there; with the way to that place where two are alike."""
    found = [(where, held, name) for where, held in held_in(state) for name in of(held)]
    count = collections.Counter(name for _, _, name in found)
    return {(name if count[name] == 1 else f"{where}.{name}"): (held, name) for where, held, name in found}
