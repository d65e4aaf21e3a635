"""What a transformation is made of, and what follows from it: the extra arguments that it reads, and
how far an entry of the tree reaches, whether there are schedules to look up.

Answers are remembered: by the transformation itself, or where its numbers are arrays, by its structure.
"""

from __future__ import annotations

import enum
import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from gradtx.hyperparameters import Adaptive, Schedule
from gradtx.masks import selects
from gradtx.value import Value, nearest

__all__ = [
    "FUNCTIONS",
    "Extra",
    "Reach",
    "arguments_of",
    "check_extra",
    "extra_names",
    "follows",
    "has_arrays",
    "inside",
    "is_leafwise",
    "is_transformation",
    "keywords",
    "names_leaves",
    "own_arguments",
    "reach_of",
    "read_by",
    "remembered",
    "remembered_by_value",
    "reports",
    "takes_examples",
]


class Reach(enum.Flag):
    """What else, besides the same entry of its arguments and scalars, an entry of a result depends on.

    It says what may be done with a transformation: one that stays within a leaf is traced once per
    shape; one that does not ask how entries are divided into leaves may run on a packed buffer.
    """

    ENTRY = 0  # nothing: Adam
    LEAF = 1  # which entries make up its leaf, and their shape: a trust ratio
    OTHERS = 2  # entries of other leaves, however they are divided into leaves: a clip by the global norm
    TREE = 3  # both


FUNCTIONS = frozenset({"value_fn", "obj_fn", "grad_fn", "sampled_obj_fn"})
"""Extra arguments that are functions of the parameters."""
WELL_KNOWN = frozenset({"value", "grad", "value_fn", "obj_fn", "grad_fn", "loss"})
"""Extra arguments that are accepted even if nobody reads them, so that one loop serves all."""


@functools.lru_cache(maxsize=1024)
def _remember(f: Callable[[Any], Any], tx: Any) -> Any:
    return f(tx)


_by_structure: dict[tuple[Any, Any], Any] = {}


def has_arrays(tx: Any) -> bool:
    """Whether numbers of `tx` are arrays: traced, or looked up."""
    return any(isinstance(x, jax.Array) for x in jax.tree.leaves(tx))


def remembered(f: Callable[[Any], Any], tx: Any) -> Any:
    """f(tx), remembered; `f` must not ask what a number in an array is."""
    if not has_arrays(tx):
        return remembered_by_value(f, tx)
    key = f, jax.tree.structure(tx)
    try:
        return _by_structure[key]
    except KeyError:  # not `in` and then a look: another thread may clear it in between
        answer = f(tx)
    if len(_by_structure) >= 1024:
        _by_structure.clear()
    _by_structure[key] = answer
    return answer


def remembered_by_value(f: Callable[[Any], Any], tx: Any) -> Any:
    """f(tx), remembered unless numbers of `tx` are arrays, or it can't be hashed."""
    try:
        if has_arrays(tx):
            return f(tx)
        hash(tx)
    except TypeError:
        return f(tx)
    return _remember(f, tx)


def is_transformation(x: Any) -> bool:
    """Whether `x` is one of gradtx's transformations: they are defined a floor above."""
    return isinstance(x, Value) and hasattr(type(x), "made_of")


