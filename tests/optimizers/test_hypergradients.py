"""Derivatives by an optimizer's numbers: forward and reverse they are central differences, also of an entry
whose gradient has always been 0, where sqrt has no derivative."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from tests.laws.test_laws import OPTIMIZERS, TRANSFORMATIONS, build, extra_of

# Its line search is a loop of unknown length, which jax can't differentiate backwards. Its numbers decide
# when that loop ends, so that differences have jumps in them.
SEARCHES = {"lbfgs"}
# Where XLA does not optimise, it computes what a maximum is taken of twice, with and without a fused
# multiply-add: jax then finds no entry that is the largest, and its derivative is 0 / 0.
OPTIMISED = {"sm3": {"xla_backend_optimization_level": 3}}
STEPS = 3


def _trained(structure, numbers):
    """Half the squared norm after a few steps on it, of which one entry has no gradient."""
    tx = jax.tree.unflatten(structure, list(numbers))
    params = {"w": jnp.array([[0.53, 0.31], [-0.27, 0.41]], float)}
    state = tx.init(params)
    seen = jnp.array([[1.0, 0.0], [1.0, 1.0]], float)
    for _ in range(STEPS):
        value = jnp.sum(seen * params["w"] ** 2) / 2
        grads = jax.tree.map(lambda p: seen * p, params)
        if tx.per_example:
            grads = jax.tree.map(lambda g: jnp.stack([g, g]), grads)
        extra = extra_of(tx, params)
        updates, state = tx.update(
            grads, state, params, **(extra | {"value": value} if "value" in extra else extra)
        )
        params = gradtx.apply_updates(params, updates)
    return jnp.sum(params["w"] ** 2) / 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_derivatives_by_every_number_are_central_differences(name: str) -> None:
    numbers, structure = jax.tree.flatten(build(TRANSFORMATIONS[name]))
    with jax.enable_x64(True):
        given = np.array(numbers, float)
        # An ε of 1e-16 leaves no difference to see, and a rate of 1 or 0.1 may end a step at a kink.
        large = np.where(np.abs(given) >= 0.01, given * 0.97, np.where(given == 0, 0.0, 0.013))
        steps = 1e-6 * np.eye(len(given))

        def trained(numbers):
            return _trained(structure, numbers)

        def both(given, large):
            forward = jax.vmap(jax.jacfwd(trained))(jnp.stack([given, large]))
            ends = jax.vmap(trained)(jnp.concatenate([large[None] + steps, large[None] - steps]))
            if name in SEARCHES:
                return forward, forward, ends
            return forward, jax.vmap(jax.grad(trained))(jnp.stack([given, large])), ends

        compiled = jax.jit(both, compiler_options=OPTIMISED.get(name))
        forward, reverse, ends = jax.device_get(compiled(given, large))
    assert np.isfinite(forward).all()
    assert np.isfinite(reverse).all()
    if name in SEARCHES:
        return
    up, down = np.split(ends, 2)
    # 1e-5 of the difference's own error, h²f‴/6, and 1e-9 of its rounding, 1e-16 f / h.
    for found in (forward[1], reverse[1]):
        np.testing.assert_allclose(
            found, (up - down) / 2e-6, rtol=1e-5, atol=2e-8 * max(1.0, np.abs(found).max())
        )
