"""Gradient descent's forms: where the learning rate stands, dampening, and Nesterov's two faces."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from tests.reference.sgd import drop, dropping, nesterov

PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}


def _like(value: float):
    return jax.tree.map(lambda p: jnp.full_like(p, value), PARAMS)


def _updates(tx, gradients):
    """The first entry of every update."""
    state, seen = tx.init(PARAMS), []
    for g in gradients:
        updates, state = tx.update(_like(g), state, PARAMS)
        seen.append(float(updates["w"][0, 0]))
    return seen


def test_plain_has_no_state_and_momentum_has_one_buffer() -> None:
    assert jax.tree.leaves(gradtx.sgd(0.1).init(PARAMS)) == []
    assert sum(x.nbytes for x in jax.tree.leaves(gradtx.sgd(0.1, 0.9).init(PARAMS))) == 4 * 8
    state = gradtx.sgd(drop).init(PARAMS)
    assert jax.tree.leaves(state) == [state.step, state.scheduled["sgd.learning_rate"]]


def test_a_rate_inside_the_velocity_feels_a_drop_later_than_one_outside() -> None:
    rate = gradtx.piecewise_constant_schedule(1.0, {2: 0.1})
    gradients = [1.0, 1.0, 0.0, 0.0]  # after the drop only the velocity is left: 0.9 · 1.9, then 0.81 · 1.9
    outside = _updates(gradtx.sgd(rate, 0.9), gradients)
    inside = _updates(gradtx.sgd(rate, 0.9, rate_inside=True), gradients)
    np.testing.assert_allclose(outside, [-1, -1.9, -0.171, -0.1539], rtol=1e-6)
    np.testing.assert_allclose(inside, [-1, -1.9, -1.71, -1.539], rtol=1e-6)


def test_dampening_spares_the_first_gradient() -> None:
    tx = gradtx.sgd(1.0, 0.5, dampening=0.25)
    np.testing.assert_allclose(_updates(tx, [1.0, 1.0, 2.0]), [-1, -1.25, -2.125], rtol=1e-6)


def test_dampening_by_the_momentum_is_an_average() -> None:
    """It starts at the first gradient, so the average of a constant is that constant at once."""
    tx = gradtx.sgd(1.0, 0.9, dampening=0.9)
    np.testing.assert_allclose(_updates(tx, [3.0] * 20), [-3.0] * 20, rtol=1e-6)


def test_only_dampening_that_is_on_has_a_counter() -> None:
    assert len(jax.tree.leaves(gradtx.sgd(0.1, 0.9).init(PARAMS))) == 2
    assert len(jax.tree.leaves(gradtx.sgd(0.1, 0.9, dampening=0.5).init(PARAMS))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nesterov": True}, r"sgd\(nesterov=True\): without momentum"),
        ({"dampening": 0.5}, r"sgd\(dampening=0.5\): without momentum"),
        ({"momentum": 0.9, "nesterov": True, "dampening": 0.5}, "dampening must be 0"),
        ({"momentum": 1.1}, "momentum must be in"),
        ({"momentum": 0.9, "dampening": 1.0}, "dampening must be in"),
    ],
)
def test_what_would_do_nothing_or_diverge_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradtx.sgd(0.1, **options)


def test_a_momentum_of_1_adds_up_all_gradients() -> None:
    tx = gradtx.sgd(0.1, momentum=1.0)
    _, state = tx.update(PARAMS, tx.init(PARAMS))
    updates, _ = tx.update(PARAMS, state)
    chex.assert_trees_all_close(updates, jax.tree.map(lambda p: -0.2 * p, PARAMS), rtol=1e-6)


# ---------------------------------------------------------------- Nesterov's original form


def quadratic(params):
    (x,) = params
    return 0.5 * jnp.sum(jnp.asarray([1.0, 10.0, 0.1]) * x**2)


def rosenbrock(params):
    """A fiftieth of it, so that one learning rate suits both losses."""
    (x,) = params
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2) / 50


START = [np.asarray([-1.2, 1.0, 0.5])]
every_loss = pytest.mark.parametrize("loss", [quadratic, rosenbrock])


def _look_ahead_path(tx, loss, steps: int) -> np.ndarray:
    """Plain momentum with gradients where it looks: the path of those places."""
    params = [jnp.asarray(p) for p in START]

    def step(carry, _):
        params, state = carry
        ahead = gradtx.look_ahead(tx, state, params)
        updates, state = tx.update(jax.grad(loss)(ahead), state, params)
        params = gradtx.apply_updates(params, updates)
        return (params, state), gradtx.look_ahead(tx, state, params)[0]

    return np.asarray(jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, steps)[1])(params))


def _plain_path(tx, loss, steps: int) -> np.ndarray:
    params = [jnp.asarray(p) for p in START]

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = gradtx.apply_updates(params, updates)
        return (params, state), params[0]

    return np.asarray(jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, steps)[1])(params))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two paths, relative to the largest entry."""
    return float(np.max(np.abs(a - b)) / np.max(np.abs(a)))


