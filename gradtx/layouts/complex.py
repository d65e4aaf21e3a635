"""Transformations that see the parameters in another form: in flat buffers, in real and imaginary parts,
with extra arguments that they do not read.

Source: none (a way to lay out parameters; what sees them has its own source).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.tree.standins import RealAndImaginary

__all__ = ["split_real_and_imaginary"]


class SplitRealAndImaginaryState(NamedTuple):
    inner: PyTree


class split_real_and_imaginary(
    GradientTransformation,
    reach=LEAF,  # seen from outside, both parts are of one leaf
):
    """`inner` over the real and the imaginary parts of complex leaves, as if they were two real leaves.

    The gradient that `jax.grad` gives for a complex parameter is the conjugate of the direction of
    steepest ascent: conjugate it before the update.

    Args:
        inner: the transformation. Real leaves are handed to it as they are.
    """

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
        out, inner = self.inner.update(_split(updates), state.inner, mine, **extra)
        whole = jax.tree.map(
            lambda x: jax.lax.complex(x.real, x.imaginary) if _is_pair(x) else x, out, is_leaf=_is_pair
        )
        return whole, SplitRealAndImaginaryState(inner)


def _is_pair(x: Any) -> bool:
    return isinstance(x, RealAndImaginary)


def _split(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: RealAndImaginary(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree)
