"""RMSprop: the variance without cancellation, and where the learning rate and ε stand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx


def _scan(tx, gradients, dtype):
    """What `tx` returns at every step."""
    stacked = jnp.asarray(gradients, dtype)

    def step(state, g):
        updates, state = tx.update(g, state)
        return state, updates

    return np.asarray(jax.jit(lambda s: jax.lax.scan(step, tx.init(s[0]), s)[1])(stacked))


def _variance(decay: float, start: float, debiased: bool):
    parts = [gradtx.squared_deviation(decay, debiased), gradtx.ema(decay, start)]
    return gradtx.chain(*parts, *([gradtx.bias_correction(decay)] if debiased else []))


def _textbook(gradients, decay: float, start: float, debiased: bool, dtype):
    v, m, c = dtype(start), dtype(0), dtype(1)
    decay = dtype(decay)
    seen = []
    for t, g in enumerate(gradients.astype(dtype), 1):
        v, m = decay * v + (1 - decay) * g * g, decay * m + (1 - decay) * g
        c = 1 - decay**t if debiased else c
        seen.append(v / c - (m / c) * (m / c))
    return np.stack(seen)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("start", [0.0, 0.7])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_of_squared_deviations_is_the_variance(
    decay: float, start: float, debiased: bool
) -> None:
    gradients = np.random.default_rng(0).normal(0.3, 1.0, size=(50, 20))
    exact = _textbook(gradients, decay, start, debiased, np.longdouble).astype(float)
    with jax.enable_x64(True):
        ours = _scan(_variance(decay, start, debiased), gradients, np.float64)
    np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("debiased", [False, True])
def test_the_variance_of_a_steady_gradient_is_neither_noise_nor_negative(debiased: bool) -> None:
    """A mean of 1 and a deviation of 1e-4: v - m² in float32 has no digit left."""
    gradients = np.random.default_rng(1).normal(1.0, 1e-4, size=(300, 50)).astype(np.float32)
    exact = _textbook(gradients, 0.9, 0.0, debiased, np.longdouble).astype(float)[-100:]
    ours = _scan(_variance(0.9, 0.0, debiased), gradients, np.float32)
    assert np.all(ours >= 0)
    # The deviations themselves are differences of float32 numbers near 1: 6e-8 in 1e-4.
    np.testing.assert_allclose(ours[-100:], exact, rtol=5e-3)
    naive = _textbook(gradients, 0.9, 0.0, debiased, np.float32)[-100:]
    assert np.any(naive < 0)


def test_the_variance_of_one_gradient_is_zero_exactly() -> None:
    gradients = np.random.default_rng(2).normal(size=(1, 100))
    tx = gradtx.scale_by_stddev(0.9, 1e-4, bias_correction=True)
    ours = _scan(tx, gradients, np.float32)
    np.testing.assert_allclose(ours, gradients * 100, rtol=3e-7)  # g / sqrt(1e-4)


def test_a_constant_gradient_has_no_variance_in_the_end() -> None:
    tx = gradtx.scale_by_stddev(0.9, 1e-2, eps_in_sqrt=False)
    ours = _scan(tx, np.full((600, 1), 3.0), np.float32)
    assert np.all(np.isfinite(ours))
    # In float32 the mean stops some 1e-6 short of 3, which is 1e-4 of ε.
    np.testing.assert_allclose(ours[-1], 300.0, rtol=2e-4)


def test_debiased_with_epsilon_outside_is_adam_without_momentum() -> None:
    gradients = np.random.default_rng(3).normal(size=(40, 10))
    rms = gradtx.scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True)
    adam = gradtx.scale_by_adam(b1=0.0, b2=0.999)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            _scan(rms, gradients, np.float64), _scan(adam, gradients, np.float64), rtol=1e-14
        )


def test_nesterov_without_a_velocity_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rmsprop\(nesterov=True\): without momentum"):
        gradtx.rmsprop(0.1, nesterov=True)


def test_the_mean_is_stored_only_where_it_is_taken_off() -> None:
    params = jnp.zeros(100)
    sizes = [
        sum(x.nbytes for x in jax.tree.leaves(gradtx.rmsprop(0.1, **options).init(params)))
        for options in ({}, {"momentum": 0.9}, {"centered": True}, {"centered": True, "momentum": 0.9})
    ]
    assert sizes == [400, 800, 800, 1200]
