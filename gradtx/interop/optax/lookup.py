"""Values in a state by name, as `optax.tree.get` finds them: by Optax's names for them, or by gradtx's own.

A name that is in the state is found as Optax finds it: a field, a key of a dictionary, the class of a
state. For one that is not, `PLACES` says where gradtx has what Optax calls so: the first pattern that
matches the way to a value, written as

    0.RatioState.numerator.0.EmaState.mean          the key or position, or a state and its field

Counters that count the same updates are one: `count` is the step, however many states count it. Those
behind a wrapper that may skip updates count others.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey, GetAttrKey, SequenceKey
from optax.tree_utils import NamedTupleKey

import gradtx
from gradtx.contract.facts import state_class
from gradtx.tree import PyTree
from gradtx.values import registry

__all__ = ["PLACES", "answer_to_optax_names", "tree_get", "tree_get_all_with_path", "tree_set"]

Path = tuple[Any, ...]
Filter = Callable[[Path, Any], bool]

_NOT_BELOW = r"^(?!.*\.(denominator|of_difference|squares|past)\b).*"

_ON_ITS_OWN = r"^((?!\w+State\.)[^.]+\.|\w+State\.(inner|groups)\.)*"
"""Below chains, labels and wrappers, but not as a part of what Optax has as one, such as Adam."""

PLACES: dict[str, tuple[str, ...]] = {
    # moments
    "mu": (_NOT_BELOW + r"EmaState\.mean$", r"(SquaredDeviation|ACProp)State\.mean$"),
    "nu": (
        r"\.denominator\b.*EmaState\.mean$",
        r"\.denominator\b.*RunningMaxState\.largest$",
        r"(LeafNorm|PastRoot|ACProp)State\.squares$",
    ),
    "nu_max": (r"\.denominator\b.*RunningMaxState\.largest$",),
    "ema": (_ON_ITS_OWN + r"EmaState\.mean$",),
    "trace": (r"TraceState\.velocity$",),
    "sum_of_squares": (r"RunningSumState\.total$",),
    "e_g": (r"\.squares\b.*EmaState\.mean$",),
    "e_x": (r"\.past\b.*EmaState\.mean$",),
    "exp_avg": (r"(Dadapt|Prodigy|Momo)State\.mean$",),
    "exp_avg_sq": (r"(Dadapt|Prodigy)State\.squares$", r"MomoState\.denominator\b.*EmaState\.mean$"),
    "v_row": (r"FactoredState\.rows$",),
    "v_col": (r"FactoredState\.columns$",),
    # Adan's, AdEMAMix's, and one letter of others
    "m": (
        r"\.of_gradient\b.*EmaState\.mean$",
        r"\.numerator\b.*TraceState\.velocity$",
        r"MechanicState\.largest$",
    ),
    "v": (
        r"\.of_difference\b.*EmaState\.mean$",
        r"FactoredState\.squares$",
        r"MechanicState\.squares$",
    ),
    "r": (r"MechanicState\.reward$",),
    "s": (r"MechanicState\.scales$", r"MadgradState\.total$"),
    "x0": (r"(Mechanic|Madgrad)State\.start$",),
    "n": (r"\.denominator\b.*EmaState\.mean$",),
    "g": (r"DifferenceState\.previous$",),
    "m1": (r"\.numerator\.0\.0\.EmaState\.mean$",),
    "m2": (r"\.numerator\.1\.0\.EmaState\.mean$",),
    "previous_gradient": (r"DifferenceState\.previous$",),
    # distances
    "estim_lr": (r"(Dadapt|Prodigy)State\.distance$",),
    "numerator_weighted": (r"(Dadapt|Prodigy)State\.numerator$",),
    "grad_sum": (r"(Dadapt|Prodigy)State\.sums$",),
    "params0": (r"ProdigyState\.start$",),
    "barf": (r"MomoState\.loss$",),
    "gamma": (r"MomoState\.along$",),
    "lb": (r"MomoState\.lower_bound$",),
    "init_params": (r"(Dog|Dowg|DistanceOverGradients)State\.start$",),
    "max_dist": (r"(Dog|DistanceOverGradients)State\.distance$",),
    "estim_sq_dist": (r"DowgState\.squared_distance$",),
    "is_init_step": (r"DogState\.first$",),
    "sum_sq_norm_grads": (r"DogState\.squares$",),
    "weighted_sq_norm_grads": (r"DowgState\.squares$",),
    "grad_sum_of_squares": (r"DistanceOverGradientsState\.squares$",),
    "grad_sum_sq": (r"MadgradState\.squares$",),
    "init_particles": (r"CocobState\.start$",),
    "subgradients": (r"CocobState\.absolute$",),
    "step_sizes": (r"RpropState\.sizes$",),
    # wrappers
    "projector": (r"SubspaceState\.basis$",),
    "base_optimizer_state": (r"(Mechanic|Subspace)State\.inner$",),
    "acc_grads": (r"AccumulateState\.total$",),
    "grad_acc": (r"AccumulateState\.total$",),
    "mini_step": (r"AccumulateState\.micro_step$",),
    "skip_state": (r"AccumulateState\.skipped$",),
    "inner_opt_state": (r"AccumulateState\.inner$",),
    "inner_state": (r"(Masked|ApplyIfFinite|RunWhen|SplitRealAndImaginary)State\.inner$",),
    "inner_states": (r"PartitionState\.groups$",),
    "fast_state": (r"LookaheadState\.inner$",),
    "step": (r"RunWhenState\.step$",),
    "steps_since_sync": (r"LookaheadState\.step$",),
    "rng_key": (r"(AddNoise|DifferentiallyPrivateAggregate)State\.key$",),
    # a plateau's
    "best_value": (r"PlateauState\.best$",),
    "plateau_count": (r"PlateauState\.bad$",),
    "cooldown_count": (r"PlateauState\.cooldown$",),
}
"""Optax's name of a field -> where gradtx has it: patterns, of which the first that is there counts."""

