"""Optax's types of a transformation, of which every transformation of gradtx is an instance too."""

from __future__ import annotations

from typing import Any

import optax

import gradtx
from gradtx.anatomy import read_by
from gradtx.tree import PyTree

__all__ = ["GradientTransformation", "GradientTransformationExtraArgs", "with_extra_args_support"]


class _Pair(type):
    """Answers `isinstance` for gradtx's transformations as well, and for Optax's own pairs."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        theirs = _THEIRS.get(cls)  # None for what a program derives from these
        return theirs is not None and isinstance(instance, (gradtx.GradientTransformation, theirs))

    def __subclasscheck__(cls, subclass: type) -> bool:
        if type.__subclasscheck__(cls, subclass):
            return True
        theirs = _THEIRS.get(cls)
        return theirs is not None and issubclass(subclass, (gradtx.GradientTransformation, theirs))


class GradientTransformation(optax.GradientTransformation, metaclass=_Pair):
    """A pair of functions, Optax's way to write a transformation; it can be chained with gradtx's.

    isinstance(tx, GradientTransformation) holds for what either library makes.

    Args:
        init: params -> state.
        update: (updates, state, params) -> (updates, state).
    """

    __slots__ = ()


class GradientTransformationExtraArgs(
    GradientTransformation, optax.GradientTransformationExtraArgs, metaclass=_Pair
):
    """A pair of functions, of which `update` takes extra arguments by name.

    isinstance holds for every transformation of gradtx: they all do.

    Args:
        init: params -> state.
        update: (updates, state, params, **extra) -> (updates, state).
    """

    __slots__ = ()


_THEIRS: dict[type, type] = {
    GradientTransformation: optax.GradientTransformation,
    GradientTransformationExtraArgs: optax.GradientTransformationExtraArgs,
}


class any_extra(gradtx.GradientTransformation):
    """A transformation that takes extra arguments which nothing in it reads, whatever their names.

    Args:
        inner: the transformation.
    """

    reach = gradtx.Reach.ENTRY
    takes_any_extra = True
    inner: gradtx.GradientTransformation

    def init(self, params: PyTree) -> Any:
        return self.inner.init(params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        return self.inner.update(updates, state, params, **read_by(self.inner, extra))


def with_extra_args_support(tx: Any) -> Any:
    """The same transformation, which takes any extra argument.

    gradtx's refuse a name that nothing in them reads, with the nearest one that something does; whoever
    calls this asks for all to be let through.

    Args:
        tx: a transformation of gradtx or of Optax.
    """
    if not isinstance(tx, gradtx.GradientTransformation):
        return optax.with_extra_args_support(tx)
    return tx if tx.takes_any_extra else any_extra(tx)
