"""Parts of a state: those that mirror the parameters, and those that a transformation is evaluated by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.leafwise import Hole
from gradtx.tree import PyTree
from gradtx.wrappers.layouts import RealAndImaginary

__all__ = ["seen_through", "tree_map_params"]


def tree_map_params(
    initable: Any,
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """The state with `f` of each leaf that belongs to a parameter: moments, but no counters.

        specs = gradtx.tree_map_params(tx, lambda _, spec: spec, state, param_specs,
                                       transform_non_params=lambda _: PartitionSpec())

    Where a state keeps nothing for a parameter (it is masked, or None) there is nothing to map, and
    `is_leaf`, which Optax needs there, may be left out.

    Args:
        initable: the transformation, ours or Optax's; or its `init`. (Optax's `masked` knows only its
            own placeholder, and works with its own function.)
        f: takes a leaf of the state, and the parameter's leaf of each tree in `rest`.
        state: its state.
        rest: trees of the parameters' structure.
        transform_non_params: what to do with the other leaves; None leaves them as they are.
        is_leaf: what counts as a leaf of the parameters' trees, as for `jax.tree.map`.
    """
    init = initable.init if hasattr(initable, "init") else initable
    where, layout = jax.tree.flatten(init(Hole()), is_leaf=lambda x: isinstance(x, Hole))
    structure: Any = layout  # jax has no types for treedefs

    def given(x: Any) -> bool:
        return is_leaf is not None and is_leaf(x)

    def leaf(x: Any, *of: Any) -> Any:
        if isinstance(x, RealAndImaginary) and not given(x):
            return RealAndImaginary(*(f(part, *of) for part in x))
        return f(x, *of) if given(x) or jax.tree.leaves(x) else x

    def whole(x: Any) -> bool:
        return given(x) or isinstance(x, RealAndImaginary) or not jax.tree.leaves(x)

    def mapped(mark: Any, part: Any) -> Any:
        if isinstance(mark, Hole):
            return jax.tree.map(leaf, part, *rest, is_leaf=whole)
        return part if transform_non_params is None else transform_non_params(part)

    parts = structure.flatten_up_to(state)
    return structure.unflatten([mapped(mark, part) for mark, part in zip(where, parts, strict=True)])


def seen_through(
    owner: str, cls: type[Any], field: str, state: PyTree, params: PyTree, view: Callable[..., jax.Array]
) -> PyTree:
    """The parameters as `view(held, param, kept)` shows each, for every `held` of a class in a state.

    Args:
        owner: who asks, for the messages.
        cls: a state's class.
        field: its tree that mirrors the parameters, whose leaf is `kept`.
        state: where to look for it, however deep.
        params: the parameters; a leaf for which nothing is kept stays as it is.
        view: the formula.

    Raises:
        ValueError: there is none in the state, or a shape differs.
    """

    def is_one(x: Any) -> bool:
        return isinstance(x, cls)

    found: list[Any] = [x for x in jax.tree.leaves(state, is_leaf=is_one) if is_one(x)]
    if not found:
        raise ValueError(f"{owner}: there is no {cls.__name__} in this state.")
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
