"""What arrives at the outermost call, made to fit: parameters that no update touches, integers beside them.

- The parameters are reduced to the places where the updates have leaves: None or a `MaskedNode` in the
  updates says that nothing of what stands there in the parameters, a function perhaps, is looked at.
- Leaves of integers, booleans or random keys have no gradient. A transformation that tells leaves apart by a
  mask or labels never sees them: a `MaskedNode` stands in their places, in `init` and in `update`, and what
  arrived there comes back as it is. Every other transformation refuses them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.contract.extras import FUNCTIONS
from gradtx.contract.mirror import flat
from gradtx.contract.protocol import Extras, Transformation
from gradtx.rules.by_path import select
from gradtx.rules.masks import rules_of
from gradtx.tree import MismatchError, PyTree
from gradtx.tree.standins import MaskedNode
from gradtx.tree.updates import has_no_gradient
from gradtx.values.value import Value, kept

__all__ = ["Arrived", "arrive", "without_integers"]

_DTYPE = operator.attrgetter("dtype")
_FLOATS = frozenset(map(jnp.dtype, (jnp.float32, jnp.float64, jnp.bfloat16, jnp.float16)))


class Arrived(NamedTuple):
    """The arguments of an update as the transformation sees them."""

    updates: PyTree
    params: PyTree | None
    extra: Extras
    back: Callable[[PyTree], PyTree] | None  # the updates that come out, with what was left out; None: as is


def arrive(
    tx: Transformation, updates: PyTree, params: PyTree | None, extra: Extras, by_name: bool
) -> Arrived:
    """The arguments of an update, reduced to what it touches.

    Args:
        tx: the transformation.
        updates: as they were given.
        params: as they were given, or None.
        extra: extra arguments; `grad`, and functions of the parameters, are fitted to the rest.
        by_name: whether the transformation tells leaves apart, and so keeps integers out.
    """
    if params is None:
        if not by_name or (_floating(jax.tree.leaves(updates)) and not _places(tx)):
            return Arrived(updates, None, extra, None)
    else:
        mine, structure = flat(updates)
        theirs, other = flat(params)
        same: Any = structure == other
        if same and (not by_name or (_floating(mine) and _floating(theirs))):
            return Arrived(updates, params, extra, None)
    places, structure = flat(updates, is_leaf=_is_hole)
    if updates is None and params is not None:  # nothing to update, which is not nothing to read
        return _arrived(structure, places, [MaskedNode()], [params], [MaskedNode()], extra)
    if params is None:
        of: list[Any] = [None] * len(places)
        out = next((p.out for p in _places(tx) if p.structure == structure), of)
        seen = [
            MaskedNode() if left or has_no_gradient(u) else u for u, left in zip(places, out, strict=True)
        ]
        return _arrived(structure, places, seen, of, None, extra)
    try:
        of = structure.flatten_up_to(params)
    except ValueError:
        return Arrived(updates, params, extra, None)  # check_like says where they differ
    seen, kept_params = [], []
    for u, p in zip(places, of, strict=True):
        if by_name and has_no_gradient(p):
            seen.append(MaskedNode())
            kept_params.append(MaskedNode())
        elif _is_hole(u):
            seen.append(u)
            kept_params.append(p if not jax.tree.leaves(p) else u)
        else:
            seen.append(u)
            kept_params.append(p)
    return _arrived(structure, places, seen, of, kept_params, extra)


def _arrived(
    structure: Any, places: list[Any], seen: list[Any], of: list[Any], params: list[Any] | None, extra: Extras
) -> Arrived:
    """What is seen of the updates and the parameters, given leaf by leaf."""
    changed = any(a is not b for a, b in zip(seen, places, strict=True))

    def back(out: PyTree) -> PyTree:
        """The updates that came out, with what had been left out."""
        new = iter(structure.flatten_up_to(out))
        return structure.unflatten(
            [g if a is not g else x for g, a, x in zip(places, seen, new, strict=True)]
        )

    def whole(some: PyTree) -> PyTree:
        """Such parameters, with those that were left out."""
        assert params is not None
        mine = structure.flatten_up_to(some)
        return structure.unflatten([x if a is p else p for x, a, p in zip(mine, params, of, strict=True)])

    def reduced(given: PyTree) -> PyTree:
        """A tree like the updates, without what was left out."""
        try:
            entries = structure.flatten_up_to(given)
        except ValueError:
            return given
        return structure.unflatten([a if _is_hole(a) else x for a, x in zip(seen, entries, strict=True)])

    def fitted(name: str, given: Any) -> Any:
        if name == "grad":
            return reduced(given)
        if name not in FUNCTIONS or params is None:
            return given

        @functools.wraps(given)  # its signature too
        def of_seen(some: PyTree, *args: Any, **kwargs: Any) -> Any:
            out = given(whole(some), *args, **kwargs)
            return reduced(out) if name == "grad_fn" else out

        return of_seen

    return Arrived(
        structure.unflatten(seen),
        None if params is None else structure.unflatten(params),
        {name: fitted(name, given) for name, given in extra.items()},
        back if changed else None,
    )


def _is_hole(x: object) -> bool:
    return x is None or type(x).__name__ == "MaskedNode"  # Optax's too


def _floating(leaves: list[Any]) -> bool:
    """Whether all leaves are arrays of real numbers, seen without a call of Python's for each."""
    try:
        return _FLOATS.issuperset(map(_DTYPE, leaves))
    except (AttributeError, TypeError):
        return False


def without_integers(tx: Transformation, params: PyTree) -> PyTree:
    """The parameters that a transformation with a mask or labels sees; it remembers what it does not see.

    Where masks choose leaves, a leaf without a gradient that every mask has chosen is left in, so that
    whoever wants to keep a state for it refuses it.
    """
    leaves, structure = flat(params)
    if _floating(leaves) or not any(map(has_no_gradient, leaves)):
        return params
    chosen = [True] * len(leaves)
    for rule, is_mask in _rules_in(tx):
        if not is_mask:
            chosen = [False] * len(leaves)
            continue
        try:
            answers = jax.tree.leaves(select(rule, params))
        except MismatchError:  # of a part that is given other trees
            continue
        chosen = [a and bool(b) for a, b in zip(chosen, answers, strict=True)]
    out = [has_no_gradient(x) and not c for x, c in zip(leaves, chosen, strict=True)]
    held = iter(out)
    every, whole = flat(params, is_leaf=_is_hole)
    places = _Places(whole, [False if _is_hole(x) else next(held) for x in every])
    if places not in _places(tx):
        _places(tx).append(places)
        del _places(tx)[:-_MOST]
    return structure.unflatten([MaskedNode() if o else x for x, o in zip(leaves, out, strict=True)])


class _Places(NamedTuple):
    """Where a tree has leaves without a gradient; None counts as a leaf."""

    structure: Any
    out: list[bool]


_MOST = 16  # kinds of parameters that a transformation remembers: one is usual


def _no_places(tx: Value) -> list[_Places]:
    return []


def _places(tx: Transformation) -> list[_Places]:
    """Where `init` has left leaves out: an update without the parameters does not see them by itself."""
    value: Any = tx
    return kept(_no_places, value)


def _rules_in(tx: Transformation) -> Iterator[tuple[Any, bool]]:
    """The masks and labels in a transformation, and whether each is a mask."""
    value: Any = tx
    yield from rules_of(value)
    for part in tx.made_of():
        yield from _rules_in(part)
