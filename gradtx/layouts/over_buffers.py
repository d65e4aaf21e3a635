"""Transformations over packed parameters: most walk the buffers, some need the leaves that lie in them.

Source: none (a way to lay out parameters; what walks them has its own source).
"""

from __future__ import annotations

from typing import Annotated, Any

import jax

from gradtx.contract.facts import facts
from gradtx.contract.reach import Reach
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.layouts.buffers import packing
from gradtx.layouts.rebuilt import rebuilt
from gradtx.rules.masks import selects
from gradtx.tree import PyTree
from gradtx.values.value import static
from gradtx.values.wording import shown

__all__ = ["packed", "unpacked"]


class _Packing:
    """A field that holds a packing."""

    def accept(self, owner: str, name: str, value: Any) -> packing:
        if isinstance(value, packing):
            return value
        raise TypeError(f"{owner}: {name} must be a packing, gradtx.packing(params), not {shown(value)}.")


Layout = Annotated[packing, _Packing()]


class packed(Composite):
    """`inner` over packed parameters, with the results that it has over the leaves themselves.

    What acts on entries, or on all of them together, walks the buffers: one pass, however many leaves
    there are. What asks for a leaf's norm, shape or path sees views, and is `unpacked`:
    `print(packed(tx, layout).expand())` shows which. Adam, Lion or a clip by the global norm need no
    `packed` at all: `tx.init(layout.pack(params))` is right as it is.

    Args:
        inner: the transformation; its masks speak of the leaves.
        layout: how the leaves lie in the buffers.

    Examples:
        >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        >>> layout = gradtx.packing(params)
        >>> tx = gradtx.packed(gradtx.trace(0.9), layout)
        >>> jax.tree.map(jnp.shape, tx.init(layout.pack(params)))
        TraceState(velocity={'float32': (9,)})
    """

    inner: GradientTransformation
    layout: Layout = static()

    def expand(self) -> GradientTransformation:
        def view(part: GradientTransformation) -> GradientTransformation:
            needs_leaves = Reach.LEAF in facts(part).reach or facts(part).names_leaves
            return unpacked(part, self.layout) if needs_leaves else part

        return rebuilt(self.inner, view, whole=selects, again=lambda tx: self.replace(inner=tx))


class unpacked(GradientTransformation):
    """`inner` on views of the leaves; its updates are packed again. Its state is kept by leaf.

    Args:
        inner: the transformation.
        layout: how the leaves lie in the buffers.
    """

    inner: GradientTransformation
    layout: Layout = static()

    def init(self, params: PyTree) -> PyTree:
        return self.inner.init(self.layout.unpack(params) if jax.tree.leaves(params) else params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        if not jax.tree.leaves(updates):
            return self.inner.update(updates, state, params, **extra)
        views = None if params is None else self.layout.unpack(params)
        out, after = self.inner.update(self.layout.unpack(updates), state, views, **extra)
        return self.layout.pack(out), after
