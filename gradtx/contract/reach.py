"""How far a transformation reaches: what else, besides the same entry, an entry of its result depends on."""

from __future__ import annotations

import enum

__all__ = ["ENTRY", "LEAF", "OTHERS", "TREE", "Reach"]


class Reach(enum.Flag):
    """How far a result's entry depends on others than the same entry of its arguments, and scalars.

    It says what may be done with a transformation: one that stays within a leaf is traced once per
    shape; one that does not ask how entries are divided into leaves may run on a packed buffer.
    """

    ENTRY = 0  # nothing: Adam
    LEAF = 1  # which entries make up its leaf, and their shape: a trust ratio
    OTHERS = 2  # entries of other leaves, however they are divided into leaves: a clip by the global norm
    TREE = 3  # both


ENTRY, LEAF, OTHERS, TREE = Reach.ENTRY, Reach.LEAF, Reach.OTHERS, Reach.TREE
