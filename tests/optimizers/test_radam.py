"""The rectification: the length of an average without cancellation, and when it is trusted."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.numerics.decays import average_length
from tests import whole

DECAYS = (0.0, 0.3, 0.6, 0.9, 0.99, 0.999, 0.9999, 0.99999)
STEPS = (1, 2, 3, 4, 5, 6, 10, 30, 100, 300, 1000, 3000, 10**4, 10**5)


def _length(decay: float, step: int) -> float:
    """1 + 2 × the mean age of the weights: the definition, a sum of positive terms."""
    ages = np.arange(step)
    weights = np.longdouble(decay) ** ages
    return float(1 + 2 * np.sum(ages * weights) / np.sum(weights))


@functools.cache
def _lengths(x64: bool):
    """Of every decay, at all steps, in one program, and their limits."""
    limits = {}

    @jax.jit
    def every(steps):
        lengths = {}
        for decay in DECAYS:
            lengths[decay], limits[decay] = average_length(decay, steps)
        return lengths

    with jax.enable_x64(x64):
        return every(np.int32(STEPS)), limits


@pytest.mark.parametrize("decay", DECAYS)
def test_the_length_of_an_average_does_not_cancel(decay: float) -> None:
    exact = np.array([_length(decay, t) for t in STEPS])
    (lengths, limits), (wide, _) = _lengths(x64=False), _lengths(x64=True)
    narrow, limit = lengths[decay], limits[decay]
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, exact, rtol=2e-7)  # two float32 roundings
    np.testing.assert_allclose(wide[decay], exact, rtol=1e-15)
    np.testing.assert_allclose(limit, 2 / (1 - np.longdouble(decay)) - 1, rtol=1e-15)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_length_is_as_exact_for_a_traced_decay(decay: float) -> None:
    held = np.float32(decay)
    lengths, _ = jax.jit(average_length)(held, np.int32(STEPS))
    np.testing.assert_allclose(lengths, [_length(float(held), t) for t in STEPS], rtol=3e-7)


@pytest.mark.parametrize("b2", [0.9, 0.999, 0.9999])
@pytest.mark.parametrize("nesterov", [False, True])
def test_agrees_with_optax_where_optax_has_the_digits(b2: float, nesterov: bool) -> None:
    """In float64: in float32 its rho cancels."""
    ours, peer = gradtx.radam(1e-2, b2=b2, nesterov=nesterov), optax.radam(1e-2, b2=b2, nesterov=nesterov)
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=())}
    grads = {"w": rng.normal(size=(30, 4, 3)), "b": rng.normal(size=30)}
    with jax.enable_x64(True):
        updates = whole.follow(ours, params, grads)[1]
        with jax.numpy_dtype_promotion("standard"):
            expected = whole.follow(peer, params, grads)[1]
        for name in params:
            # 1e-16 × ρ∞ = 2e4 × what 1 - b2 has lost, 1e4
            np.testing.assert_allclose(updates[name], expected[name], rtol=1e-8)


@pytest.mark.parametrize(("threshold", "plain_steps"), [(5.0, 5), (4.0, 4), (0.0, 4), (7.5, 7)])
@pytest.mark.parametrize("b2", [0.999, 0.9999])
def test_the_first_steps_are_momentum(b2: float, threshold: float, plain_steps: int) -> None:
    """ρₜ is a little less than t; up to 4 no threshold lets it through."""
    radam, momentum = gradtx.scale_by_radam(b2=b2, threshold=threshold), gradtx.momentum(0.9)
    grads = np.float32([3.0, -0.01])
    updates, expected = (
        np.asarray(whole.follow(tx, grads, np.tile(grads, (12, 1)))[1]) for tx in (radam, momentum)
    )
    for t in range(1, 13):
        assert np.all(updates[t - 1] == expected[t - 1]) == (t <= plain_steps), t
    assert np.all(np.isfinite(updates))


def test_the_gradient_through_the_decay_is_finite() -> None:
    """Also through the branch that is not taken, where ρₜ < 4 has no root."""

    def total(b2: jax.Array, steps: jax.Array) -> jax.Array:
        tx, grads = gradtx.scale_by_radam(b2=b2), jnp.array([3.0, -1.0])

        def step(state, _):
            updates, state = tx.update(grads, state)
            return state, jnp.sum(updates)

        return jax.lax.scan(step, tx.init(grads), length=10)[1][steps - 1]

    slope = jax.jit(jax.grad(total))
    for steps in (1, 4, 6, 10):
        assert np.isfinite(slope(np.float32(0.99), steps)), steps
    assert float(slope(np.float32(0.99), 10)) != 0.0


def test_eps_hat_is_the_authors_code() -> None:
    """Their step: λ sqrt(1 - β₂ᵗ) r / (1 - β₁ᵗ) · m / (sqrt(v) + ε)."""
    b1, b2, eps, t = 0.9, 0.999, 1e-2, 10
    grads = np.random.default_rng(0).normal(size=(t, 5)).astype(np.float32)
    tx = gradtx.scale_by_radam(eps=eps, eps_hat=True)
    _, updates, _ = whole.follow(tx, jnp.zeros(5), jnp.asarray(grads))
    m = v = np.zeros(5)
    for g in grads.astype(float):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    top = 2 / (1 - b2) - 1
    rho = top - 2 * t * b2**t / (1 - b2**t)
    r = np.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
    right = np.sqrt(1 - b2**t) * r / (1 - b1**t) * m / (np.sqrt(v) + eps)
    np.testing.assert_allclose(updates[-1], right, rtol=2e-5)  # ρ - 4 has lost digits in float32
