"""Transformations that are given as two functions, which is Optax's protocol."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Annotated, Any

import jax

from gradtx import tree
from gradtx.contract.extras import keywords
from gradtx.contract.hyperparameters import Hyperparameter
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.kinds import Flag, Function, Integer, Text, is_array
from gradtx.values.value import Value, behind, static
from gradtx.values.wording import shown

__all__ = ["as_transformation", "foreign", "instead"]


def as_transformation(owner: str, name: str, value: Any) -> GradientTransformation:
    """A transformation: ours as it is, and any object with Optax's `init` and `update` as `foreign`.

    Args:
        owner: the class that is given it, for the message.
        name: the field or the part, for the message.
        value: what was given.

    Raises:
        TypeError: it is not a transformation.
    """
    value = behind(value)
    if isinstance(value, GradientTransformation):
        return value
    pair = not isinstance(value, type) and hasattr(value, "init") and hasattr(value, "update")
    if pair and callable(value.init) and callable(value.update):
        return foreign(value.init, value.update)
    hint = (
        f" Call it: {value.__name__}(...)."
        if isinstance(value, type) and issubclass(value, GradientTransformation)
        else ""
    )
    raise TypeError(f"{owner}: {name} must be a gradient transformation, not {shown(value)}.{hint}")


class foreign(GradientTransformation):
    """A transformation given as two functions, which is Optax's protocol.

    It compares and hashes by the functions. `chain` and the other combinators wrap Optax's
    transformations in it by themselves.

    Source: none (it knows nothing of the functions that it holds; cite what you wrap).

    Args:
        init_fn: params -> state.
        update_fn: (updates, state, params) -> (updates, state), with or without extra arguments.

    Raises:
        TypeError: one of them is not a function.
    """

    init_fn: Callable[[PyTree], PyTree] = static()
    update_fn: Annotated[Callable[..., PyTree], Function(3, by_name=True)] = static()

    @property
    def takes_any_extra(self) -> bool:
        """Whether `update_fn` takes any extra argument."""
        return keywords(self.update_fn)[1]

    def init(self, params: PyTree) -> PyTree:
        return self.init_fn(params)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: PyTree
    ) -> tuple[PyTree, PyTree]:
        out, after = self.update_fn(updates, state, params, **(extra if self.takes_any_extra else {}))
        return tree.cast_like(out, updates), _in_the_dtypes_of(state, after)


def _in_the_dtypes_of(before: PyTree, after: PyTree) -> PyTree:
    """A foreign state with its dtypes kept: of float32 updates, Optax would make a bfloat16 one float32."""
    structure: PyTree = jax.tree.structure(before)
    if structure != jax.tree.structure(after):
        return after

    def keep(old: PyTree, new: PyTree) -> PyTree:
        if not is_array(old) or not is_array(new) or old.dtype == new.dtype:
            return new
        return new.astype(old.dtype)

    return jax.tree.map(keep, before, after)


def instead(given: object) -> str:
    """The end of a message: the object that arrived instead of a value, and what to do."""
    shown = reprlib.repr(given)
    if isinstance(given, type) and issubclass(given, Value):
        name = given.__name__
        return f"not the class {name}. Call it with its hyperparameters: {name}(...)."
    if callable(getattr(given, "init", None)) and callable(getattr(given, "update", None)):
        return (
            f"not {shown}, two functions that nothing can be read from. Build it with gradtx: "
            "`from gradtx.interop import optax` has Optax's names."
        )
    return f"not {shown}. Pass the value itself, such as gradtx.adam(1e-3)."


class _Transformation:
    """A field that holds a transformation."""

    accept = staticmethod(as_transformation)


GradientTransformation.kinds = {
    float: Hyperparameter(),
    int: Integer(),
    bool: Flag(),
    str: Text(),
    GradientTransformation: _Transformation(),
}
