"""Stacked layers: leaves with a leading axis of layers, each layer treated as a leaf of its own.

A scanned model keeps one array of shape (layers, ...) where an unrolled one has a leaf per layer.
A trust ratio, a clip by block or a factored moment that takes such an array for one leaf mixes the
layers. `per_layer` says which leaves are stacked; the result is that of the unrolled model.

Source: none (a way to lay out parameters; each layer is treated as its own source says).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gradtx.contract.facts import facts
from gradtx.contract.mirror import mirror_of
from gradtx.contract.reach import LEAF, Reach
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.layouts.rebuilt import rebuilt
from gradtx.rules.by_path import select
from gradtx.rules.masks import Mask
from gradtx.tree import MismatchError, PyTree, leaf_names, quoted
from gradtx.values.value import static

__all__ = ["layerwise", "per_layer"]


class per_layer(Composite):
    """A transformation that sees, in stacked leaves, each layer as a leaf of its own.

    Only what asks for a whole leaf is changed: `print(per_layer(lamb(1e-3), "^blocks/").expand())`
    shows Adam's parts as they were and `layerwise(scale_by_trust_ratio(), ...)`. What acts on entries,
    or on all leaves together (a global norm), gives the same either way. Two leading axes, such as
    stages of layers, are two `per_layer`.

    Args:
        inner: the transformation.
        stacked: the leaves that are stacked: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path.
        axis: the axis of the layers.

    Raises:
        ValueError: a part of `inner` reads whole leaves and others as well, such as a foreign
            transformation, about which nothing is known; or a stacked leaf has no such axis.

    Examples:
        >>> gradtx.per_layer(gradtx.lamb(1e-3), "^blocks/")
        per_layer(inner=lamb(learning_rate=0.001), stacked='^blocks/')
    """

    inner: GradientTransformation
    stacked: Mask = static()
    axis: int = static(default=0)

    def expand(self) -> GradientTransformation:
        def split(atom: GradientTransformation) -> GradientTransformation:
            return layerwise(atom, self.stacked, self.axis) if Reach.LEAF in facts(atom).reach else atom

        return rebuilt(self.inner, split, again=lambda tx: self.replace(inner=tx))


class layerwise(GradientTransformation, reach=LEAF):
    """`inner`, mapped over the layers of stacked leaves; its counters are shared by all layers.

    `per_layer` puts it around the parts that need it.

    Args:
        inner: a transformation that reads one leaf at a time.
        stacked: the leaves that are stacked, as in `per_layer`.
        axis: the axis of the layers.

    Raises:
        ValueError: `inner` may read other leaves; or a stacked leaf has no such axis.
    """

    inner: GradientTransformation
    stacked: Mask = static()
    axis: int = static(default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if Reach.OTHERS in facts(self.inner).reach:
            raise ValueError(
                f"layerwise: {type(self.inner).__name__} reads leaves as wholes, and others besides its own, "
                "so its layers can't be told apart. Split it with chain, or declare its reach: "
                "Reach.LEAF where it reads one leaf at a time."
            )

    def init(self, params: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(params)
        mirror = mirror_of(self.inner)

        def init(leaves: list[Any]) -> list[Any]:
            return mirror.split(self.inner.init(jax.tree.unflatten(structure, leaves)), structure)

        def axes(leaf_axes: list[Any]) -> tuple[Any, Any]:
            return (leaf_axes,), [leaf_axes if m else None for m in mirror.mirrors]

        return mirror.join(self._mapped(init, params, axes)(leaves), structure)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        leaves, structure = jax.tree.flatten(updates)
        mirror = mirror_of(self.inner)

        def update(leaves: list[Any], parts: list[Any], of: list[Any] | None) -> tuple[list[Any], list[Any]]:
            given, old = jax.tree.unflatten(structure, leaves), mirror.join(parts, structure)
            mine = None if of is None else jax.tree.unflatten(structure, of)
            out, after = self.inner.update(given, old, mine, **extra)
            return jax.tree.leaves(out), mirror.split(after, structure)

        def axes(leaf_axes: list[Any]) -> tuple[Any, Any]:
            kept = [leaf_axes if m else None for m in mirror.mirrors]
            return (leaf_axes, kept, None if params is None else leaf_axes), (leaf_axes, kept)

        mapped = self._mapped(update, updates if params is None else params, axes)
        parts = mirror.split(state, structure)
        self._check_depths(updates, [x for x, m in zip(parts, mirror.mirrors, strict=True) if m])
        out, after = mapped(leaves, parts, None if params is None else jax.tree.leaves(params))
        return jax.tree.unflatten(structure, out), mirror.join(after, structure)

    def _mapped(
        self, f: Callable[..., Any], tree: PyTree, axes: Callable[[list[Any]], tuple[Any, Any]]
    ) -> Callable[..., Any]:
        """`f` under one `vmap` for each number of layers that occurs; other leaves pass as they are."""
        depths = self._depths(tree)
        for depth in sorted({d for d in depths if d is not None}):
            inside, outside = axes([self.axis if d == depth else None for d in depths])
            f = jax.vmap(f, in_axes=inside, out_axes=outside)
        return f

    def _check_depths(self, updates: PyTree, parts: list[list[Any]]) -> None:
        names, depths = leaf_names(updates), self._depths(updates)
        for part in parts:
            for name, depth, kept in zip(names, depths, part, strict=True):
                for x in jax.tree.leaves(kept) if depth is not None else ():
                    if not -x.ndim <= self.axis < x.ndim or x.shape[self.axis] != depth:
                        raise MismatchError(
                            f"the updates at {quoted(name)} have {depth} layers, and the state there has "
                            f"shape {x.shape}. Pass updates for the tree that init was called with."
                        )

    def _depths(self, tree: PyTree) -> list[int | None]:
        """The number of layers of each leaf; None where it is not stacked."""
        leaves = jax.tree.leaves(tree)
        stacked = jax.tree.leaves(select(self.stacked, tree)) if leaves else []
        depths: list[int | None] = []
        for leaf, is_stacked, name in zip(leaves, stacked, leaf_names(tree), strict=True):
            if is_stacked and not -leaf.ndim <= self.axis < leaf.ndim:
                raise MismatchError(
                    f"the leaf at {quoted(name)} is said to be stacked along axis {self.axis}, "
                    f"but has shape {leaf.shape}."
                )
            depths.append(leaf.shape[self.axis] if is_stacked else None)
        return depths
