"""Matrices to one transformation, all other leaves to another."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradtx.combine import masked
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.matrices.axes import Axes, axes_of, only_two
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["for_matrices"]


class ForMatricesState(NamedTuple):
    matrices: PyTree  # the state of the one, for the matrices only
    others: PyTree  # the state of the other, for all else


class for_matrices(GradientTransformation, reach=LEAF):
    """A `partition` by shape: matrices go to one transformation, all other leaves to another.

    It asks a leaf for its axes, so that in `per_layer` a stack of matrices is a matrix for each layer,
    and a stack of vectors is not.

    Source: none (a choice of leaves, not a method of optimization).

    Args:
        matrices: for the matrices.
        others: for all else.
        weight_dimension_numbers: which leaves are matrices: see `matrix_axes`. None is those with two axes.
    """

    matrices: GradientTransformation
    others: GradientTransformation
    weight_dimension_numbers: Axes | None = static(default=None)

    def _parts(self, tree: PyTree) -> tuple[masked, masked]:
        found = [axes is not None for axes in axes_of(self.weight_dimension_numbers, tree, only_two)]
        structure = jax.tree.structure(tree)
        mine = jax.tree.unflatten(structure, found)
        rest = jax.tree.unflatten(structure, [not x for x in found])
        return masked(self.matrices, mine), masked(self.others, rest)

    def init(self, params: PyTree) -> ForMatricesState:
        return ForMatricesState(*(part.init(params) for part in self._parts(params)))

    def update(
        self, updates: PyTree, state: ForMatricesState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ForMatricesState]:
        after = []
        for part, old in zip(self._parts(updates), state, strict=True):
            updates, new = part.update(updates, old, params, **extra)
            after.append(new)
        return updates, ForMatricesState(*after)
