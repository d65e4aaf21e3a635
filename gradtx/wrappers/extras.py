"""Transformations that accept extra arguments which they do not read.

Source: none (a convenience for callers, not a method of optimization).
"""

from __future__ import annotations

from typing import Any

from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree

__all__ = ["with_extra_args_support"]


class with_extra_args_support(GradientTransformation, reach=ENTRY, takes_any_extra=True):
    """`tx`, with any extra argument accepted: what nobody in it reads is left out.

    Elsewhere an extra argument that nobody reads is refused, because it may be a typing error.

    Args:
        tx: the transformation.
    """

    tx: GradientTransformation

    @property
    def per_example(self) -> bool:
        """Whether `tx` takes gradients of single examples."""
        return self.tx.per_example

    def init(self, params: PyTree) -> PyTree:
        return self.tx.init(params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        return self.tx.update(updates, state, params, **extra)
