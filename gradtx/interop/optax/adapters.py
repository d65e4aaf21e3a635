"""Where gradtx spells Optax's arguments differently: functions and classes with Optax's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

import gradtx
from gradtx.combine.chains import chain as in_order
from gradtx.contract.hyperparameters import Number
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.interop.bridge import from_optax
from gradtx.interop.optax.fast_and_slow import LookaheadParams, lookahead
from gradtx.interop.optax.injection import inject_hyperparams, inject_stateful_hyperparams
from gradtx.interop.optax.moments import (
    bias_correction,
    update_infinity_moment,
    update_moment,
    update_moment_per_elem_norm,
)
from gradtx.interop.optax.transformation import Transformation, plain
from gradtx.rules.by_path import select
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree

__all__ = ["ADAPTERS"]


def add_decayed_weights(weight_decay: Number = 0.0, mask: Mask | None = None) -> GradientTransformation:
    """`gradtx.add_decoupled_weight_decay`."""
    return gradtx.add_decoupled_weight_decay(weight_decay, mask)


def add_noise(eta: Any, gamma: Any, key: Any = None, *, seed: int | None = None) -> GradientTransformation:
    """`gradtx.add_noise`; without a key it is 0. `seed` is Optax's former name of it."""
    return gradtx.add_noise(eta, gamma, _key("add_noise", key, seed))


def differentially_private_aggregate(
    l2_norm_clip: Any, noise_multiplier: Any, key: Any = None, *, seed: int | None = None
) -> GradientTransformation:
    """`gradtx.differentially_private_aggregate`; without a key it is 0. `seed` is its former name."""
    chosen = _key("differentially_private_aggregate", key, seed)
    return gradtx.differentially_private_aggregate(l2_norm_clip, noise_multiplier, chosen)


def _key(owner: str, key: Any, seed: Any) -> Any:
    """The key, or 0; `seed` is Optax's former name of it."""
    if key is not None and seed is not None:
        raise ValueError(f"{owner}: give a key or a seed, not both.")
    given = seed if key is None else key
    return 0 if given is None else given


def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """`gradtx.momentum`, or without the bias correction `gradtx.ema`."""
    make: Any = gradtx.momentum if debias else gradtx.ema
    return make(decay, accumulator_dtype=accumulator_dtype)


def unitwise_clip(g_norm: Any, max_norm: Any, grad: Any, div_eps: Any = 1e-6) -> jax.Array:
    """`gradtx.unitwise_clip`, which divides by no zero and so reads no `div_eps`."""
    return gradtx.unitwise_clip(g_norm, max_norm, grad)


def global_norm(updates: PyTree) -> jax.Array:
    """`gradtx.tree.global_norm`: finite wherever the norm itself is."""
    return gradtx.tree.global_norm(updates)


def masked(inner: Any, mask: Any, *, mask_compatible_extra_args: bool = False) -> GradientTransformation:
    """`gradtx.masked`."""
    return gradtx.masked(inner, mask, mask_compatible_extra_args=mask_compatible_extra_args)


def partition(
    transforms: Mapping[Any, Any], param_labels: Any, *, mask_compatible_extra_args: bool = False
) -> GradientTransformation:
    """`gradtx.partition`."""
    return gradtx.partition(transforms, param_labels, mask_compatible_extra_args=mask_compatible_extra_args)


multi_transform = partition


def clip(max_delta: Any) -> GradientTransformation:
    """`gradtx.clip`; an infinite bound is none."""
    return gradtx.identity() if _is_infinite(max_delta) else gradtx.clip(max_delta)


def clip_by_block_rms(threshold: Any) -> GradientTransformation:
    """`gradtx.clip_by_block_rms`; an infinite bound is none."""
    return gradtx.identity() if _is_infinite(threshold) else gradtx.clip_by_block_rms(threshold)


def clip_by_global_norm(max_norm: Any) -> GradientTransformation:
    """`gradtx.clip_by_global_norm`; an infinite bound is none."""
    return gradtx.identity() if _is_infinite(max_norm) else gradtx.clip_by_global_norm(max_norm)


def _is_infinite(bound: Any) -> bool:
    return isinstance(bound, (float, np.floating)) and bound == np.inf


def noisy_sgd(
    learning_rate: Any, eta: Any = 0.01, gamma: Any = 0.55, key: Any = None, *, seed: int | None = None
) -> GradientTransformation:
    """`gradtx.noisy_sgd`; without a key it is 0. `seed` is Optax's former name of it."""
    return gradtx.noisy_sgd(learning_rate, eta, gamma, _key("noisy_sgd", key, seed))


