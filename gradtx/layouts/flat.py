"""A transformation over flat buffers.

Source: none (a way to lay out parameters; what sees them has its own source).
"""

from __future__ import annotations

from typing import Any

import jax

from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.layouts.buffers import packing
from gradtx.tree import MismatchError, PyTree

__all__ = ["flatten"]


class flatten(GradientTransformation):
    """`inner` over flat buffers: all leaves of a dtype in one.

    Each step copies gradients and parameters into the buffers; parameters that stay packed,
    `gradtx.packing`, need no copies. What asks for a leaf as a whole, such as a trust ratio or a mask,
    is given the buffer; with `gradtx.packed` it is given the leaves.

    Updates keep their dtypes, where Optax makes one buffer of all. The parameters' dtypes say what lies
    together; leaves that are all of one wide dtype need none.

    Args:
        inner: the transformation. Extra arguments are handed on as they are.

    Raises:
        ValueError: update is called without the parameters where their dtypes differ or are narrow.
    """

    inner: GradientTransformation

    def init(self, params: PyTree) -> PyTree:
        return self.inner.init(packing(params).pack(params) if jax.tree.leaves(params) else params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        mine = extra
        if not jax.tree.leaves(updates):
            return self.inner.update(updates, state, params, **mine)
        layout = packing(updates if params is None else params)
        packed = None if params is None else layout.pack(params)
        try:
            out, after = self.inner.update(layout.pack(updates), state, packed, **mine)
        except MismatchError:
            if params is None:
                need_params(self, params)
            raise
        return layout.unpack(out), after
