"""Where gradtx spells Optax's arguments differently: functions and classes with Optax's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

import gradtx
from gradtx.transformation import GradientTransformation
from gradtx.tree import PyTree

__all__ = [
    "MultiSteps",
    "add_decayed_weights",
    "add_noise",
    "differentially_private_aggregate",
    "ema",
    "global_norm",
    "masked",
    "multi_transform",
    "noisy_sgd",
    "partition",
    "reduce_on_plateau",
    "scale_by_learning_rate",
    "selective_transform",
]


def add_decayed_weights(weight_decay: Any = 0.0, mask: Any = None) -> GradientTransformation:
    """`gradtx.add_decoupled_weight_decay`."""
    return gradtx.add_decoupled_weight_decay(weight_decay, mask)


def add_noise(eta: Any, gamma: Any, key: Any = None, *, seed: int | None = None) -> GradientTransformation:
    """`gradtx.add_noise`; without a key it is 0. `seed` is Optax's former name of it."""
    if key is not None and seed is not None:
        raise ValueError("add_noise: give a key or a seed, not both.")
    given = seed if key is None else key
    return gradtx.add_noise(eta, gamma, 0 if given is None else given)


def differentially_private_aggregate(
    l2_norm_clip: Any, noise_multiplier: Any, key: Any = None, *, seed: int | None = None
) -> GradientTransformation:
    """`gradtx.differentially_private_aggregate`; without a key it is 0. `seed` is its former name."""
    if key is not None and seed is not None:
        raise ValueError("differentially_private_aggregate: give a key or a seed, not both.")
    given = seed if key is None else key
    return gradtx.differentially_private_aggregate(
        l2_norm_clip, noise_multiplier, 0 if given is None else given
    )


def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """`gradtx.momentum`, or without the bias correction `gradtx.ema`."""
    make: Any = gradtx.momentum if debias else gradtx.ema
    return make(decay, accumulator_dtype=accumulator_dtype)


def global_norm(updates: PyTree) -> jax.Array:
    """`gradtx.tree.global_norm`: finite wherever the norm itself is."""
    return gradtx.tree.global_norm(updates)


def masked(inner: Any, mask: Any, *, mask_compatible_extra_args: bool = False) -> GradientTransformation:
    """`gradtx.masked`. Extra arguments are passed on as they are."""
    _no_masks_of_extra("masked", mask_compatible_extra_args)
    return gradtx.masked(inner, mask)


def partition(
    transforms: Mapping[Any, Any], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> GradientTransformation:
    """`gradtx.partition`. Extra arguments are passed on as they are."""
    _no_masks_of_extra("partition", mask_compatible_extra_args)
    return gradtx.partition(transforms, param_labels)


multi_transform = partition


def _no_masks_of_extra(owner: str, asked: bool) -> None:
    if asked:
        raise NotImplementedError(
            f"{owner}: mask_compatible_extra_args=True is not there yet; extra arguments are passed on whole."
        )


def noisy_sgd(
    learning_rate: Any, eta: Any = 0.01, gamma: Any = 0.55, key: Any = None, *, seed: int | None = None
) -> GradientTransformation:
    """`gradtx.noisy_sgd`; without a key it is 0. `seed` is Optax's former name of it."""
    if key is not None and seed is not None:
        raise ValueError("noisy_sgd: give a key or a seed, not both.")
    given = seed if key is None else key
    return gradtx.noisy_sgd(learning_rate, eta, gamma, 0 if given is None else given)


def scale_by_learning_rate(learning_rate: Any = None, *, flip_sign: bool = True) -> GradientTransformation:
    """`gradtx.scale_by_learning_rate`; None is the identity, without a sign."""
    if learning_rate is None:
        return gradtx.identity()
    return gradtx.scale_by_learning_rate(learning_rate, flip_sign=flip_sign)


def selective_transform(optimizer: Any, *, freeze_mask: Any) -> GradientTransformation:
    """The optimizer for the leaves whose mask is False; the others stay, and have no state."""
    labels = ["train", "freeze"]

    def label(params: PyTree) -> PyTree:
        mask = freeze_mask(params) if callable(freeze_mask) else freeze_mask
        return jax.tree.map(lambda frozen: labels[bool(frozen)], mask)

    return gradtx.partition({"train": optimizer, "freeze": gradtx.freeze()}, label)


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> GradientTransformation:
    """`gradtx.reduce_on_plateau`, whose patience is one less for the same: Optax's counts the last metric."""
    return gradtx.reduce_on_plateau(
        factor, patience - 1, rtol, atol, cooldown, accumulation_size, min_scale, eps=0.0
    )


class MultiSteps:
    """`gradtx.accumulate`, as an object with Optax's methods."""

    def __init__(
        self,
        opt: Any,
        every_k_schedule: int | Callable[[Any], Any],
        use_grad_mean: bool = True,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: Any = "float32",
    ) -> None:
        self._tx = gradtx.accumulate(
            opt, every_k_schedule, use_grad_mean, should_skip_update_fn, accumulator_dtype
        )

    def init(self, params: PyTree) -> Any:
        """The state before the first update."""
        return self._tx.init(params)

    def update(self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any) -> Any:
        """One micro-batch."""
        return self._tx.update(updates, state, params, **extra)

    def has_updated(self, state: Any) -> jax.Array:
        """Whether the last micro-batch completed an update."""
        return gradtx.has_updated(state)

    def gradient_transformation(self) -> GradientTransformation:
        """The transformation itself, which this only holds."""
        return self._tx
