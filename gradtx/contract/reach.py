"""What a transformation is made of, and what follows from it: the extra arguments that it reads, and
how far an entry of the tree reaches, whether there are schedules to look up.

Answers are remembered: by the transformation itself, or where its numbers are arrays, by its structure.
"""

from __future__ import annotations

import enum
import functools
import operator
from typing import Any

from gradtx.contract.extras import extra_names
from gradtx.contract.memo import remembered
from gradtx.rules.masks import selects

__all__ = [
    "ENTRY",
    "LEAF",
    "OTHERS",
    "TREE",
    "Reach",
    "is_leafwise",
    "names_leaves",
    "reach_of",
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


ENTRY, LEAF, OTHERS, TREE = Reach.ENTRY, Reach.LEAF, Reach.OTHERS, Reach.TREE


def takes_examples(tx: Any) -> bool:
    """Whether `tx` is given gradients of single examples, with a leading axis that its updates lose."""
    return remembered(_takes_examples, tx)


def _takes_examples(tx: Any) -> bool:
    return tx.per_example


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
