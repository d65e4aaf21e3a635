"""Sign descent in float32: which signs can differ from float64's, and how many do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

# (optimizer, what stands in front of its sign)
OPTIMIZERS = {
    "sign_sgd": (gradtx.sign_sgd(1e-3), gradtx.identity()),
    "signum": (gradtx.signum(1e-3), gradtx.ema(0.9)),
    "signum-0.99": (gradtx.signum(1e-3, 0.99), gradtx.ema(0.99)),
    "lion": (gradtx.lion(1e-3, weight_decay=0.0), gradtx.two_decay_ema(0.9, 0.99)),
    "lion-language": (
        gradtx.lion(1e-3, 0.95, 0.98, weight_decay=0.0),
        gradtx.two_decay_ema(0.95, 0.98),
    ),
}


def _gradients() -> np.ndarray:
    """1000 steps of noise around a mean, for 1000 entries over six decades; exact in float32."""
    rng = np.random.default_rng(2)
    size, mean = 10.0 ** rng.uniform(-6, 0, size=1000), rng.normal(size=1000)
    return (size * (mean + rng.normal(size=(1000, 1000)))).astype(np.float32)


def _run(tx, gradients: np.ndarray, dtype) -> np.ndarray:
    """What `tx` returns at each step."""

    @jax.jit
    def returned(gradients):
        def step(state, g):
            updates, state = tx.update(g, state)
            return state, updates

        return jax.lax.scan(step, tx.init(gradients[0]), gradients)[1]

    return np.asarray(returned(jnp.asarray(gradients, dtype))).astype(np.float64)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_has_the_signs_of_float64(name: str) -> None:
    """Over 1000 steps, every sign whose argument is not within rounding of zero."""
    optimizer, argument = OPTIMIZERS[name]
    gradients = _gradients()
    signs = np.sign(-_run(optimizer, gradients, np.float32))
    narrow = _run(argument, gradients, np.float32)
    with jax.enable_x64(True):
        wide = _run(argument, gradients, np.float64)
        scale = _run(argument, np.abs(gradients), np.float64)
    # The average of |g| is the size of the terms that cancel in the argument; 2⁻²⁴ rounds each.
    sure = np.abs(wide) > 8 * 2.0**-24 * scale
    np.testing.assert_array_equal(signs[sure], np.sign(wide)[sure])
    assert np.mean(sure) > 0.99999
    for t in (1, 10, 100, 1000):
        error = np.median(np.abs(narrow[t - 1] - wide[t - 1]) / np.abs(wide[t - 1]))
        assert error <= 5e-7, f"step {t}: {error:.2e}"  # about four float32 roundings


def test_zero_stays_and_nan_shows() -> None:
    gradients = jnp.asarray([0.0, -0.0, 1e-30, jnp.nan])
    for tx in (gradtx.sign_sgd(0.5), gradtx.signum(0.5), gradtx.lion(0.5, weight_decay=0.0)):
        updates, _ = tx.update(gradients, tx.init(gradients))
        np.testing.assert_array_equal(updates, [0, 0, -0.5, np.nan])


def test_scale_by_sign_is_the_sign() -> None:
    assert gradtx.scale_by_sign().expand() == gradtx.sign()


def test_lion_with_equal_decays_is_signum() -> None:
    rng = np.random.default_rng(0)
    lion, signum = gradtx.lion(0.1, 0.9, 0.9, weight_decay=0.0), gradtx.signum(0.1, 0.9)
    params = jnp.zeros(50)
    states = [lion.init(params), signum.init(params)]
    for _ in range(20):
        g = jnp.asarray(rng.normal(size=50), jnp.float32)
        one, states[0] = lion.update(g, states[0])
        other, states[1] = signum.update(g, states[1])
        np.testing.assert_array_equal(one, other)


def test_a_momentum_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lion\(b2=0.0\): b2 must be in \(0, 1\)"):
        gradtx.lion(1e-3, b2=0.0)


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale_by_lion\(mode='soft'\)"):
        gradtx.scale_by_lion(mode="soft")


def test_a_steep_smooth_sign_is_the_hard_one() -> None:
    g = jnp.asarray([-3.0, -0.1, 0.0, 0.1, 3.0])
    hard, smooth = gradtx.scale_by_lion(), gradtx.scale_by_lion(mode="smooth", smooth_beta=1e4)
    np.testing.assert_array_equal(hard.update(g, hard.init(g))[0], smooth.update(g, smooth.init(g))[0])
