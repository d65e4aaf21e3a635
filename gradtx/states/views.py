"""The parameters as a transformation evaluates them, found in its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.tree import PyTree
from gradtx.tree.standins import RealAndImaginary

__all__ = ["seen_through"]


def seen_through(
    owner: str,
    cls: type[Any] | tuple[type[Any], ...],
    field: str,
    state: PyTree,
    params: PyTree,
    view: Callable[..., jax.Array],
) -> PyTree:
    """Map every parameter through `view`, with what each state of class `cls` keeps for it.

    Args:
        owner: who asks, for the messages.
        cls: a state's class, or several.
        field: its tree that mirrors the parameters, whose leaf is `kept`.
        state: where to look for it, however deep.
        params: the parameters; a leaf for which nothing is kept stays as it is.
        view: the formula: (held, param, kept) -> what stands for the parameter; `held` is the state.

    Raises:
        ValueError: the state holds nothing of the class, or a shape differs.
    """

    def is_one(x: Any) -> bool:
        return isinstance(x, cls)

    found: list[Any] = [x for x in jax.tree.leaves(state, is_leaf=is_one) if is_one(x)]
    if not found:
        names = " or ".join(c.__name__ for c in (cls if isinstance(cls, tuple) else (cls,)))
        raise ValueError(f"{owner}: there is no {names} in this state.")
    structure: Any = jax.tree.structure(params)  # jax has no types for treedefs

    def shown(held: Any, param: Any, kept: Any) -> Any:
        if not jax.tree.leaves(kept):  # another transformation's leaf
            return param
        if isinstance(kept, RealAndImaginary):
            parts = (param.real, kept.real), (param.imag, kept.imaginary)
            return jax.lax.complex(*(shown(held, *part) for part in parts))
        if jnp.shape(kept) != jnp.shape(param):
            raise ValueError(f"a parameter has shape {jnp.shape(param)}, but the state's {jnp.shape(kept)}")
        return view(held, param, kept)

    leaves = jax.tree.leaves(params)
    for held in found:
        try:
            of = structure.flatten_up_to(getattr(held, field))
            leaves = [shown(held, param, kept) for param, kept in zip(leaves, of, strict=True)]
        except ValueError as error:
            raise ValueError(
                f"{owner}: {error}. Pass the parameters that the optimizer was made for; a packed state, "
                "such as that of flatten, goes with packed parameters."
            ) from None
    return structure.unflatten(leaves)
