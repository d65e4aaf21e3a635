"""SAM beside the paper's loop in float64, and beside Optax."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import chain, normalize_by_update_norm, sgd

RNG = np.random.default_rng(1)
CURVE = RNG.uniform(0.5, 3.0, size=6)
START = RNG.normal(size=6)


def gradient(x):
    return CURVE * x + np.cos(x)


def value(x):
    return jnp.sum(jnp.asarray(CURVE) * x**2) / 2 + jnp.sum(jnp.sin(x))


def paper(theta, gradient, steps, *, rho, rate, momentum=0.0, uphill=1, eps=1e-6):
    """Foret et al., algorithm 1 and equation 2, with steps of SGD with momentum."""
    path, velocity = [], 0.0
    for _ in range(steps):
        there = theta
        for _ in range(uphill):
            g = gradient(there)
            there = there + rho * g / (np.linalg.norm(g) + eps)
        velocity = momentum * velocity + gradient(there)
        theta = theta - rate * velocity
        path.append(theta)
    return np.stack(path)


def adversary(rho, library=gradtx):
    normalize = normalize_by_update_norm() if library is gradtx else optax.normalize_by_update_norm()
    return library.chain(normalize, library.sgd(rho))


def follow(tx, updates, library=gradtx, start=START, **extra):
    """Parameters after each step of one program, and the last state."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(value)(params), state, params, **extra)
        params = library.apply_updates(params, updates)
        return (params, state), params

    run = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), length=updates))
    (_, state), path = run(start)
    return np.asarray(path), jax.device_get(state)


@pytest.mark.parametrize("opaque", [False, True], ids=["transparent", "opaque"])
@pytest.mark.parametrize("period", [1, 2, 4])
def test_follows_the_paper_for_60_steps(period: int, opaque: bool) -> None:
    tx = gradtx.sam(sgd(0.1, momentum=0.9), adversary(0.3), period, opaque_mode=opaque)
    updates, extra = (60, {"grad_fn": lambda p, i: jax.grad(value)(p)}) if opaque else (60 * period, {})
    with jax.enable_x64(True):
        path, _ = follow(tx, updates, **extra)
    expected = paper(START, gradient, 60, rho=0.3, rate=0.1, momentum=0.9, uphill=period - 1)
    np.testing.assert_allclose(path if opaque else path[period - 1 :: period], expected, rtol=1e-11)


