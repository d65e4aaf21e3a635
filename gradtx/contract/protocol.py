"""The type of a transformation for the modules of the contract, which the class itself imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from gradtx.contract.reach import Reach
from gradtx.tree import PyTree
from gradtx.values.value import Value

__all__ = ["Extras", "HasInit", "Transformation", "is_transformation"]


Extras = dict[str, PyTree]
"""Extra arguments of an update, by name: arrays, trees, and functions of the parameters."""


class HasInit(Protocol):
    """Anything with an `init`."""

    def init(self, params: PyTree) -> PyTree: ...


class Transformation(HasInit, Protocol):
    """A `GradientTransformation`, seen from below."""

    is_composite: ClassVar[bool]
    reach: ClassVar[Reach]
    own_clock: ClassVar[bool]
    passes_on: ClassVar[tuple[str, ...]]
    real_only: ClassVar[bool]

    @property
    def takes_any_extra(self) -> bool: ...

    @property
    def per_example(self) -> bool: ...

    def made_of(self) -> Sequence[Transformation]: ...

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: PyTree
    ) -> tuple[PyTree, PyTree]: ...


def is_transformation(x: object) -> bool:
    """Whether `x` is one of gradtx's transformations."""
    return isinstance(x, Value) and hasattr(type(x), "made_of")
