"""The calls that are running: which `init` or `update` is inside which other, and where an error is from.

    in part 2 of chain, ema(decay=0.9), at dense/kernel

A transformation calls the `update` of what it holds like anybody else does. That such a call comes from
inside another one is seen by looking whether the running one holds it, this very object; a function of
the user's that happens to run an optimizer of its own is then not taken for a part.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from gradtx.contract.protocol import Transformation
from gradtx.tree import PyTree, leaf_names

__all__ = ["Frame", "as_part", "is_told", "label_in", "now", "owner", "running", "tell"]

_LONGEST = 80  # characters of a transformation in a note


Held = TypeVar("Held", bound=Transformation)


class Frame:
    """One call of `init` or `update` that has begun and not ended."""

    __slots__ = ("around", "each", "leaf", "parts", "runs", "tx")

    def __init__(
        self,
        tx: Transformation,
        runs: Transformation,
        parts: Sequence[Transformation],
        around: Frame | None,
        each: bool,
    ) -> None:
        self.tx = tx  # as it was called
        self.runs = runs  # what it expands to
        self.parts = parts  # what it holds
        self.around = around  # None: it is the outermost
        self.each = each  # whether leaves may still be traced one by one
        self.leaf: tuple[PyTree, int] | None = None  # where one leaf of a tree is traced alone: which


running: contextvars.ContextVar[Frame | None] = contextvars.ContextVar("running", default=None)


def now() -> Frame:
    """The innermost call that is running: within an `update`, its own."""
    frame = running.get()
    if frame is None:
        raise RuntimeError("nothing is running: this is asked within init or update only.")
    return frame


def as_part(tx: Held) -> Held:
    """`tx`, which was made for this call alone, counted among what the running transformation holds."""
    frame = running.get()
    if frame is not None:
        frame.parts = (*frame.parts, tx)
    return tx


def owner() -> str:
    """The class of the outermost transformation that is running, as the user wrote it."""
    frame = running.get()
    while frame is not None and frame.around is not None:
        frame = frame.around
    return "" if frame is None else type(frame.tx).__name__


def tell(error: BaseException, frame: Frame) -> None:
    """Add a note to an error: in which part of the outermost transformation it was raised, and at which leaf.

    Only the innermost part says it; what is around it finds it said.
    """
    if is_told(error):
        return
    with contextlib.suppress(AttributeError):  # of an exception that takes none: it may be told twice
        error._part_is_told = True  # type: ignore[attr-defined]
    around, alone, at = frame.around, frame.leaf, frame
    while alone is None and at.around is not None:
        at = at.around
        alone = at.leaf
    leaf = "" if alone is None else leaf_names(alone[0])[alone[1]]
    if around is None and not leaf:
        return  # it is the transformation that was called
    while around is not None and around.around is not None and _holds(around.around, frame.tx):
        around = around.around  # parts that were put together for this call, by what holds each of them
    whose = "" if around is None else f"{label_in(around.runs, frame.tx)} of {type(around.runs).__name__}, "
    error.add_note(f"in {whose}{_shown(frame.tx)}{f', at {leaf}' if leaf else ''}")


def is_told(error: BaseException) -> bool:
    """Whether a part inside has said that the error is its own."""
    return getattr(error, "_part_is_told", False)


def _holds(frame: Frame, tx: Transformation) -> bool:
    return any(part is tx for part in frame.parts)


def label_in(holder: Transformation, part: object) -> str:
    """The name that a transformation has for a part of it: 'part 2', 'numerator', a partition's label."""
    for field in dataclasses.fields(holder):  # type: ignore[arg-type]
        held = getattr(holder, field.name)
        if held is part:
            return field.name
        if isinstance(held, (tuple, list)):
            for i, x in enumerate(held):
                if x is part:
                    return f"part {i}" if field.name == "parts" else f"{field.name}[{i}]"
        elif isinstance(held, Mapping):
            for key, x in held.items():
                if x is part:
                    return str(key)
    return "a part"


def _shown(tx: object) -> str:
    text = " ".join(repr(tx).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