def test_in_turn_it_goes_to_the_worst_place_and_keeps_the_true_one() -> None:
    with jax.enable_x64(True):
        path, state = follow(gradtx.sam(sgd(0.1)), 1)
    g = gradient(START)
    np.testing.assert_allclose(path[0], START + 0.05 * g / (np.linalg.norm(g) + 1e-6), rtol=1e-12)
    np.testing.assert_array_equal(state.cache, START)
    assert state.steps_since_sync == 1


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "kept"])
@pytest.mark.parametrize("opaque", [False, True], ids=["transparent", "opaque"])
def test_agrees_with_optax(opaque: bool, reset: bool) -> None:
    """With an adversary that remembers."""

    def make(library):
        sam = gradtx.sam if library is gradtx else optax.contrib.sam
        inner, ascent = library.adam(0.05), library.chain(adversary(0.2, library), library.trace(0.5))
        return sam(inner, ascent, sync_period=3, reset_state=reset, opaque_mode=opaque)

    extra = {"grad_fn": lambda p, i: jax.grad(value)(p)} if opaque else {}
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        ours, _ = follow(make(gradtx), 30, **extra)
        theirs, _ = follow(make(optax), 30, optax, **extra)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_period_of_one_is_the_optimizer_where_optax_goes_back() -> None:
    """Optax steps from the parameters before the last update."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        ours, _ = follow(gradtx.sam(sgd(0.1), sync_period=1), 3)
        plain, _ = follow(sgd(0.1), 3)
        theirs, _ = follow(optax.contrib.sam(optax.sgd(0.1), adversary(0.1, optax), 1), 3, optax)
    np.testing.assert_allclose(ours, plain, rtol=1e-12)
    assert not np.allclose(theirs, plain, rtol=1e-3)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_poisoned_gradient_does_not_stay_in_what_remembers_nothing(at: int) -> None:
    """Optax multiplies by zero what it does not take, and a NaN stays."""
    params, state = jax.device_get(_poisoned(np.int32(at)))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((params, state)))
    assert params["w"][0] < 1


@jax.jit
def _poisoned(at):
    tx = gradtx.sam(chain(gradtx.zero_nans(), sgd(0.1)), chain(gradtx.zero_nans(), adversary(0.1)))
    params = {"w": jnp.ones(3)}

    def step(carry, i):
        params, state = carry
        grads = {"w": params["w"] * jnp.where(i == at, jnp.nan, 1.0)}
        updates, state = tx.update(grads, state, params)
        return (gradtx.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(8))[0]


def test_only_what_steps_is_computed_and_schedules_count_steps() -> None:
    seen = []

    def schedule(step):
        jax.debug.callback(lambda s: seen.append(int(s)), step)
        return 0.1

    follow(gradtx.sam(sgd(schedule)), 6)
    jax.effects_barrier()
    assert seen == [0, 0, 1, 2]  # the first is init's


def test_each_adversarial_step_may_have_its_batch() -> None:
    asked = []
    tx = gradtx.sam(sgd(0.1), sync_period=4, opaque_mode=True)

    def grad_fn(params, i):
        asked.append(i)
        return params

    params = jnp.ones(3)
    jax.eval_shape(lambda: tx.update(params, tx.init(params), params, grad_fn=grad_fn))
    assert asked == [0, 1, 2]


def test_gradients_are_averaged_over_the_named_axis() -> None:
    tx = gradtx.sam(sgd(0.1), opaque_mode=True, batch_axis_name="batch")
    params = jnp.ones(2)

    def update(x):
        def grad_fn(p, i):
            return p * x

        updates, _ = tx.update(jnp.ones(2), tx.init(params), params, grad_fn=grad_fn)
        return updates

    updates = jax.jit(jax.vmap(update, axis_name="batch"))(np.asarray([1.0, 3.0], np.float32))
    np.testing.assert_allclose(updates[0], updates[1])
    np.testing.assert_allclose(updates[0], -0.1 * 2 * (1 + 0.05 / np.sqrt(2)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"sam\(batch_axis_name='batch'\): it is for opaque_mode=True"):
        gradtx.sam(sgd(0.1), batch_axis_name="batch")


OPAQUE = gradtx.sam(sgd(0.1), opaque_mode=True)
PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
PLACES = {
    "sam": OPAQUE,
    "chain": chain(OPAQUE, gradtx.identity()),
    "masked": gradtx.masked(OPAQUE, "kernel"),
    "partition": gradtx.partition(
        {"a": OPAQUE, "b": gradtx.freeze()}, gradtx.by_path(("kernel", "a"), (".*", "b"))
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_gradient_is_named_with_who_needs_it(place: str) -> None:
    """PAINS 15."""
    tx = PLACES[place]
    state = tx.init(PARAMS)
    with pytest.raises(TypeError, match=rf"{place}: sam_at_once needs the extra argument 'grad_fn'"):
        tx.update(PARAMS, state, PARAMS)
    updates, _ = tx.update(PARAMS, state, PARAMS, grad_fn=lambda p, i: jax.tree.map(jnp.negative, p))
    assert updates["kernel"][0, 0] > 0
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(PARAMS, state, grad_fn=lambda p, i: p)


def test_it_runs_in_a_scan() -> None:
    tx = gradtx.sam(gradtx.adam(0.05))

    @functools.partial(jax.jit, static_argnames="f")
    def train(x, f):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(f)(params), state, params)
            return (gradtx.apply_updates(params, updates), state), f(params)

        return jax.lax.scan(step, (x, tx.init(x)), length=200)[1]

    values = np.asarray(train(START.astype(np.float32), value))
    assert values[-1] < values[0]
