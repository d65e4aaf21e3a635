"""The mean that ASGD keeps, against the loop; its steps are in test_exact.py."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from tests.reference.asgd import asgd

SETTINGS = {"lambd": 0.1, "alpha": 0.5, "t0": 5.0}


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-13), ("float32", 1e-6)])  # some roundings
def test_the_mean_is_that_of_the_loop(dtype: str, rtol: float) -> None:
    with jax.enable_x64(dtype == "float64"):
        rng = np.random.default_rng(0)
        start, gradients = rng.normal(size=(4, 3)), rng.normal(size=(40, 4, 3))
        means: list = []
        asgd([start], lambda theta, t: [gradients[t - 1]], 40, learning_rate=0.1, average=means, **SETTINGS)
        tx, params = gradtx.asgd(0.1, **SETTINGS), jnp.asarray(start, dtype)
        state = tx.init(params)
        for gradient, (mean,) in zip(gradients, means, strict=True):
            updates, state = tx.update(jnp.asarray(gradient, dtype), state, params)
            params = gradtx.apply_updates(params, updates)
            got = gradtx.averaged_params(state, params)
            np.testing.assert_allclose(got, mean, rtol=rtol, atol=rtol)
        assert float(jnp.abs(got - params).max()) > 0.01


def test_until_the_mean_begins_it_is_the_parameters_to_the_last_bit() -> None:
    tx, params = gradtx.asgd(0.1, t0=3.0), jnp.asarray([0.1, 1e-3, 7.0])
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(jnp.asarray([0.3, 1e3, -1e-5]), state, params)
        params = gradtx.apply_updates(params, updates)
        np.testing.assert_array_equal(gradtx.averaged_params(state, params), params)


def test_a_momentum_that_warms_up_is_nesterovs() -> None:
    for make in (gradtx.nadam, gradtx.nadamw):
        with pytest.raises(ValueError, match=rf"{make.__name__}\(momentum_decay=.*only Nesterov's"):
            make(0.1, nesterov=False, momentum_decay=4e-3)