_COUNTERS = ("count", "step", "t", "step_count")
_OTHER_STEPS = r"(LookaheadState|RunWhenState|AccumulateState)\.\w+$"  # these count something else


class _Found(NamedTuple):
    path: Path
    value: Any


def tree_get_all_with_path(tree: PyTree, key: Any, filtering: Filter | None = None) -> list[tuple[Path, Any]]:
    """Every value of that name in a state, with the way to it.

    Args:
        tree: a state, or any tree.
        key: a field's name, Optax's or gradtx's; a key of a dictionary; the name of a state's class; the
            last part of a hyperparameter's name, such as 'learning_rate'.
        filtering: (way, value) -> whether to take it. The way has jax's keys, and a `NamedTupleKey` for a
            field of a NamedTuple.
    """
    return [(found.path, found.value) for found, *_ in _search(tree, key, filtering)]


def tree_get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """The value of that name in a state.

    Args:
        tree: a state, or any tree.
        key: as for `tree_get_all_with_path`.
        default: what to return where nothing has that name.
        filtering: (way, value) -> whether to take it.

    Raises:
        KeyError: more than one value has that name; the message lists the ways to them.
    """
    found = _search(tree, key, filtering)
    if len(found) > 1:
        ways = ", ".join(repr(_words(x.path)) for x, *_ in found)
        raise KeyError(
            f"tree.get: {key!r} is the name of several values: choose by filtering. They are {ways}."
        )
    return found[0][0].value if found else default


def tree_set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """A copy of a state with other values in the place of those of these names.

    Args:
        tree: a state, or any tree.
        filtering: (way, value) -> whether to replace it.
        kwargs: names, as for `tree_get_all_with_path`, and the new values. Of counters that count the same
            updates all are set.

    Raises:
        KeyError: nothing has one of the names.
    """
    new: dict[Path, Any] = {}
    for key, value in kwargs.items():
        found = _search(tree, key, filtering)
        if not found:
            raise KeyError(f"tree.set: nothing in this tree has the name {key!r}.")
        new |= {x.path: _like(x.value, value) for together in found for x in together}
    return _replaced(tree, (), new)


def _like(old: Any, new: Any) -> Any:
    """A number in the dtype of the array that it replaces: a state keeps its dtypes."""
    if isinstance(old, jax.Array) and isinstance(new, (bool, int, float)):
        return jnp.asarray(new, old.dtype)
    return new


# ---------------------------------------------------------------- searching


def _search(tree: PyTree, key: Any, filtering: Filter | None) -> list[list[_Found]]:
    """Lists of values that are one, such as counters of the same updates; mostly of one each."""
    found = [[x] for x in _elsewhere(tree, key)] if key == "step" else []
    if not found and key in _COUNTERS:
        found = _counters(tree, key)
    if not found:
        found = [[x] for x in _named(tree, (), key)] or [[x] for x in _elsewhere(tree, key)]
    if filtering is None:
        return found
    kept = [[x for x in together if filtering(x.path, x.value)] for together in found]
    return [together for together in kept if together]


def _named(node: PyTree, path: Path, key: Any) -> Iterator[_Found]:
    """The places that have the name itself: a node before its contents."""
    if _is_state(node) and type(node).__name__ == key:
        yield _Found(path, node)
    children = _children(node)
    for k, child in children:
        if not isinstance(k, SequenceKey) and _name(k) == key:
            yield _Found((*path, k), child)
    for k, child in children:
        yield from _named(child, (*path, k), key)


