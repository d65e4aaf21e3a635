"""A composition made anew of its parts, each of them changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from gradtx.contract.reach import Reach
from gradtx.contract.transformation import GradientTransformation, values_in
from gradtx.values.value import Value

__all__ = ["rebuilt"]


def rebuilt(
    tx: GradientTransformation,
    change: Callable[[GradientTransformation], GradientTransformation],
    whole: Callable[[GradientTransformation], bool] = lambda tx: False,
    again: Callable[[GradientTransformation], GradientTransformation] | None = None,
) -> GradientTransformation:
    """`tx` composed anew of its parts, each of them changed.

    Args:
        tx: a transformation; composites are expanded.
        change: gives the new part for an old one: for an atom, or for what holds others and reads
            more of their results than entry by entry.
        whole: parts that hold others, and are given to `change` as they are.
        again: wraps an inner transformation instead of rebuilding it. It is used below one that counts its
            own steps (`tunable`): its state refers to numbers by name, so the tree must not change.
    """
    if tx.is_composite:
        return rebuilt(tx.made_of()[0], change, whole, again)
    if not tx.made_of() or type(tx).reach != Reach.ENTRY or whole(tx):
        return change(tx)

    def inside(x: Any) -> Any:
        if not isinstance(x, GradientTransformation):
            return x
        return again(x) if again is not None and tx.own_clock else rebuilt(x, change, whole, again)

    fields = {f.name: getattr(tx, f.name) for f in dataclasses.fields(tx)}
    held = {
        name: jax.tree.map(inside, value, is_leaf=lambda x: isinstance(x, Value))
        for name, value in fields.items()
        if any(isinstance(x, GradientTransformation) for x in values_in(value))
    }
    return tx.replace(**held)
