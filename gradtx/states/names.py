"""The name of a place in a state: which transformation keeps it, in which field, for which parameter.

    places(adamw(1e-3), params).numerator...      numerator.ema.mean of dense/kernel

The transformation is named by its class, with what the transformations around it call their parts in
front. A transformation that holds one other adds nothing to the way, nor does one that is only a line for
a composition: so the names stay when a number becomes a schedule, when `tunable`, a mask or an accumulator
is put around, and when a chain gets parts of other classes. Where two of one class are alike they are
counted: `ema[0].mean`, `ema[1].mean`. Numbers that are looked up while
training runs stand under `hyperparams`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from gradtx.contract.boundary import InitCall, init_calls
from gradtx.contract.foreign import as_transformation
from gradtx.contract.running import label_in
from gradtx.contract.runtime import HyperparamsState
from gradtx.tree import PyTree
from gradtx.tree.paths import leaf_names, name

__all__ = ["Place", "is_there", "own_leaves", "places"]

_NAMED = (jax.tree_util.GetAttrKey, jax.tree_util.DictKey)


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """A place in a state. It is a leaf, unlike the values that are trees."""

    owner: str  # the transformation: labels on the way and its class, 'numerator.ema'
    field: str  # the field of its state: 'mean'
    leaf: str = ""  # the parameter's path, 'dense/kernel'; '' of what all leaves share

    def __str__(self) -> str:
        return f"{self.owner}.{self.field}" + (f" of {self.leaf}" if self.leaf else "")


def places(tx: Any, params: PyTree) -> PyTree:
    """The places in the state of a transformation, in the structure of that state.

    Args:
        tx: the transformation; one of Optax's has one place owner, `foreign`.
        params: the parameters, or their shapes and dtypes. No array is made.

    Raises:
        TypeError: `tx` is not a transformation.
    """
    tx = as_transformation("places", "tx", tx)
    found: list[PyTree] = []

    def init(params: PyTree) -> PyTree:
        with init_calls() as calls:
            state = tx.init(params)
        found.append(_named(calls[-1], state))
        return state

    jax.eval_shape(init, params)
    return found[-1]


def own_leaves(call: InitCall) -> Iterator[tuple[str, str, Any]]:
    """(field, the parameter's path, leaf) of what a transformation keeps itself, and none of its parts."""
    of_params = set(leaf_names(call.params))
    parts = [made.state for made in call.inner if is_there(call, made)]
    theirs = collections.Counter(id(leaf) for leaf in jax.tree.leaves(parts))
    for path, leaf in jax.tree_util.tree_leaves_with_path(call.state):
        if theirs[id(leaf)] > 0:
            theirs[id(leaf)] -= 1
            continue
        at = next((i for i, key in enumerate(path) if isinstance(key, _NAMED)), None)
        field = "state" if at is None else str(getattr(path[at], "name", None) or path[at].key)
        rest = name(path if at is None else path[at + 1 :])
        mirrors = rest in of_params
        yield field if mirrors or not rest else f"{field}.{rest}", rest if mirrors else "", leaf


def is_there(call: InitCall, made: InitCall) -> bool:
    """Whether the leaves that a part made are those in the state around it.

    Under vmap they are others, and count for its holder.
    """
    mine = {id(leaf) for leaf in jax.tree.leaves(call.state)}
    return all(id(leaf) in mine for leaf in jax.tree.leaves(made.state))


def _named(call: InitCall, state: PyTree) -> PyTree:
    owners = list(_owners(call, ()))
    count = collections.Counter(way for way, _ in owners)
    seen: collections.Counter[str] = collections.Counter()
    at: dict[int, list[Place]] = {}
    for way, owner in owners:
        own = f"{way}[{seen[way]}]" if count[way] > 1 else way
        seen[way] += 1
        for field, leaf_name, leaf in own_leaves(owner):
            at.setdefault(id(leaf), []).append(Place(own, field, leaf_name))
    leaves, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, [at[id(leaf)].pop(0) for leaf in leaves])


def _owners(call: InitCall, way: tuple[str, ...]) -> Iterator[tuple[str, InitCall]]:
    """Every call of `init` that made something of its own, and the name of the transformation."""
    if any(True for _ in own_leaves(call)):
        looked_up = isinstance(call.state, HyperparamsState)
        yield ".".join([*way, "hyperparams" if looked_up else type(call.tx).__name__]), call
    for made in call.inner:
        if is_there(call, made):
            yield from _owners(made, _way(call, made, way))


def _way(call: InitCall, made: InitCall, way: tuple[str, ...]) -> tuple[str, ...]:
    if len(call.inner) == 1 or isinstance(call.state, HyperparamsState):
        return way
    label = label_in(call.tx, made.tx)
    return way if label.startswith("part ") or label == "a part" else (*way, label)
