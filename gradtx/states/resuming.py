"""A run that goes on under another transformation: a saved state, made to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.contract.runtime import HyperparamsState, held_in, later, with_held
from gradtx.contract.transformation import GradientTransformation
from gradtx.schedules.exact.arithmetic import LAST
from gradtx.states.names import places
from gradtx.tree import MismatchError, PyTree
from gradtx.tree import name as name_of
from gradtx.values.kinds import is_traced
from gradtx.values.value import behind

__all__ = ["resume"]


def resume(
    tx: GradientTransformation,
    saved: PyTree,
    params: PyTree,
    *,
    step: Any = None,
    keep: Literal["saved", "given"] | None = None,
) -> Any:
    """The state of `tx` that goes on from a saved one.

    What may differ: a number where there was a schedule, a schedule where there was a number, `tunable`
    around it or not, and containers that a checkpoint has turned into lists or dictionaries. Every
    array must be there, with its shape and dtype.

    Args:
        tx: the transformation to go on with.
        saved: the state of the run so far, as it was or as it was restored.
        params: the parameters, or their shapes and dtypes.
        step: how many updates have been made, a whole number from 0 to 2³¹ - 1; needed where there are
            schedules now and nothing in `saved` has counted. By default the counter in it. Schedules then
            report what the next update uses.
        keep: whose numbers win where both the saved state and `tx` (a `tunable`) have a
            hyperparameter: those 'saved', or those 'given' in `tx`. Needed only if the two differ.

    Raises:
        ValueError: an array is missing, or differs in shape or dtype, with the way to it; the step is
            needed, or out of its range; hyperparameters differ and `keep` does not say whose are meant.
        TypeError: `tx` is not a transformation, or the step no whole number.
    """
    tx = behind(tx)
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"resume: expected the transformation to go on with, not {tx!r}: resume(tx, saved, params)."
        )
    if keep not in ("saved", "given", None):
        raise ValueError(f"resume(keep={keep!r}): expected 'saved' or 'given'.")
    if step is not None:
        step = _as_step(f"resume(step={step!r})", step)
    try:
        new = _fresh(tx, params)
        fitted = _Fit(step, keep).fit(new, saved, places(tx, params), "the state")
        return _reported(tx, params, fitted)
    except MismatchError as error:
        error.owner = f"resume: {type(tx).__name__}"
        raise


def _fresh(tx: GradientTransformation, params: PyTree) -> PyTree:
    """A new state: numbers where hyperparameters are kept, and the shapes of the rest."""
    numbers = iter(_held_at(tx, params, []))
    return with_held(jax.eval_shape(tx.init, _shapes(params)), lambda _: next(numbers))


def _held_at(
    tx: GradientTransformation, params: PyTree, begin: list[HyperparamsState]
) -> list[HyperparamsState]:
    """What a new state keeps of hyperparameters, if it begins at the steps and numbers of these; or at 0."""

    @jax.jit
    def kept(begin: list[HyperparamsState]) -> list[HyperparamsState]:  # compiled, the rest is never made
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), _shapes(params))
        with later(begin):
            return [held._replace(inner=()) for _, held in held_in(tx.init(zeros))]

    return kept(begin)


def _shapes(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: jax.ShapeDtypeStruct(np.shape(p), jnp.result_type(p)), params)


def _reported(tx: GradientTransformation, params: PyTree, state: PyTree) -> PyTree:
    """The state with what the next update will use, where no schedule has said it."""
    held = [each._replace(inner=()) for _, each in held_in(state)]
    if all(level is not None for each in held for level in each.scheduled.values()):
        return state
    now = iter(_held_at(tx, params, [each._replace(scheduled={}) for each in held]))

    def filled(each: HyperparamsState) -> HyperparamsState:
        said = next(now).scheduled
        return each._replace(
            scheduled={n: said[n] if level is None else level for n, level in each.scheduled.items()}
        )

    return with_held(state, filled)


def _as_step(what: str, step: Any) -> Any:
    """How many updates have been made: a whole number that a counter can hold.

    Raises:
        TypeError: it is something else.
        ValueError: it is below 0, or above 2³¹ - 1.
    """
    expected = "how many updates have been made, a whole number from 0 to 2147483647"
    dtype: Any = np.bool_ if isinstance(step, bool) else getattr(step, "dtype", np.asarray(step).dtype)
    whole = jnp.issubdtype(dtype, jnp.integer) or isinstance(step, int)
    if not whole or dtype == np.bool_ or np.ndim(step):
        raise TypeError(f"{what}: expected {expected}.")
    if is_traced(step):
        return step
    if not 0 <= int(step) <= LAST:
        raise ValueError(f"{what}: expected {expected}, where counters stop.")
    return int(step)


class _Fit(NamedTuple):
    """Fits a saved state to a new one, part by part.

    `where` has the places of the new state, in its structure; `at` is the way to the part, for containers.
    """

    step: Any
    keep: str | None

    def fit(self, new: PyTree, saved: PyTree, where: PyTree, at: str) -> PyTree:
        if isinstance(new, HyperparamsState):
            return self._held(new, saved, where, at)
        if (held := _as_held(saved)) is not None:
            return self.fit(new, held.inner, where, at)
        if isinstance(new, (tuple, list, dict)):
            return self._container(new, saved, where, at)
        leaves, structure = jax.tree.flatten(new)
        theirs: Any = jax.tree.structure(saved)
        if structure != theirs:
            raise MismatchError(f"{at} is {_kind(saved)}, expected {_kind(new)}.")
        each = zip(leaves, jax.tree.leaves(saved), jax.tree.leaves(where), strict=True)
        return jax.tree.unflatten(structure, [_leaf(a, b, str(place)) for a, b, place in each])

    def _held(
        self, new: HyperparamsState, saved: PyTree, where: HyperparamsState, at: str
    ) -> HyperparamsState:
        held = _as_held(saved)
        if held is None:
            step = _counted(saved) if self.step is None else self.step
            inner = self.fit(new.inner, saved, where.inner, at)
            unsaid: dict[str, Any] = dict.fromkeys(new.scheduled)
            return new._replace(step=jnp.asarray(step, new.step.dtype), scheduled=unsaid, inner=inner)
        step = _as_step(f"{at}.step is {held.step!r}", held.step) if self.step is None else self.step
        memory = {
            n: self.fit(x, held.memory[n], where.memory[n], f"{at}.memory[{n!r}]") if n in held.memory else x
            for n, x in new.memory.items()
        }
        return HyperparamsState(
            step=jnp.asarray(step, new.step.dtype),
            hyperparams={n: self._number(n, x, held.hyperparams) for n, x in new.hyperparams.items()},
            scheduled={n: self._said(n, x, held.scheduled) for n, x in new.scheduled.items()},
            memory=memory,
            inner=self.fit(new.inner, held.inner, where.inner, f"{at}.inner"),
        )

    def _said(self, name: str, new: jax.Array, saved: dict[str, Any]) -> Any:
        """What a schedule said at the last update, or None where that is not known, or was another step's."""
        said = None if self.step is not None else saved.get(name)
        return None if said is None else jnp.asarray(said, new.dtype)

    def _number(self, name: str, given: jax.Array, saved: dict[str, Any]) -> jax.Array:
        if name not in saved or self.keep == "given":
            return given
        number = jnp.asarray(saved[name], given.dtype)
        if self.keep is None and not np.array_equal(number, given):
            raise MismatchError(
                f"{name} is {number} in the saved state and {given} in the transformation: say which to "
                "keep, keep='saved' or keep='given'."
            )
        return number

    def _container(self, new: Any, saved: PyTree, where: Any, at: str) -> Any:
        fields = getattr(new, "_fields", None)
        keys = list(new) if isinstance(new, dict) else list(range(len(new)) if fields is None else fields)
        entries = _entries(saved, keys, at)
        fitted = {
            k: self.fit(new[i], entries[k], where[i], f"{at}{_step(k, fields)}")
            for k, i in zip(keys, keys if isinstance(new, dict) else range(len(keys)), strict=True)
        }
        if isinstance(new, dict):
            return type(new)(fitted)
        return type(new)(*fitted.values()) if fields is not None else type(new)(fitted.values())