def inside(tx: Any, is_leaf: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`is_leaf`, for what runs by the clock of `tx`: what has a clock of its own is a leaf."""

    def leaf(x: Any) -> bool:
        other_clock = x is not tx and is_transformation(x) and (tx.own_clock or x.own_clock)
        return other_clock or is_leaf(x)

    return leaf


def follows(tx: Any) -> bool:
    """Whether there are schedules in `tx` that it has to look up at every update."""
    return remembered(_follows, tx)


def _follows(tx: Any) -> bool:
    nodes = jax.tree.leaves(tx, is_leaf=inside(tx, lambda x: isinstance(x, Schedule)))
    return any(isinstance(x, Schedule) for x in nodes)


def takes_examples(tx: Any) -> bool:
    """Whether `tx` is given gradients of single examples, with a leading axis that its updates lose."""
    return remembered(_takes_examples, tx)


def _takes_examples(tx: Any) -> bool:
    return tx.per_example


def reports(level: Adaptive) -> list[str]:
    """The extra arguments that a level follows."""
    return list(keywords(type(level).follow)[0])


def keywords(update: Callable[..., Any]) -> tuple[dict[str, bool], bool]:
    """Keyword-only names that `update` reads (and whether it needs each); whether it takes any."""
    parameters = inspect.signature(update).parameters.values()
    named = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def own_arguments(function: Callable[..., Any]) -> tuple[dict[str, bool], bool]:
    """What a function of the parameters takes by name besides them (and whether it needs each); whether any.

    A function that does not tell its signature takes any.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}, True
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    skip = 1 if parameters and parameters[0].kind is not inspect.Parameter.KEYWORD_ONLY else 0
    named = {p.name: p.default is p.empty for p in parameters[skip:] if p.kind in kinds}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def arguments_of(function: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Of the extra arguments, those that are for a function among them."""
    named, takes_all = own_arguments(function)
    return {n: v for n, v in extra.items() if n in named or (takes_all and n not in WELL_KNOWN)}


class Extra(NamedTuple):
    """The extra arguments that a transformation, or anything in it, reads."""

    needed: dict[str, str]  # name: by whom
    optional: frozenset[str]
    open_ended: bool  # a foreign part takes any name
    functions: dict[str, str]  # name of a function whose own arguments may be given too: by whom it is read


def extra_names(tx: Any) -> Extra:
    """The extra arguments that `tx` reads, and all that it is made of."""
    return remembered(_extra_names, tx)


def _extra_names(tx: Any) -> Extra:
    named, _ = keywords(inspect.unwrap(type(tx).update))
    needed = {n: type(tx).__name__ for n, must in named.items() if must}
    optional = frozenset(n for n, must in named.items() if not must)
    open_ended, functions = tx.takes_any_extra, dict.fromkeys(tx.passes_on, type(tx).__name__)
    for level in jax.tree.leaves(tx, is_leaf=inside(tx, lambda x: isinstance(x, Adaptive))):
        if isinstance(level, Adaptive):
            needed = dict.fromkeys(reports(level), type(level).__name__) | needed
    for more in map(extra_names, tx.made_of()):
        needed = more.needed | needed
        optional |= more.optional
        open_ended |= more.open_ended
        functions = more.functions | functions
    return Extra(needed, optional, open_ended, functions)


def read_by(tx: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """Of the extra arguments, those that `tx` or anything in it reads."""
    if not extra:
        return extra
    needed, optional, open_ended, functions = extra_names(tx)
    if open_ended:
        return extra
    passed_on = {n for f in functions if f in extra for n in arguments_of(extra[f], extra)}
    return {n: v for n, v in extra.items() if n in needed or n in optional or n in passed_on}


def check_extra(tx: Any, extra: dict[str, Any]) -> None:
    """Raise TypeError where `tx` needs an extra argument that is not there, or nobody reads one."""
    needed, optional, open_ended, functions = extra_names(tx)
    if not extra and not needed:
        return
    name = type(tx).__name__
    for missing in needed.keys() - extra.keys():
        raise TypeError(
            f"{name}: {needed[missing]} needs the extra argument {missing!r}: call "
            f"update(updates, state, params, {missing}=...)."
        )
    known = needed.keys() | optional | WELL_KNOWN
    for function in functions.keys() & extra.keys():
        named, takes_all = own_arguments(extra[function])
        for missing in (n for n, must in named.items() if must and n not in extra):
            raise TypeError(
                f"{name}: {function}, which {functions[function]} calls, needs the argument {missing!r}: "
                f"call update(updates, state, params, {missing}=...), or bind it."
            )
        known, open_ended = known | named.keys(), open_ended or takes_all
    for unknown in extra.keys() - known:
        if not open_ended:
            raise TypeError(
                f"{name}: nothing here reads the extra argument {unknown!r}.{nearest(unknown, known)} "
                f"Read here: {', '.join(sorted(needed.keys() | optional)) or 'none'}."
            )


def reach_of(tx: Any) -> Reach:
    """How far `tx` reaches, with all that it is made of."""
    return remembered(_reach_of, tx)


def _reach_of(tx: Any) -> Reach:
    return functools.reduce(operator.or_, map(reach_of, tx.made_of()), type(tx).reach)


def names_leaves(tx: Any) -> bool:
    """Whether `tx`, or anything in it, has a mask or labels: it asks which leaf it is given."""
    return remembered(_names_leaves, tx)


def _names_leaves(tx: Any) -> bool:
    return selects(tx) or any(map(names_leaves, tx.made_of()))


def is_leafwise(tx: Any) -> bool:
    """Whether a leaf's update depends on that leaf alone, whichever it is, and on no extra argument."""
    return remembered(_is_leafwise, tx)


def _is_leafwise(tx: Any) -> bool:
    reads = extra_names(tx)
    alone = not reads.needed and not reads.optional and not names_leaves(tx)
    return alone and Reach.OTHERS not in reach_of(tx)
