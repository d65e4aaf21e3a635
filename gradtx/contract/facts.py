"""Facts about a transformation, found out once and kept on it: its parts, its reach, its extra arguments.

facts(adamw(1e-3)).leafwise                     True
facts(adamw(cosine)).follows                    True: it has a schedule to look up
facts(polyak_sgd()).extras.needed               {'value': 'scale_by_polyak'}
"""

from __future__ import annotations

import builtins
import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

from gradtx.contract.clock import follows
from gradtx.contract.extras import Extra, find_extra, read_by_class, read_of
from gradtx.contract.protocol import Extras, Transformation
from gradtx.contract.reach import OTHERS, Reach
from gradtx.rules.masks import selects
from gradtx.tree import PyTree
from gradtx.values.value import kept, per_class

__all__ = ["Facts", "facts", "read_by", "state_class"]


class Facts:
    """All that a call of `update` asks about a transformation."""

    __slots__ = (
        "extras", "follows", "leafwise", "names_leaves", "parts", "reach", "reads", "run", "runs", "state",
        "takes_all", "takes_examples",
    )  # fmt: skip

    parts: tuple[Transformation, ...]
    reach: Reach  # its own and that of its parts
    extras: Extra  # the extra arguments that it or a part of it reads
    follows: bool  # whether it has schedules to look up at every update
    takes_examples: bool  # whether it is given gradients of single examples
    names_leaves: bool  # whether it has a mask or labels: it asks which leaf it is given
    leafwise: bool  # whether a leaf's update depends on that leaf alone, and on no extra argument
    runs: Transformation  # what runs in its place: of composites, what they expand to in the end
    run: Callable[..., tuple[PyTree, PyTree]]  # the `update` of that, without what surrounds it
    reads: dict[str, bool]  # the extra arguments that this `update` names, and whether it needs each
    takes_all: bool  # whether it takes any
    state: type | None  # the class of its state, where one can be checked

    def __init__(self, tx: Transformation) -> None:
        self.parts = tuple(tx.made_of())
        held = [facts(part) for part in self.parts]
        self.reach = functools.reduce(operator.or_, (of.reach for of in held), type(tx).reach)
        self.extras = find_extra(tx, (of.extras for of in held))
        self.follows = follows(tx)
        self.takes_examples = tx.per_example
        self.names_leaves = selects(tx) or any(of.names_leaves for of in held)  # type: ignore[arg-type]
        alone = not self.extras.needed and not self.extras.optional and not self.names_leaves
        self.leafwise = alone and OTHERS not in self.reach
        # A composite may make schedules that are not among its own fields; its expansion looks those up.
        expands = tx.is_composite and not held[0].follows
        self.runs = held[0].runs if expands else tx
        if expands:
            self.parts = held[0].parts
        self.run = inspect.unwrap(type(self.runs).update)
        self.reads, self.takes_all = read_by_class(type(self.runs))
        self.state = state_class(type(self.runs))

    def own(self, extra: Extras) -> Extras:
        """The extra arguments that the `update` which runs takes by name."""
        return extra if self.takes_all else {n: v for n, v in extra.items() if n in self.reads}


def facts(tx: Transformation) -> Facts:
    """The facts about a transformation, found out when they are first asked for."""
    return kept(Facts, tx)  # type: ignore[arg-type]


def read_by(tx: Transformation, extra: Extras) -> Extras:
    """The extra arguments that `tx` or a part of it reads, of those given."""
    return read_of(facts(tx).extras, extra) if extra else extra


@per_class
def state_class(cls: type[Any]) -> type | None:
    """The class that `init` is annotated to return, where it is one that can be checked."""
    annotation = inspect.signature(inspect.unwrap(cls.init)).return_annotation
    if isinstance(annotation, str):
        scope, name = inspect.unwrap(cls.init).__globals__, annotation.partition("[")[0]  # tuple[Any, ...]
        annotation = scope.get(name, getattr(builtins, name, None))
    unknown = annotation is Any or annotation is inspect.Signature.empty
    return annotation if isinstance(annotation, type) and not unknown else None
