"""LARS: momentum whose every leaf steps by the size of its parameters, for very large batches.

    uₜ = η ‖θₜ₋₁‖ / (‖gₜ‖ + w ‖θₜ₋₁‖ + ε) · (gₜ + w θₜ₋₁)      leaf by leaf
    vₜ = β vₜ₋₁ + λ uₜ
    θₜ = θₜ₋₁ - vₜ

You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1. Optax
divides by ‖gₜ + w θₜ₋₁‖ instead: `joint_norm=True`. https://arxiv.org/abs/1708.03888
"""

from __future__ import annotations

import jax

from gradtx import numerics
from gradtx.atoms.decay import add_decoupled_weight_decay
from gradtx.atoms.moments import trace
from gradtx.atoms.norms import trust_ratio
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import KeptShare, NonNegative, Positive, Rate
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation, need_params
from gradtx.rules.by_path import select
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional, static

__all__ = ["lars", "scale_by_lars"]


class scale_by_lars(GradientTransformation, reach=LEAF):
    """LARS's direction, η ‖θ‖ / (‖g‖ + w ‖θ‖ + ε) · (g + w θ), leaf by leaf.

    A leaf is not scaled where its parameters are zero, or its gradient and its decay are.

    Args:
        weight_decay: w, at least 0.
        weight_decay_mask: the leaves that decay: a tree of booleans, a function of the parameters,
            or a regular expression on the leaf's path; True is all.
        trust_coefficient: η, above 0: how far a leaf may move, relative to its size.
        eps: ε, at least 0.
        trust_ratio_mask: the leaves that are scaled; True is all.
        joint_norm: divide by ‖g + w θ‖ + ε, as Optax does.

    Raises:
        ValueError: update is called without the parameters.
    """

    weight_decay: NonNegative = optional(default=0.0)
    weight_decay_mask: Mask = static(default=True)
    trust_coefficient: Positive = 0.001
    eps: NonNegative = optional(default=0.0)
    trust_ratio_mask: Mask = static(default=True)
    joint_norm: bool = static(default=False, kw_only=True)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        params, decayed, off = need_params(self, params), updates, is_off(self.weight_decay)
        if not off:
            decay = add_decoupled_weight_decay(self.weight_decay, self.weight_decay_mask)
            decayed, _ = decay.update(updates, EmptyState(), params)

        def scaled(trusted: bool, decays: bool, g: jax.Array, u: jax.Array, p: jax.Array) -> jax.Array:
            if not trusted:
                return u
            size = numerics.norm(u if self.joint_norm else g)
            param = numerics.cast(numerics.norm(p), size.dtype)
            if decays and not (off or self.joint_norm):
                size = size + numerics.like(self.weight_decay, size) * param
            return numerics.times(u, trust_ratio(param, size, self.trust_coefficient, self.eps))

        masks = select(self.trust_ratio_mask, params), select(self.weight_decay_mask, params)
        return jax.tree.map(scaled, *masks, updates, decayed, params), state


class lars(Composite):
    """LARS: `scale_by_lars`, then the learning rate, then the momentum.

    The learning rate is inside the momentum: after a drop, the velocity gathered before still
    carries the old one. Biases and the scales of normalisation layers usually go without decay
    and scaling: `weight_decay_mask="kernel$", trust_ratio_mask="kernel$"`.

    A leaf whose norm is beyond float32, as of gradients above 1.8e19, takes no step along its gradient
    at that update.

    Args:
        learning_rate: λ, a number or a schedule.
        weight_decay: w, at least 0.
        weight_decay_mask: the leaves that decay: a tree of booleans, a function of the parameters,
            or a regular expression on the leaf's path; True is all.
        trust_coefficient: η, above 0: how far a leaf may move, relative to its size.
        eps: ε, at least 0.
        trust_ratio_mask: the leaves that are scaled; True is all.
        momentum: β, in [0, 1].
        nesterov: look one step ahead.
        joint_norm: divide by ‖g + w θ‖ + ε, as Optax does.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    weight_decay: NonNegative = optional(default=0.0)
    weight_decay_mask: Mask = static(default=True)
    trust_coefficient: Positive = 0.001
    eps: NonNegative = optional(default=0.0)
    trust_ratio_mask: Mask = static(default=True)
    momentum: KeptShare = 0.9
    nesterov: bool = static(default=False)
    joint_norm: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        rate = scale_by_learning_rate(self.learning_rate)
        return chain(scale_by_lars.of(self), rate, trace(self.momentum, self.nesterov))