def _entries(saved: PyTree, keys: list[Any], at: str) -> dict[Any, Any]:
    """The entries of a container by those keys: it may have become another one on disk."""
    if isinstance(saved, Mapping):
        found = {k: saved[k] if k in saved else saved[str(k)] for k in keys if k in saved or str(k) in saved}
        extra = len(saved) - len(found)
    elif isinstance(saved, (tuple, list)):
        found, extra = dict(zip(keys, saved, strict=False)), len(saved) - len(keys)
    else:
        found, extra = {}, 0
    if len(found) < len(keys) or extra > 0:
        raise MismatchError(f"{at} is {_kind(saved)}, expected one with the entries {keys}.")
    return found


def _step(key: Any, fields: Any) -> str:
    return f".{key}" if fields is not None else f"[{key!r}]"


def _kind(x: Any) -> str:
    if isinstance(x, Mapping):
        return f"a dictionary of {list(x)}"
    if isinstance(x, (tuple, list)):
        return f"{type(x).__name__} of {len(x)}"
    return f"{type(x).__name__}"


def _leaf(new: Any, saved: Any, at: str) -> Any:
    if np.shape(saved) != new.shape or jnp.result_type(saved) != new.dtype:
        raise MismatchError(
            f"{at} has shape {np.shape(saved)} and dtype {jnp.result_type(saved)}, expected {new.shape} and "
            f"{new.dtype}."
        )
    return saved


def _as_held(saved: PyTree) -> HyperparamsState | None:
    """A `HyperparamsState`, also one that has become a dictionary."""
    if isinstance(saved, HyperparamsState):
        return saved
    is_one = isinstance(saved, Mapping) and set(saved) == set(HyperparamsState._fields)
    return HyperparamsState(**saved) if is_one else None


def _counted(saved: PyTree) -> Any:
    """How many updates the counters in a state have seen."""
    found = jax.tree_util.tree_flatten_with_path(saved)[0]
    counts = {
        _as_step(f"the counter at {name_of(path)} is {x!r}", x)
        for path, x in found
        if name_of(path[-1:]) == "step"
    }
    if len(counts) != 1:
        seen = f"its counters say {sorted(counts)}" if counts else "there is no counter in it"
        raise MismatchError(
            f"how many updates has the saved state seen? {seen[0].upper()}{seen[1:]}. Say it with step=..."
        )
    return counts.pop()
