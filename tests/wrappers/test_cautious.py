"""Caution by itself: what waits, how much longer the rest becomes, and what it is not given."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx


def _second(tx, first, second):
    """What the second gradient gives."""
    state = tx.init(first)
    _, state = tx.update(first, state)
    return tx.update(second, state)[0]


def test_what_points_against_the_gradient_waits_and_the_rest_goes_further() -> None:
    """A velocity of 0.9 + g beside gradients of 0.5, 0.5, -0.5 and 0: two of four agree, so 4 / (2 + 1)."""
    first, second = jnp.ones(4), jnp.asarray([0.5, 0.5, -0.5, 0.0])
    made = _second(gradtx.cautious(gradtx.trace(0.9)), first, second)
    np.testing.assert_allclose(made, 4 / 3 * np.asarray([1.4, 1.4, 0.0, 0.0]), rtol=1e-6)  # float32


def test_slack_keeps_a_leaf_short_of_which_nothing_agrees() -> None:
    for slack in (1e-3, 1.0):
        made = _second(gradtx.cautious(gradtx.trace(0.9), slack), jnp.ones(1000), -0.1 * jnp.ones(1000))
        assert not made.any()
    one = jnp.where(jnp.arange(1000) == 0, 0.1, -0.1)
    made = _second(gradtx.cautious(gradtx.trace(0.9), 1.0), jnp.ones(1000), one)
    np.testing.assert_allclose(made[0], 1000 / 2 * 1.0, rtol=1e-6)  # 0.9 + 0.1, of one among 1000


def test_each_leaf_counts_its_own() -> None:
    first = {"a": jnp.ones(2), "b": jnp.ones(2)}
    second = {"a": jnp.asarray([1.0, 1.0]), "b": jnp.asarray([1.0, -0.1])}
    made = _second(gradtx.cautious(gradtx.trace(0.9)), first, second)
    np.testing.assert_allclose(made["a"], 1.9 * np.asarray([2 / 3, 2 / 3]), rtol=1e-6)
    np.testing.assert_allclose(made["b"], 1.9 * np.asarray([1.0, 0.0]), rtol=1e-6)


def test_signs_are_compared_where_a_product_would_vanish() -> None:
    made = gradtx.cautious(gradtx.identity()).update(
        jnp.full(3, 1e-30), gradtx.cautious(gradtx.identity()).init(0.0)
    )[0]
    np.testing.assert_allclose(made, 3 / 4 * 1e-30, rtol=1e-6)


def test_complex_entries_agree_within_a_right_angle() -> None:
    first, second = jnp.ones(3, jnp.complex64), jnp.asarray([1j, 0.1 + 1j, -2.0], jnp.complex64)
    made = _second(gradtx.cautious(gradtx.trace(0.5)), first, second)  # u = 0.5 + g
    np.testing.assert_allclose(made, 3 / 4 * np.asarray([0.5 + 1j, 0.6 + 1j, -1.5]), rtol=1e-6)
    made = _second(gradtx.cautious(gradtx.trace(0.9)), first, jnp.asarray([1j, 1j, -0.5], jnp.complex64))
    assert made[2] == 0


def test_a_nan_is_not_hidden() -> None:
    made = _second(gradtx.cautious(gradtx.trace(0.9)), jnp.ones(2), jnp.asarray([jnp.nan, 1.0]))
    assert jnp.isnan(made[0])
    assert jnp.isfinite(made[1])


def test_a_whole_optimizer_is_refused_because_it_points_downhill() -> None:
    with pytest.raises(ValueError, match=r"cautious\(inner=adam\(\.\.\.\)\): adam has a learning rate"):
        gradtx.cautious(gradtx.adam(1e-3))


def test_a_step_of_gradient_descent_along_it_never_goes_uphill() -> None:
    """⟨u φ, g⟩ is a sum of products above 0: what the paper's proposition on the loss's fall rests on."""
    rng = np.random.default_rng(0)
    tx = gradtx.cautious(gradtx.scale_by_adam())
    state = tx.init(jnp.zeros(50))
    for _ in range(20):
        g = jnp.asarray(rng.normal(size=50), jnp.float32)
        direction, state = tx.update(g, state)
        assert jnp.all(direction * g >= 0)
        assert jnp.dot(direction, g) > 0