def _elsewhere(tree: PyTree, key: Any) -> list[_Found]:
    if not isinstance(key, str):
        return []
    every = list(_every(tree, ()))
    hyperparameter = rf"HyperparamsState\.(hyperparams|scheduled)\.(.*\.)?{re.escape(key)}$"
    for pattern in (*PLACES.get(key, ()), hyperparameter):
        if found := [x for x in every if re.search(pattern, _words(x.path))]:
            return found
    return []


def _counters(tree: PyTree, key: str) -> list[list[_Found]]:
    """Counters, together with those that count the same updates, the outermost in front."""
    groups: dict[Path, list[_Found]] = {}
    for x in _every(tree, ()):
        last = x.path[-1]
        if isinstance(last, NamedTupleKey) and _counts(last, key) and not re.search(_OTHER_STEPS, str(last)):
            groups.setdefault(_clock(x.path), []).append(x)
    return [sorted(together, key=lambda x: len(x.path)) for together in groups.values()]


def _counts(last: NamedTupleKey, key: str) -> bool:
    """Whether a field is a counter of updates: gradtx's are called step."""
    return last.name == key or last.name == "step"


def _clock(path: Path) -> Path:
    """The way to the innermost state on it whose inner part may be updated more rarely than the rest."""
    clocks = [i for i, k in enumerate(path[:-1]) if isinstance(k, NamedTupleKey) and k.tuple_name in _CLOCKS]
    return path[: clocks[-1] + 1] if clocks else ()


def _states() -> dict[type, type]:
    """The class of a state -> that of the transformation, for all that gradtx exports."""
    txs = registry.public(gradtx.GradientTransformation).values()
    return {state: tx for tx in txs if (state := state_class(tx)) is not None and hasattr(state, "_fields")}


_STATES = _states()
_CLOCKS = {s.__name__ for s, tx in _STATES.items() if vars(tx).get("may_skip")}
"""States of what may skip updates of what it holds."""


# ---------------------------------------------------------------- state.mu


def _attribute(state: Any, name: str) -> Any:
    """Find `state.mu` in a state that has no such field."""
    known = name in PLACES or name in _COUNTERS
    found = _search(state, name, None) if known and _is_state(state) else []
    if len(found) != 1:
        raise AttributeError(
            f"{type(state).__name__!r} object has no attribute {name!r}", name=name, obj=state
        )
    return found[0][0].value


def answer_to_optax_names() -> None:
    """Let gradtx's states answer to Optax's names of their fields as attributes, to be read.

    `state[0].mu`, `state.inner_state` and `state.mini_step` then are what they are in a program that was
    written for Optax. Fields, and so pytrees, equality and printing, stay as they are.
    """
    for state in _STATES:
        state.__getattr__ = _attribute  # type: ignore[attr-defined]
        if not hasattr(state, "__annotations__") or "count" not in state.__annotations__:
            state.count = property(_count)  # type: ignore[attr-defined]


def _count(state: Any) -> Any:
    found = _counters(state, "count")
    return found[0][0].value if found else functools.partial(tuple.count, state)  # else as of any tuple


# ---------------------------------------------------------------- a tree, node by node


def _children(node: PyTree) -> list[tuple[Any, PyTree]]:
    """(key, child) of a node; nothing of a leaf."""
    if node is None:
        return []
    flat = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)[0]
    if len(flat) == 1 and not flat[0][0]:
        return []
    return [(_named_key(node, path[0]), child) for path, child in flat]


def _named_key(node: PyTree, key: Any) -> Any:
    if _is_state(node) and isinstance(key, GetAttrKey):
        return NamedTupleKey(type(node).__name__, key.name)
    return key


def _every(node: PyTree, path: Path) -> Iterator[_Found]:
    for k, child in _children(node):
        yield _Found((*path, k), child)
        yield from _every(child, (*path, k))


def _replaced(node: PyTree, path: Path, new: dict[Path, Any]) -> PyTree:
    if path in new:
        return new[path]
    children = _children(node)
    if not children:
        return node
    structure = jax.tree.structure(node, is_leaf=lambda x: x is not node)
    return jax.tree.unflatten(structure, [_replaced(child, (*path, k), new) for k, child in children])


def _is_state(node: PyTree) -> bool:
    return isinstance(node, tuple) and hasattr(node, "_fields")


def _name(key: Any) -> Any:
    if isinstance(key, DictKey):
        return key.key
    return key.idx if isinstance(key, SequenceKey) else getattr(key, "name", None)


def _words(path: Path) -> str:
    return ".".join(str(key) if isinstance(key, NamedTupleKey) else str(_name(key)) for key in path)
