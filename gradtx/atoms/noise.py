"""Gradient noise that dies away.

    uₜ = gₜ + N(0, η / tᵞ)        t counts from 1

Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015.
https://arxiv.org/abs/1511.06807
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.contract.hyperparameters import NonNegative
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.keys import Key, first_key, next_key
from gradtx.values.value import static

__all__ = ["add_noise", "noisy", "with_noise"]


def noisy(updates: PyTree, deviation: Any, key: jax.Array) -> tuple[PyTree, jax.Array]:
    """The updates with Gaussian noise of that deviation in every entry, and the data of the next key."""
    after, mine = next_key(key)
    leaves, structure = jax.tree.flatten(updates)
    keys = jax.random.split(mine, max(len(leaves), 1))
    return jax.tree.unflatten(structure, with_noise(leaves, deviation, list(keys))), after


def with_noise(leaves: list[jax.Array], deviation: Any, keys: list[jax.Array]) -> list[jax.Array]:
    """Each leaf with Gaussian noise of that deviation, by a key of its own."""
    return [
        u + numerics.times(jax.random.normal(k, u.shape, u.dtype), deviation)
        for u, k in zip(leaves, keys, strict=False)
    ]


class AddNoiseState(NamedTuple):
    """How often, and the key of the next noise."""

    step: jax.Array  # int32: how many updates have been made
    key: jax.Array  # uint32, of the shape that the default generator's keys have


class add_noise(GradientTransformation, reach=TREE):
    """Add Gaussian noise of variance η / tᵞ to every entry.

    Args:
        eta: η, the variance at the first update, at least 0; the paper tries 0.01, 0.3 and 1.
        gamma: γ, how fast it dies away, at least 0; the paper's is 0.55.
        key: a whole number or a key of jax.random. The same key gives the same noise.
    """

    eta: NonNegative
    gamma: NonNegative
    key: Key = static()

    def init(self, params: PyTree) -> AddNoiseState:
        return AddNoiseState(numerics.counter(), first_key(self.key))

    def update(
        self, updates: PyTree, state: AddNoiseState, params: PyTree | None = None
    ) -> tuple[PyTree, AddNoiseState]:
        step = numerics.safe_increment(state.step)
        count = step.astype(float)
        deviation = jnp.sqrt(numerics.like(self.eta, count) / count ** numerics.like(self.gamma, count))
        out, key = noisy(updates, deviation, state.key)
        return out, AddNoiseState(step, key)
