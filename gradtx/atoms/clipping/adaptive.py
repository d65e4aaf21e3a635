"""Adaptive gradient clipping: no unit's gradient is longer than a share of the unit itself.

    uᵢ = gᵢ · λ ‖θᵢ‖* / ‖gᵢ‖   where ‖gᵢ‖ > λ ‖θᵢ‖*, else gᵢ          ‖θᵢ‖* = max(‖θᵢ‖, ε)

A unit i is what makes one output: a column of a matrix that is applied from the right, x @ θ.

Brock, De, Smith & Simonyan, "High-Performance Large-Scale Image Recognition Without Normalization",
2021, equation 3. https://arxiv.org/abs/2102.06171
"""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import NonNegative, Positive
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import EmptyState, GradientTransformation, need_params
from gradtx.tree import MismatchError, PyTree
from gradtx.values.kinds import Integer, Maybe
from gradtx.values.value import static

__all__ = ["adaptive_grad_clip", "unitwise_clip", "unitwise_norm"]


class _Axes:
    """None, a whole number, or several: kept as a tuple."""

    def accept(self, owner: str, name: str, value: Any) -> int | tuple[int, ...] | None:
        if isinstance(value, (tuple, list)):
            return tuple(Integer().accept(owner, name, x) for x in value)
        return Maybe(Integer()).accept(owner, name, value)


Axes = Annotated[int | tuple[int, ...] | None, _Axes()]


class adaptive_grad_clip(GradientTransformation, reach=LEAF):
    """Bound the norm of each unit's update by λ times that of its parameters: no leaf waits for another.

    Unlike a clip by the global norm, it has a bound that follows the parameters, so that nobody has to
    tune it to the size of the gradients; and it shortens each unit alone, so that the common
    direction turns. Wrong for units that must grow fast from small values; the authors
    leave out the last linear layer: `masked(adaptive_grad_clip(0.01), mask)`. Behind an optimizer
    whose steps do not depend on the size of the gradient it bounds steps; in front of one, it
    bounds what a spike does to the averages.

    Below the threshold the updates pass through bit by bit. A NaN makes its unit NaN.

    Args:
        clipping: λ, above 0; 0.01 in the paper for batches of 4096, more for smaller ones.
        eps: ε, at least 0: the least that a unit's norm is taken to be, so that zeros can grow.
        axis: the axes over which a unit's norm is taken; None is by the number of axes, as in
            `unitwise_norm`.

    Raises:
        ValueError: update is called without the parameters; a leaf has more than five axes and
            `axis` is None.
    """

    clipping: Positive
    eps: NonNegative = 1e-3
    axis: Axes = static(default=None)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def bound(u: jax.Array, p: jax.Array) -> jax.Array:
            size = numerics.cast(_norms(p, self.axis), jnp.finfo(u.dtype).dtype)
            least = numerics.like(jnp.asarray(self.eps), size)
            return unitwise_clip(
                _norms(u, self.axis), numerics.like(self.clipping, u) * jnp.maximum(size, least), u
            )

        return tree.map(bound, updates, need_params(self, params), what="parameters'"), state


def unitwise_norm(x: jax.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """The 2-norm of the unit that each entry belongs to: of the shape of `x`, accumulated in float32.

    Args:
        x: parameters or updates: a vector or scalar is one unit; of matrices and three axes the
            first axis is summed over (inputs first), of convolution kernels, whose four or five
            axes end in inputs and outputs, all but the last.
        axis: the axes to sum over instead.

    Raises:
        ValueError: `x` has more than five axes, and `axis` is None.
    """
    return jnp.broadcast_to(_norms(x, axis), x.shape)


def _norms(x: jax.Array, axis: int | tuple[int, ...] | None) -> jax.Array:
    """The same, with 1 in place of the axes that are summed over."""
    axes = _inputs(x) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if any(not -x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) < len(axes):
        raise MismatchError(
            f"an array of shape {x.shape} has no axis={axis}, over which a unit reaches. Keep it out with "
            "masked, or leave `axis` to the number of axes, None."
        )
    return numerics.norm(x, axes, keepdims=True)


def _inputs(x: jax.Array) -> tuple[int, ...]:
    if sum(n != 1 for n in x.shape) <= 1:
        return tuple(range(x.ndim))
    if x.ndim > 5:
        raise ValueError(
            f"unitwise_norm: an array of shape {x.shape} has {x.ndim} axes, expected at most 5. "
            "Say with `axis` over which of them a unit reaches."
        )
    return (0,) if x.ndim <= 3 else tuple(range(x.ndim - 1))


def unitwise_clip(g_norm: jax.Array, max_norm: jax.Array, grad: jax.Array) -> jax.Array:
    """`grad`, with the units that are longer than `max_norm` shortened to it.

    Args:
        g_norm: the norms of the units of `grad`, of its shape or with 1 for the axes of a unit.
        max_norm: of the shape of `g_norm`, at least 0.
        grad: the updates, in at least float32.
    """
    longest = jnp.maximum(g_norm, max_norm)
    some = longest != 0  # a unit of zeros that may not grow: 0, not 0 / 0
    factor = jnp.where(some, max_norm / jnp.where(some, longest, jnp.ones_like(longest)), 0)
    return numerics.times(grad, factor.astype(longest.dtype))
