"""Updates that keep something true: no NaN, no negative parameter.

Source: none (guards against values that must not occur).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.contract.reach import ENTRY, LEAF
from gradtx.contract.transformation import EmptyState, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.tree.sharded import anywhere

__all__ = ["keep_params_nonnegative", "zero_nans"]


class keep_params_nonnegative(GradientTransformation, reach=ENTRY):
    """Updates after which no parameter is below 0: -θ where θ + u < 0. The last part of a chain.

    A parameter that is below 0 already is moved to 0.
    """

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def bound(u: jax.Array, p: Any) -> jax.Array:
            wide = jnp.asarray(p, u.dtype)
            return jnp.where(wide + u < 0, -wide, u)

        return jax.tree.map(bound, updates, need_params(self, params)), state


class ZeroNansState(NamedTuple):
    """Where the last update had a NaN."""

    found_nan: PyTree  # of the parameters' structure: one boolean for each leaf


class zero_nans(GradientTransformation, reach=LEAF):
    """Zero where there is a NaN; an infinity stays. The state says which leaves had one."""

    def init(self, params: PyTree) -> ZeroNansState:
        return ZeroNansState(jax.tree.map(lambda _: jnp.zeros((), bool), params))

    def update(
        self, updates: PyTree, state: ZeroNansState, params: PyTree | None = None
    ) -> tuple[PyTree, ZeroNansState]:
        found = jax.tree.map(lambda u: anywhere(jnp.any(jnp.isnan(u))), updates)
        clean = jax.tree.map(lambda u: jnp.where(jnp.isnan(u), jnp.zeros_like(u), u), updates)
        return clean, ZeroNansState(found)
