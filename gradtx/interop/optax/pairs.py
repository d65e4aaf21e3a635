"""Optax's types of a transformation, of which every transformation of gradtx is an instance too."""

from __future__ import annotations

from typing import Any

import optax

import gradtx

__all__ = ["GradientTransformation", "GradientTransformationExtraArgs"]


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
