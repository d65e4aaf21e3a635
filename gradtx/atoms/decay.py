"""Pulling the parameters towards zero: as a penalty in the gradient, or beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gradtx import numerics, tree
from gradtx.atoms.pointwise import unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Number, Rate, negative
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation, need_params
from gradtx.rules.by_path import select
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["add_decoupled_weight_decay", "add_l2_penalty", "add_proximal_weight_decay", "decoupled"]


class add_decoupled_weight_decay(GradientTransformation, reach=ENTRY):
    """Add w θ to the updates. Stands *after* an adaptive direction: no moment sees the decay.

    In front of `scale_by_learning_rate` the decay is multiplied by the learning rate, as in AdamW
    of PyTorch and Optax (where this is `add_decayed_weights`).

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
    https://arxiv.org/abs/1711.05101

    Args:
        weight_decay: w, per step and per unit of the learning rate; usually 0 to 0.1.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.

    Examples:
        >>> tx = gradtx.add_decoupled_weight_decay(0.1)
        >>> tx.update(jnp.zeros(2), tx.init(None), jnp.ones(2))[0]
        Array([0.1, 0.1], dtype=float32)
    """

    weight_decay: Number
    mask: Mask | None = static(default=None)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def decay(u: jax.Array, p: jax.Array) -> jax.Array:
            return numerics.plus_times(u, p, self.weight_decay)

        return _decayed(decay, updates, need_params(self, params), self.mask), state


def _decayed(
    decay: Callable[[jax.Array, jax.Array], jax.Array], updates: PyTree, params: PyTree, mask: Mask | None
) -> PyTree:
    """`decay` of each update and its parameter, in the update's dtype, where the mask has it."""

    def one(u: jax.Array, p: jax.Array) -> jax.Array:
        return decay(u, numerics.cast(p, u.dtype))

    decayed = tree.map(one, updates, params, what="parameters'")
    if mask is None:
        return decayed
    return jax.tree.map(lambda m, d, u: d if m else u, select(mask, params), decayed, updates)


class add_proximal_weight_decay(GradientTransformation, reach=ENTRY):
    """(u - λ w θ) / (1 + λ w): what makes θ + u, the step so far, (θ + u) / (1 + λ w). Stands last.

    Decay by the parameters after the step: it never overshoots 0, however large λ w is.

    Zhuang, Liu, Cutkosky & Orabona, "Understanding AdamW through Proximal Methods and
    Scale-Freeness", 2022. https://arxiv.org/abs/2202.00089

    Args:
        learning_rate: λ.
        weight_decay: w, at least 0.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    weight_decay: NonNegative
    mask: Mask | None = static(default=None)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        rate: Any = self.learning_rate  # no schedule by now
        pull = rate * self.weight_decay

        def decay(u: jax.Array, p: jax.Array) -> jax.Array:
            share = numerics.like(pull, u)
            return (u - share * p) / (1 + share)

        return _decayed(decay, updates, need_params(self, params), self.mask), state


class decoupled(Composite):
    """A direction, decoupled weight decay and the learning rate, in the order that is asked for.

    Source: none (an order of three parts; each of them has its own source).

    Args:
        direction: what the gradient says, without the learning rate.
        learning_rate: λ.
        weight_decay: w; 0 leaves the decay out.
        mask: the leaves that decay; None is all.
        independent: False takes λ w θ off a parameter, as PyTorch and Optax do; True takes w θ
            off, whatever the learning rate is.

    Raises:
        ValueError: update is called without the parameters.
    """

    direction: GradientTransformation
    learning_rate: Rate
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)
    independent: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        rate = scale_by_learning_rate(self.learning_rate)
        if self.independent:
            shrink = unless_off(negative(self.weight_decay), add_decoupled_weight_decay, self.mask)
            return chain(self.direction, rate, shrink)
        decay = unless_off(self.weight_decay, add_decoupled_weight_decay, self.mask)
        return chain(self.direction, decay, rate)


class add_l2_penalty(Composite):
    """Add the gradient of (w/2) ‖θ‖², which is w θ. Stands *before* an adaptive direction.

    The same term as `add_decoupled_weight_decay`; what differs is the place in the chain: here it
    enters the moments, so that in Adam a parameter with large gradients decays less.

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2, line 6.
    https://arxiv.org/abs/1711.05101

    Args:
        weight_decay: w.
        mask: the leaves that are penalised; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    weight_decay: Number
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return add_decoupled_weight_decay(self.weight_decay, self.mask)
