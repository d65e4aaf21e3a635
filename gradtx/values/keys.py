"""Random keys: as fields that compare, and as leaves of a state that are plain numbers."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Key", "first_key", "next_key"]


class _Key:
    """A seed: a whole number, or a key of jax.random, kept as its numbers so that it compares."""

    def accept(self, owner: str, name: str, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        if isinstance(value, (jax.Array, np.ndarray, tuple, list)) and np.ndim(value) == 1:
            return tuple(int(x) for x in np.asarray(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise TypeError(f"{owner}({name}={value!r}): {name} must be a whole number or a key of jax.random.")


Key = Annotated[Any, _Key()]
"""A whole number or a key of jax.random."""


def first_key(seed: Any) -> jax.Array:
    """The numbers of the key that a field holds."""
    return jax.random.PRNGKey(seed) if isinstance(seed, int) else jnp.asarray(seed, jnp.uint32)


def next_key(data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The numbers of the next key, and a key to use now."""
    after, now = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(after), now
