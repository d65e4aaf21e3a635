"""Maps over the parts of a state that mirror the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from gradtx.contract.mirror import Mirror
from gradtx.tree import PyTree
from gradtx.tree.standins import RealAndImaginary

__all__ = ["tree_map_params"]


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
    tx = initable if hasattr(initable, "init") else _Init(initable)

    def given(x: Any) -> bool:
        return is_leaf is not None and is_leaf(x)

    def leaf(x: Any, *of: Any) -> Any:
        if isinstance(x, RealAndImaginary) and not given(x):
            return RealAndImaginary(*(f(part, *of) for part in x))
        return f(x, *of) if given(x) or jax.tree.leaves(x) else x

    def whole(x: Any) -> bool:
        return given(x) or isinstance(x, RealAndImaginary) or not jax.tree.leaves(x)

    return Mirror(tx).mapped(
        state,
        lambda part: jax.tree.map(leaf, part, *rest, is_leaf=whole),
        transform_non_params or (lambda part: part),
    )


class _Init(NamedTuple):
    """A bare `init`, where one is given instead of the transformation."""

    init: Callable[[PyTree], PyTree]
