"""Transformations that hold others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradtx.interop.optax.states.codec import Codec, Way, inward, outward
from gradtx.tree import PyTree

__all__ = ["Holder"]


class Holder(Codec):
    """A transformation that holds others.

    Args:
        ours: the class of its state.
        theirs: Optax's.
        inner: Optax's field -> (ours, the field of the transformation that is held).
        others: Optax's field -> ours.
        masks: whether it leaves out leaves.
    """

    def __init__(
        self,
        ours: type,
        theirs: type,
        inner: Mapping[str, tuple[str, str]],
        others: Mapping[str, str] | None = None,
        masks: bool = False,
    ) -> None:
        self._masks = masks
        self._ours, self._theirs, self._inner, self._others = ours, theirs, dict(inner), dict(others or {})

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        new: dict[str, Any] = {}
        for name, place in self._others.items():
            new[name] = getattr(state, place)
        for name, (field, of) in self._inner.items():
            new[name] = outward(getattr(tx, of), getattr(state, field), way.into(tx, self._masks))
        return self._theirs(**new)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        if not isinstance(state, self._theirs):
            return state
        new: dict[str, Any] = {}
        for name, place in self._others.items():
            new[place] = getattr(state, name)
        for name, (field, of) in self._inner.items():
            new[field] = inward(getattr(tx, of), getattr(state, name), way.into(tx, self._masks))
        return self._ours(**new)
