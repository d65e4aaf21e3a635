"""Caution: of a direction, only what points the way the gradient points; the rest waits.

    φₜ = 1 where uₜ gₜ > 0, else 0            uₜ: the direction made of gₜ
    uₜ φₜ · n / (Σ φₜ + ξ)                    leaf by leaf, n: the leaf's number of entries

Liang, Chen, Liu & Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024, algorithms 1
and 2. https://arxiv.org/abs/2411.16085
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.contract.hyperparameters import Positive
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree

__all__ = ["cautious"]


class CautiousState(NamedTuple):
    inner: PyTree


class cautious(GradientTransformation, reach=LEAF):
    """`inner`'s direction where it has the gradient's sign, else 0; what is left becomes longer for it.

    It keeps nothing of its own. Entries of a complex leaf agree where Re(u ḡ) > 0.

    Args:
        inner: a direction, which points uphill as the gradient does: `scale_by_adam()`, not `adam(1e-3)`.
        slack: ξ, above 0, beside the number of entries that agree: what keeps a leaf with few of them short.
            The authors' code bounds their share from below instead, by 1e-3.

    Raises:
        ValueError: `inner` has a learning rate, which turns the direction downhill: nothing would agree.
    """

    inner: GradientTransformation
    slack: Positive = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self.inner).__name__
        if self.inner.is_composite and "learning_rate" in type(self.inner).__dataclass_fields__:
            raise ValueError(
                f"cautious(inner={name}(...)): {name} has a learning rate, so its updates point downhill "
                f"and never agree with the gradient. Give cautious the direction, such as scale_by_adam(), "
                "and chain scale_by_learning_rate behind it."
            )

    def init(self, params: PyTree) -> CautiousState:
        return CautiousState(self.inner.init(params))

    def update(
        self, updates: PyTree, state: CautiousState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, CautiousState]:
        direction, inner = self.inner.update(updates, state.inner, params, **extra)

        def agreeing(u: jax.Array, g: jax.Array) -> jax.Array:
            # By signs: the product of two small numbers is 0.
            same = _same_way(u, numerics.cast(g, u.dtype))
            count = jnp.sum(same, dtype=numerics.norm_dtype(u))
            stretch = u.size / (count + numerics.like(self.slack, count))
            # Not a choice between u and 0, which would hide a NaN.
            return numerics.times(u, jnp.where(same, stretch, jnp.zeros_like(stretch)))

        return jax.tree.map(agreeing, direction, updates), CautiousState(inner)


def _same_way(u: jax.Array, g: jax.Array) -> jax.Array:
    if jnp.issubdtype(u.dtype, jnp.complexfloating):
        return jnp.real(u * jnp.conj(g)) > 0
    return jnp.sign(u) * jnp.sign(g) > 0
