"""What holds several transformations: checks of them, and of their states."""

from __future__ import annotations

from typing import Any

from gradtx.contract.foreign import as_transformation
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import MismatchError

__all__ = ["check_count", "check_names", "part_of"]


def part_of(owner: str, name: str, value: Any) -> GradientTransformation:
    """A transformation that is given as a part, Optax's too; `name` says which, for messages."""
    return as_transformation(owner, name, value)


def check_count(state: tuple[Any, ...], parts: tuple[Any, ...]) -> None:
    """Refuse a state of another number of parts."""
    if len(state) != len(parts):
        raise MismatchError(
            f"the state has {len(state)} entries for {len(parts)} parts. It belongs to another "
            "transformation: make one with init(params)."
        )


def check_names(state: dict[str, Any], names: list[str]) -> None:
    """Refuse a state of parts with other names."""
    if set(state) != set(names):
        raise MismatchError(
            f"the state has the parts {sorted(state)}, expected {sorted(names)}. It belongs to "
            "another transformation: make one with init(params)."
        )
