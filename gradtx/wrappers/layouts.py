"""Transformations that see the parameters in another form: in flat buffers, in real and imaginary parts,
with extra arguments that they do not read.

Folklore: a way to lay out parameters; what sees them has its own source.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.anatomy import Reach, read_by
from gradtx.packing import packing
from gradtx.transformation import GradientTransformation, need_params
from gradtx.tree import MismatchError, PyTree

__all__ = ["RealAndImaginary", "flatten", "split_real_and_imaginary", "with_extra_args_support"]


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
        mine = read_by(self.inner, extra)
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


class RealAndImaginary(NamedTuple):
    """What stands in the place of a complex leaf."""

    real: jax.Array
    imaginary: jax.Array


class SplitRealAndImaginaryState(NamedTuple):
    inner: PyTree


class split_real_and_imaginary(GradientTransformation):
    """`inner` over the real and the imaginary parts of complex leaves, as if they were two real leaves.

    The gradient that `jax.grad` gives for a complex parameter is the conjugate of the direction of
    steepest ascent: conjugate it before the update.

    Args:
        inner: the transformation. Real leaves are handed to it as they are.
    """

    reach: ClassVar[Reach] = Reach.LEAF  # seen from outside, both parts are of one leaf
    inner: GradientTransformation

    def init(self, params: PyTree) -> SplitRealAndImaginaryState:
        return SplitRealAndImaginaryState(self.inner.init(_split(params)))

    def update(
        self,
        updates: PyTree,
        state: SplitRealAndImaginaryState,
        params: PyTree | None = None,
        **extra: Any,
    ) -> tuple[PyTree, SplitRealAndImaginaryState]:
        mine = None if params is None else _split(params)
        out, inner = self.inner.update(_split(updates), state.inner, mine, **read_by(self.inner, extra))
        whole = jax.tree.map(
            lambda x: jax.lax.complex(x.real, x.imaginary) if _is_pair(x) else x, out, is_leaf=_is_pair
        )
        return whole, SplitRealAndImaginaryState(inner)


def _is_pair(x: Any) -> bool:
    return isinstance(x, RealAndImaginary)


def _split(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: RealAndImaginary(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree)


class with_extra_args_support(GradientTransformation):
    """`tx`, with any extra argument accepted: what nobody in it reads is left out.

    Elsewhere an extra argument that nobody reads is refused, because it may be a typing error.

    Args:
        tx: the transformation.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    takes_any_extra: ClassVar[bool] = True
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
        return self.tx.update(updates, state, params, **read_by(self.tx, extra))
