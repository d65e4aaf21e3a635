"""Arrays made from a leaf, which lie where it lies.

What is made from a shape alone lies on one device, whatever the parameters' sharding is; on a mesh whose axes
are explicit, and within shard_map, it has another type than the leaf.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gradtx.values.kinds import is_traced

__all__ = ["agreed", "along", "anywhere", "filled"]


def filled(leaf: Any, value: Any, dtype: Any) -> jax.Array:
    """An array of the leaf's shape and sharding, filled with `value`.

    Args:
        leaf: an array, or its shape and dtype, which has no sharding.
        value: a number.
        dtype: of the result.
    """
    if not isinstance(leaf, jax.Array):
        return jnp.full(np.shape(leaf), value, dtype)
    new = jnp.full_like(leaf, value, dtype=dtype)
    if not is_traced(leaf):
        lies = is_traced(new) or leaf.sharding == new.sharding
        return new if lies else jax.device_put(new, leaf.sharding)
    # A constant depends on nothing, and a program returns it whole on every device. This depends on the leaf
    # while shardings are found, and is the constant afterwards.
    return _either(jax.lax.eq(leaf, leaf), new, new)


_either = jax.jit(jax.lax.select)
"""A choice between what may be one and the same: within its caller it would be seen to be none too early."""


def along(leaf: Any, axes: tuple[int, ...], dtype: Any) -> jax.Array:
    """Zeros of the lengths of some of the leaf's axes, sharded as it is along these.

    Args:
        leaf: an array, or its shape and dtype, which has no sharding.
        axes: those to keep, in order.
        dtype: of the result.
    """
    if is_traced(leaf):
        return jnp.sum(filled(leaf, 0, dtype), [a for a in range(leaf.ndim) if a not in axes])
    shape = tuple(np.shape(leaf)[a] for a in axes)
    if not isinstance(leaf, jax.Array) or not isinstance(leaf.sharding, NamedSharding):
        put = isinstance(leaf, jax.Array) and leaf.committed and len(leaf.devices()) == 1
        return jnp.zeros(shape, dtype, device=leaf.sharding if put else None)
    spec = (*leaf.sharding.spec, *[None] * leaf.ndim)
    own = NamedSharding(leaf.sharding.mesh, PartitionSpec(*(spec[a] for a in axes)))
    return jnp.zeros(shape, dtype, device=own)


def agreed(holds: jax.Array) -> jax.Array:
    """Whether it holds on each device over which shard_map has parted what it was found in.

    Where shard_map does not tell its axes (check_vma=False), each device is told what it has found itself.
    """
    axes = _mapped(holds)
    return jax.lax.pmin(holds.astype(jnp.int32), axes) > 0 if axes else holds


def anywhere(found: jax.Array) -> jax.Array:
    """Whether it was found on any such device; see `agreed`."""
    axes = _mapped(found)
    return jax.lax.pmax(found.astype(jnp.int32), axes) > 0 if axes else found


def _mapped(x: jax.Array) -> tuple[str, ...]:
    """The axes of shard_map along which it may differ."""
    of: Any = jax.typeof(x)
    mapped = getattr(of, "manual_axis_type", None)
    return tuple(sorted(getattr(of, "vma", ()) if mapped is None else mapped.varying))
