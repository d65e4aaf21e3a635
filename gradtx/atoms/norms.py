"""Scaling by norms and shifting by means: of a leaf and its parameters, or of all leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import NonNegative, Number, Positive
from gradtx.contract.reach import LEAF, OTHERS
from gradtx.contract.transformation import EmptyState, GradientTransformation, need_params
from gradtx.tree import MismatchError, PyTree
from gradtx.values.value import optional, static

__all__ = [
    "centralize",
    "normalize",
    "normalize_by_update_norm",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_trust_ratio",
    "trust_ratio",
]


class scale_by_trust_ratio(GradientTransformation, reach=LEAF):
    """Scale each leaf to the size of its parameters: u · c ‖θ‖ / (‖u‖ + ε), and u where a norm is 0.

    You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017, equation 6.
    https://arxiv.org/abs/1708.03888

    Args:
        min_norm: the least that either norm is taken to be, at least 0.
        trust_coefficient: c, above 0: how far a layer may move, relative to its size.
        eps: ε, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    min_norm: NonNegative = optional(default=0.0)
    trust_coefficient: Positive = 1.0
    eps: NonNegative = optional(default=0.0)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def scaled(u: jax.Array, p: jax.Array) -> jax.Array:
            sizes = [numerics.cast(numerics.norm(x), numerics.norm(u).dtype) for x in (p, u)]
            least = numerics.like(self.min_norm, sizes[0])
            param, update = (jnp.maximum(x, least) for x in sizes)
            return numerics.times(u, trust_ratio(param, update, self.trust_coefficient, self.eps))

        return tree.map(scaled, updates, need_params(self, params), what="parameters'"), state


def trust_ratio(param: jax.Array, update: jax.Array, coefficient: Any, eps: Any) -> jax.Array:
    """c ‖θ‖ / (‖u‖ + ε) of two norms, and 1 where one of them is 0."""
    ratio = numerics.times(param, coefficient) / (update + numerics.like(eps, update))
    # Zero parameters must be able to leave zero, and zero updates must not become NaN.
    return jnp.where((param == 0) | (update == 0), jnp.ones_like(ratio), ratio)


class normalize(GradientTransformation, reach=OTHERS):
    """Divide by the norm of all leaves together: g / ‖g‖. Zeros stay zeros, where Optax makes NaN of them.

    Hazan, Levy & Shalev-Shwartz, "Beyond Convexity: Stochastic Quasi-Convex Optimization", 2015.
    https://arxiv.org/abs/1507.02030
    """

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        norm = tree.global_norm(updates)
        size = jnp.where(norm == 0, jnp.ones_like(norm), norm)
        return jax.tree.map(lambda u: numerics.over(u, size), updates), state


class scale_by_param_block_norm(GradientTransformation, reach=LEAF):
    """Multiply each leaf by the norm of its parameters: u · max(‖θ‖, c).

    Source: none (Optax has it and names no source; Adafactor takes the root mean square instead).

    Args:
        min_scale: c, at least 0: the least factor, so that parameters can leave zero.

    Raises:
        ValueError: update is called without the parameters.
    """

    min_scale: NonNegative = 1e-3

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _by_size(numerics.norm, updates, need_params(self, params), self.min_scale), state


class scale_by_param_block_rms(GradientTransformation, reach=LEAF):
    """Multiply each leaf by the root mean square of its parameters: u · max(rms(θ), c).

    Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
    algorithm 5, the relative step size. https://arxiv.org/abs/1804.04235

    Args:
        min_scale: c, at least 0: the least factor, so that parameters can leave zero.

    Raises:
        ValueError: update is called without the parameters.
    """

    min_scale: NonNegative = 1e-3

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _by_size(numerics.rms, updates, need_params(self, params), self.min_scale), state


def _by_size(size: Callable[[jax.Array], jax.Array], updates: PyTree, params: PyTree, least: Any) -> PyTree:
    def scaled(u: jax.Array, p: jax.Array) -> jax.Array:
        own = numerics.cast(size(p), jnp.finfo(u.dtype).dtype)
        return numerics.times(u, jnp.maximum(own, numerics.like(least, own)))

    return tree.map(scaled, updates, params, what="parameters'")


class normalize_by_update_norm(GradientTransformation, reach=OTHERS):
    """Divide by the norm of all leaves together: s g / (‖g‖ + ε).

    Hazan, Levy & Shalev-Shwartz, "Beyond Convexity: Stochastic Quasi-Convex Optimization", 2015.
    https://arxiv.org/abs/1507.02030

    Args:
        scale_factor: s, the norm of what comes out; any finite number.
        eps: ε, at least 0. With ε = 0 a gradient of zeros gives 0 / 0.
    """

    scale_factor: Number = 1.0
    eps: NonNegative = 1e-6

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        norm = tree.global_norm(updates)
        factor = numerics.like(self.scale_factor, norm) / (norm + numerics.like(self.eps, norm))
        return jax.tree.map(lambda u: numerics.times(u, factor), updates), state


class centralize(GradientTransformation, reach=LEAF):
    """Subtract from the weights of each output their mean: g - mean(g). Vectors and scalars pass.

    Yong et al., "Gradient Centralization: A New Optimization Technique for Deep Neural Networks", 2020.
    https://arxiv.org/abs/2004.01461

    Args:
        output_axis: the axis of the outputs: 0, as in Optax and PyTorch's layers, or -1 for Flax's
            kernels, whose last axis it is.
    """

    output_axis: int = static(default=0)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def center(u: jax.Array) -> jax.Array:
            if u.ndim < 2:
                return u
            if not -u.ndim <= self.output_axis < u.ndim:
                raise MismatchError(
                    f"a leaf of shape {u.shape} has no output_axis={self.output_axis}: "
                    "keep it out with masked."
                )
            outputs = self.output_axis % u.ndim
            inputs = tuple(axis for axis in range(u.ndim) if axis != outputs)
            return u - jnp.mean(u, axis=inputs, keepdims=True)

        return jax.tree.map(center, updates), state