def optimistic_adam(
    learning_rate: Any,
    optimism: Any = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """`gradtx.optimistic_adam`, which Optax has given up for `optimistic_adam_v2`."""
    warnings.warn(
        "`optimistic_adam` is deprecated, please use `optimistic_adam_v2` instead.",
        DeprecationWarning,
        stacklevel=3,
    )
    return gradtx.optimistic_adam(learning_rate, optimism, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


def scale_by_learning_rate(learning_rate: Any = None, *, flip_sign: bool = True) -> GradientTransformation:
    """`gradtx.scale_by_learning_rate`; None is the identity, without a sign."""
    if learning_rate is None:
        return gradtx.identity()
    return gradtx.scale_by_learning_rate(learning_rate, flip_sign=flip_sign)


def selective_transform(optimizer: Any, *, freeze_mask: Any) -> GradientTransformation:
    """The optimizer for the leaves whose mask is False; the others stay, and have no state."""
    labels = ["train", "freeze"]

    def label(params: PyTree) -> PyTree:
        return jax.tree.map(lambda frozen: labels[bool(frozen)], select(freeze_mask, params))

    return gradtx.partition({"train": optimizer, "freeze": gradtx.set_to_zero()}, label)


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> GradientTransformation:
    """`gradtx.reduce_on_plateau`, whose patience is one less for the same: Optax's counts the last metric.

    With a patience of 0 Optax reduces at every metric: gradtx's plateau can't, so that this is Optax's own.
    """
    if patience == 0:
        return from_optax(
            optax.contrib.reduce_on_plateau(
                factor, patience, rtol, atol, cooldown, accumulation_size, min_scale
            )
        )
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
        self._opt = opt
        self._tx = Transformation(
            gradtx.accumulate(
                plain(opt), every_k_schedule, use_grad_mean, should_skip_update_fn, accumulator_dtype
            )
        )

    @property
    def inner_opt(self) -> Any:
        """The optimizer that is given the mean."""
        return self._opt

    def init(self, params: PyTree) -> Any:
        """The state before the first update."""
        return self._tx.init(params)

    def update(self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any) -> Any:
        """One micro-batch."""
        return self._tx.update(updates, state, params, **extra)

    def has_updated(self, state: Any) -> jax.Array:
        """Whether the last micro-batch completed an update."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> Transformation:
        """The transformation itself, which this only holds."""
        return self._tx


class grouped(Composite):
    """A chain in a chain, whose states Optax keeps in a tuple of their own.

    Args:
        parts: transformations.
    """

    parts: tuple[GradientTransformation, ...]

    def __init__(self, *parts: GradientTransformation) -> None:
        object.__setattr__(self, "parts", parts)
        self._expansion()

    def _arguments(self) -> Any:
        return ((None, part) for part in self.parts)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> grouped:
        return cls(*fields["parts"])

    def expand(self) -> GradientTransformation:
        return in_order(*self.parts)


def chain(*args: Any) -> GradientTransformation:
    """`gradtx.chain`; a chain among the parts stays one, as its state does in Optax."""
    return in_order(*(grouped(*part.parts) if isinstance(part, in_order) else part for part in args))


class _Either(type):
    """Answers `isinstance` for both libraries' stand-ins."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, (gradtx.MaskedNode, optax.MaskedNode))


class MaskedNode(metaclass=_Either):
    """Stands where a masked transformation sees no leaf: Optax's in a state, gradtx's among updates."""

    def __new__(cls) -> Any:
        return optax.MaskedNode()


_SHARED = {
    "LookaheadParams": LookaheadParams,
    "MaskedNode": MaskedNode,
    "MultiSteps": MultiSteps,
    "add_decayed_weights": add_decayed_weights,
    "add_noise": add_noise,
    "bias_correction": bias_correction,
    "chain": chain,
    "clip": clip,
    "clip_by_block_rms": clip_by_block_rms,
    "clip_by_global_norm": clip_by_global_norm,
    "ema": ema,
    "global_norm": global_norm,
    "inject_hyperparams": inject_hyperparams,
    "inject_stateful_hyperparams": inject_stateful_hyperparams,
    "lookahead": lookahead,
    "masked": masked,
    "multi_transform": multi_transform,
    "noisy_sgd": noisy_sgd,
    "optimistic_adam": optimistic_adam,
    "partition": partition,
    "scale_by_learning_rate": scale_by_learning_rate,
    "selective_transform": selective_transform,
    "update_infinity_moment": update_infinity_moment,
    "update_moment": update_moment,
    "update_moment_per_elem_norm": update_moment_per_elem_norm,
}

ADAPTERS: dict[str, dict[str, Any]] = {
    "": _SHARED,
    "contrib": {
        "differentially_private_aggregate": differentially_private_aggregate,
        "reduce_on_plateau": reduce_on_plateau,
    },
    "transforms": {"unitwise_clip": unitwise_clip},
}
"""The module in Optax -> the name there -> ours; other ways to the same object follow by themselves."""