@every_loss
@pytest.mark.parametrize("inside", [False, True])
def test_momentum_that_looks_ahead_is_the_shifted_form(loss, inside: bool) -> None:
    with jax.enable_x64(True):
        original = _look_ahead_path(gradtx.sgd(0.01, 0.9, rate_inside=inside), loss, 60)
        shifted = _plain_path(gradtx.sgd(0.01, 0.9, nesterov=True, rate_inside=inside), loss, 60)
        plain = _plain_path(gradtx.sgd(0.01, 0.9, rate_inside=inside), loss, 60)
    assert _apart(original, shifted) <= 1e-15  # measured: 5e-16, two roundings of float64
    assert _apart(original, plain) > 1e-2  # so that the sentence above says something


def test_with_the_rate_inside_that_holds_for_every_schedule() -> None:
    with jax.enable_x64(True):
        paths = {
            inside: (
                _look_ahead_path(gradtx.sgd(drop, 0.9, rate_inside=inside), quadratic, 60),
                _plain_path(gradtx.sgd(drop, 0.9, nesterov=True, rate_inside=inside), quadratic, 60),
            )
            for inside in (True, False)
        }
    assert _apart(*paths[True]) <= 1e-15
    assert _apart(*paths[False]) > 1e-3


@every_loss
def test_looking_ahead_follows_the_papers_loop(loss) -> None:
    slope = jax.jit(jax.grad(loss))

    def gradient(theta, _):
        return [np.asarray(g) for g in slope(theta)]

    with jax.enable_x64(True):
        ours = _look_ahead_path(gradtx.sgd(drop, 0.9, rate_inside=True), loss, 60)
        loop = nesterov(START, gradient, 60, learning_rate=dropping, momentum=0.9)
    assert _apart(np.stack([p[0] for p in loop]), ours) <= 1e-15


def test_look_ahead_reads_the_state_and_keeps_dtypes() -> None:
    params = {"w": jnp.ones(4, jnp.bfloat16), "frozen": None}
    tx = gradtx.sgd(0.5, 0.5)
    state = tx.init(params)
    same = gradtx.look_ahead(tx, state, params)
    assert same["w"].dtype == jnp.bfloat16
    assert same["frozen"] is None
    np.testing.assert_array_equal(same["w"], params["w"])  # no velocity yet
    _, state = tx.update(params, state, params)
    ahead = gradtx.look_ahead(tx, state, params)
    np.testing.assert_array_equal(ahead["w"].astype(float), 0.75)  # 1 - 0.5 · 0.5 · 1
    again = gradtx.look_ahead(tx, state, params)
    np.testing.assert_array_equal(again["w"], ahead["w"])


def test_look_ahead_counts_a_penalty_in() -> None:
    params = {"w": jnp.full(2, 2.0)}
    tx = gradtx.chain(gradtx.add_l2_penalty(0.1), gradtx.sgd(1.0))
    np.testing.assert_allclose(gradtx.look_ahead(tx, tx.init(params), params)["w"], 1.8, rtol=1e-6)
