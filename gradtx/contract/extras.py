"""Extra arguments of `update`: who reads which, and what is wrong with those that were given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax

from gradtx.contract.clock import inside
from gradtx.contract.protocol import Extras, Transformation
from gradtx.schedules.schedule import Adaptive
from gradtx.tree import PyTree
from gradtx.values.value import per_class
from gradtx.values.wording import nearest

__all__ = [
    "FUNCTIONS",
    "Extra",
    "arguments_of",
    "check_extra",
    "find_extra",
    "keywords",
    "own_arguments",
    "read_by_class",
    "read_of",
    "reports",
]

FUNCTIONS = frozenset({"value_fn", "obj_fn", "grad_fn", "sampled_obj_fn"})
"""Extra arguments that are functions of the parameters."""

WELL_KNOWN = frozenset({"value", "grad", "value_fn", "obj_fn", "grad_fn", "loss"})
"""Extra arguments that are accepted even if nobody reads them, so that one loop serves all."""


def reports(level: Adaptive) -> list[str]:
    """The extra arguments that a level follows."""
    return list(keywords(type(level).follow)[0])


def keywords(update: Callable[..., PyTree]) -> tuple[dict[str, bool], bool]:
    """Keyword-only names that `update` reads (and whether it needs each); whether it takes any."""
    parameters = inspect.signature(update).parameters.values()
    named = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


@per_class
def read_by_class(cls: type[Transformation]) -> tuple[dict[str, bool], bool]:
    """`keywords` of a class's own `update`."""
    return keywords(inspect.unwrap(cls.update))


def own_arguments(function: Callable[..., PyTree]) -> tuple[dict[str, bool], bool]:
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


def arguments_of(function: Callable[..., PyTree], extra: Extras) -> Extras:
    """The extra arguments that are meant for a function among them."""
    named, takes_all = own_arguments(function)
    return {n: v for n, v in extra.items() if n in named or (takes_all and n not in WELL_KNOWN)}


class Extra(NamedTuple):
    """The extra arguments that a transformation, or anything in it, reads."""

    needed: dict[str, str]  # name: by whom
    optional: frozenset[str]
    open_ended: bool  # a foreign part takes any name
    functions: dict[str, str]  # name of a function whose own arguments may be given too: by whom it is read


def find_extra(tx: Transformation, parts: Iterable[Extra]) -> Extra:
    """The extra arguments that `tx` reads, given those that its parts read."""
    named, _ = read_by_class(type(tx))
    needed = {n: type(tx).__name__ for n, must in named.items() if must}
    optional = frozenset(n for n, must in named.items() if not must)
    open_ended, functions = tx.takes_any_extra, dict.fromkeys(tx.passes_on, type(tx).__name__)
    for level in jax.tree.leaves(tx, is_leaf=inside(tx, lambda x: isinstance(x, Adaptive))):
        if isinstance(level, Adaptive):
            needed = dict.fromkeys(reports(level), type(level).__name__) | needed
    for more in parts:
        needed = more.needed | needed
        optional |= more.optional
        open_ended |= more.open_ended
        functions = more.functions | functions
    return Extra(needed, optional, open_ended, functions)


def read_of(reads: Extra, extra: Extras) -> Extras:
    """The extra arguments that are read, of those given."""
    needed, optional, open_ended, functions = reads
    if open_ended:
        return extra
    passed_on = {n for f in functions if f in extra for n in arguments_of(extra[f], extra)}
    return {n: v for n, v in extra.items() if n in needed or n in optional or n in passed_on}


def check_extra(name: str, reads: Extra, extra: Extras) -> None:
    """Raise TypeError where an extra argument is needed and not there, or is there and nobody reads it.

    Args:
        name: the transformation that is called, for the message.
        reads: what it reads.
        extra: what it was given.
    """
    needed, optional, open_ended, functions = reads
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
