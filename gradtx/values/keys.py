"""Random keys: as fields that compare, and as leaves of a state that are plain numbers."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.values.kinds import is_array, is_traced
from gradtx.values.wording import a_kind, shown

__all__ = ["Key", "first_key", "next_key"]


class _Key:
    """A seed: a whole number, or a key of jax.random, kept as its numbers so that it compares."""

    def accept(self, owner: str, name: str, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        if is_array(value) and not is_traced(value) and jnp.issubdtype(value.dtype, jnp.integer):
            value = value.tolist()
        if not isinstance(value, (tuple, list)):
            return self._whole(owner, name, value, -(2**63), 2**63 - 1)
        key = tuple(self._whole(owner, name, x, 0, 2**32 - 1) for x in value)
        length = jax.random.key_data(jax.random.key(0)).size
        if len(key) != length:
            raise ValueError(
                f"{owner}({name}={shown(value)}): {name} has {len(key)} numbers, and a key of jax.random "
                f"{length}."
            )
        return key

    @staticmethod
    def _whole(owner: str, name: str, value: Any, low: int, high: int) -> int:
        if is_array(value) and not is_traced(value) and np.ndim(value) == 0:
            value = value.item() if jnp.issubdtype(value.dtype, jnp.integer) else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a whole number or a key of jax.random, not "
                f"{a_kind(value)}."
            )
        if not low <= value <= high:
            raise ValueError(f"{owner}({name}={shown(value)}): {name} must be in [{low}, {high}].")
        return value


Key = Annotated[Any, _Key()]
"""A whole number or a key of jax.random."""


def first_key(seed: Any) -> jax.Array:
    """The numbers of the key that a field holds."""
    return jax.random.PRNGKey(seed) if isinstance(seed, int) else jnp.asarray(seed, jnp.uint32)


def next_key(data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The numbers of the next key, and a key to use now."""
    after, now = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(after), now
