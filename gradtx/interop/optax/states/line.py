"""Chains: Optax's states in a tuple, gradtx's in a tuple that its composites share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from gradtx.combine.chains import chain
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.interop.optax.states.codec import Codec, Way, codec_of, inward, known, outward, unfit
from gradtx.tree import PyTree
from gradtx.values.value import kept

__all__ = ["Extra", "Line"]


class Extra(NamedTuple):
    """A state of Optax's for which gradtx has no part: constant, or what a codec makes of the whole."""

    state: PyTree


class Line(Codec):
    """Transformations in a line: Optax's states of a chain.

    Args:
        parts: the transformation -> what Optax's chain has in its place, in order. None is a part of Optax's
            which gradtx does not need; a state of Optax's stands for one of gradtx's without content.
        hidden: the transformation -> at which of gradtx's parts there is none of Optax's.
    """

    def __init__(
        self,
        parts: Callable[[Any], list[Any]],
        hidden: Callable[[Any], list[int]] = lambda tx: [],
    ) -> None:
        self._parts, self._hidden = parts, hidden

    def _slices(self, tx: Any) -> list[tuple[Any, int, int]]:
        """(part, from, to) in gradtx's state."""
        found, at = [], 0
        hidden = self._hidden(tx)
        for part in kept(self._parts, tx):
            while at in hidden:
                at += 1
            width = 0 if part is None or isinstance(part, Extra) else _width(part)
            found.append((part, at, at + width))
            at += width
        return found

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return tuple(
            _part_out(part, state[i:j], way)
            if isinstance(part, GradientTransformation)
            else _other(tx, part, way)
            for part, i, j in self._slices(tx)
        )

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        slices, hidden = self._slices(tx), self._hidden(tx)
        last = max([j for _, _, j in slices] + [i + 1 for i in hidden], default=0)
        if type(state) is not tuple or len(state) != len(slices):
            if type(state) is tuple and len(state) == last:
                return state  # gradtx's own
            raise unfit(state, f"a tuple of {len(slices)}")
        found: dict[int, Any] = {}
        for (part, i, j), old in zip(slices, state, strict=True):
            if isinstance(part, GradientTransformation):
                new = inward(part, old, way)
                found |= dict(enumerate(new if _is_chain(part) else [new], i))
            elif j > i:
                found[i] = EmptyState()
        return tuple(found.get(i, EmptyState()) for i in range(last))

    def lacks_count(self, tx: Any) -> bool:
        return any(
            codec_of(part).lacks_count(part)
            for part, *_ in self._slices(tx)
            if isinstance(part, GradientTransformation)
        )


def _part_out(part: GradientTransformation, states: tuple[Any, ...], way: Way) -> PyTree:
    return outward(part, states if _is_chain(part) else states[0], way)


def _other(tx: Any, part: Any, way: Way) -> PyTree:
    if part is None:
        return optax.EmptyState()
    given = part.state if isinstance(part, Extra) else part
    return given.out(tx, (), way) if isinstance(given, Codec) else given


def _is_chain(part: Any) -> bool:
    """Whether a chain around it takes in its parts one by one."""
    return isinstance(part, chain) or (isinstance(part, Composite) and isinstance(part._expansion(), chain))


def _width(part: Any) -> int:
    if not isinstance(part, GradientTransformation) or not _is_chain(part):
        return 1
    whole: Any = part if isinstance(part, chain) else part._expansion()  # type: ignore[attr-defined]
    return len(whole.parts)


class _Chain(Codec):
    """A chain that the program made: one state for each part."""

    def out(self, tx: chain, state: PyTree, way: Way) -> PyTree:
        return tuple(outward(part, old, way) for part, old in zip(tx.parts, state, strict=True))

    def back(self, tx: chain, state: PyTree, way: Way) -> PyTree:
        if not isinstance(state, tuple) or len(state) != len(tx.parts):
            return state  # the chain itself says what is wrong with it
        return tuple(inward(part, old, way) for part, old in zip(tx.parts, state, strict=True))


known[chain] = _Chain()
