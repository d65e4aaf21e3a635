"""Sophia and its estimates of the Hessian's diagonal, beside the paper's loops in float64 and Optax."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import chain
from tests import whole

RNG = np.random.default_rng(2)
SIZE = 200
CURVE = RNG.uniform(-1.0, 30.0, size=SIZE).astype(np.float32).astype(float)  # some of it negative
START = RNG.normal(size=SIZE).astype(np.float32).astype(float)
NOISE = RNG.normal(size=(1000, SIZE)).astype(np.float32).astype(float)


def objective(x):
    """Its Hessian is diagonal, diag(a + 3 x² / 10): signs estimate it exactly."""
    return jnp.sum(jnp.asarray(CURVE, x.dtype) * x**2) / 2 + jnp.sum(x**4) / 40


def paper(
    theta, steps, *, rate, b1=0.965, b2=0.99, eps=1e-8, gamma=0.01, rho=1.0, k=10, decay=1e-4, corrected=True,
    after=False,
):  # fmt: skip
    """Liu et al., algorithm 3; `corrected` as in the authors' code, `after` as in Optax."""
    m, h, path = 0.0, np.zeros_like(theta), []
    for t in range(1, steps + 1):
        g = NOISE[t - 1] + CURVE * theta + theta**3 / 10
        m = b1 * m + (1 - b1) * g
        renewed = b2 * h + (1 - b2) * (CURVE + 3 * theta**2 / 10) if (t - 1) % k == 0 else h
        h, used = renewed, (h if after else renewed)
        step = (m / (1 - b1**t) if corrected else m) / np.maximum(gamma * used, eps)
        step = step if rho is None else np.clip(step, -rho, rho)
        theta = theta - rate * (step + decay * theta)
        path.append(theta)
    return np.stack(path)


def follow(tx, steps, dtype, library=gradtx):
    def step(carry, noise):
        params, state = carry
        grads = noise + jax.grad(objective)(params)
        updates, state = tx.update(grads, state, params, obj_fn=objective)
        params = library.apply_updates(params, updates)
        return (params, state), (params, updates)

    params = jnp.asarray(START, dtype)
    noise = jnp.asarray(NOISE[:steps], dtype)
    return jax.jit(lambda p, n: jax.lax.scan(step, (p, tx.init(p)), n)[1])(params, noise)


SETTINGS = {
    "defaults": ({}, {}),
    "paper": ({"bias_correction": False}, {"corrected": False}),
    "optax": ({"renew_after": True}, {"after": True}),
    "all": (
        {"b1": 0.9, "b2": 0.8, "eps": 1e-3, "weight_decay": 0.1, "gamma": 0.05, "clip_threshold": 0.5,
         "update_interval": 3},
        {"b1": 0.9, "b2": 0.8, "eps": 1e-3, "decay": 0.1, "gamma": 0.05, "rho": 0.5, "k": 3},
    ),
    "unclipped": (
        {"clip_threshold": None, "eps": 0.1, "weight_decay": 0.0, "update_interval": 1},
        {"rho": None, "eps": 0.1, "decay": 0.0, "k": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_follows_the_paper_for_60_steps(setting: str) -> None:
    options, theirs = SETTINGS[setting]
    with jax.enable_x64(True):
        path, _ = follow(gradtx.sophia(1e-2, **options), 60, np.float64)
    # Where h is negative a momentum near zero is divided by ε = 1e-8: 1e-16 / 1e-8 times a rate of 1e-2 would
    # be the worst, and 1e-12 is what such entries come to.
    np.testing.assert_allclose(path, paper(START, 60, rate=1e-2, **theirs), rtol=1e-12, atol=1e-12)


def test_float32_is_as_near_to_float64_as_float32_can_be() -> None:
    """Of one step from equal parameters, where nothing is clipped: a free run drifts with its parameters."""
    tx = gradtx.scale_by_sophia(clip_threshold=None, eps=1e-2, update_interval=2)

    def run(dtype):
        params = START.astype(dtype)

        def step(state, grads):
            return tx.update(grads, state, params, obj_fn=objective)[::-1]

        made = jax.jit(lambda grads: jax.lax.scan(step, tx.init(params), grads)[1])(NOISE[:20].astype(dtype))
        return np.asarray(made, float)

    narrow = run(np.float32)
    with jax.enable_x64(True):
        wide = run(np.float64)
    assert np.median(np.abs(narrow - wide) / np.abs(wide)) < 5e-7  # about four float32 roundings


def test_agrees_with_optax_for_30_jitted_steps() -> None:
    """With its order of renewal; its random signs are the same, but this Hessian does not ask for them."""
    with jax.numpy_dtype_promotion("standard"):
        ours, _ = follow(gradtx.sophia(1e-2, renew_after=True), 30, np.float32)
        theirs, _ = follow(optax.contrib.sophia(1e-2), 30, np.float32, optax)
        before, _ = follow(gradtx.sophia(1e-2), 30, np.float32)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
    assert not np.allclose(before, theirs, rtol=1e-3)  # the departure


FULL = RNG.normal(size=(6, 6))
FULL = FULL + FULL.T


def coupled(params):
    x = jnp.concatenate([params["a"], params["b"]])
    return x @ jnp.asarray(FULL, x.dtype) @ x / 2


PARAMS = {"a": jnp.ones(2), "b": jnp.ones(4)}


def test_hutchinsons_signs_are_optaxs() -> None:
    ours, theirs = (
        make(jax.random.PRNGKey(3))
        for make in (
            gradtx.hutchinson_estimator_diag_hessian,
            optax.contrib.hutchinson_estimator_diag_hessian,
        )
    )

    @functools.partial(jax.jit, static_argnums=0)
    def three(tx, params):
        def step(state, _):
            return tx.update(params, state, params, obj_fn=coupled)[::-1]

        return jax.lax.scan(step, tx.init(params), length=3)[1]

    with jax.numpy_dtype_promotion("standard"):
        expected = three(theirs, PARAMS)
    found = three(ours, PARAMS)
    for name in PARAMS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    assert gradtx.hutchinson_estimator_diag_hessian() == gradtx.hutchinson_estimator_diag_hessian(None)


@pytest.mark.parametrize("distribution", ["rademacher", "normal"])
def test_hutchinsons_mean_is_the_diagonal(distribution: str) -> None:
    tx = gradtx.hutchinson_estimator_diag_hessian(1, distribution=distribution)

    @jax.jit
    def many(state):
        def step(state, _):
            found, state = tx.update(PARAMS, state, PARAMS, obj_fn=coupled)
            return state, jnp.concatenate([found["a"], found["b"]])

        return jax.lax.scan(step, state, length=20000)[1]

    found = np.asarray(many(tx.init(PARAMS)))
    error = found.std(0) / np.sqrt(len(found))  # 5 of these: one in two million
    assert np.all(np.abs(found.mean(0) - np.diag(FULL)) < 5 * error + 1e-4)
    spread = np.sqrt((FULL**2).sum(1) - np.diag(FULL) ** 2 * (1 if distribution == "rademacher" else -1))
    np.testing.assert_allclose(found.std(0), spread, rtol=0.05)


def test_the_gauss_newton_estimate_has_the_mean_of_the_papers_matrix() -> None:
    """Logistic regression: the Gauss-Newton matrix is its Hessian, Xᵀ diag(p (1 - p)) X / B."""
    x = RNG.normal(size=(16, 3)).astype(np.float32)
    w = np.asarray([0.3, -0.5, 0.1], np.float32)

    def sampled(w, key):
        logits = x @ w
        y = jax.random.bernoulli(key, jax.nn.sigmoid(jax.lax.stop_gradient(logits))).astype(jnp.float32)
        return jnp.mean(jax.nn.softplus(logits) - y * logits)

    tx = gradtx.gauss_newton_bartlett_diag_hessian(5)

    def step(state, _):
        found, state = tx.update(w, state, w, sampled_obj_fn=sampled, batch_size=16)
        return state, found

    found = np.asarray(jax.jit(lambda s: jax.lax.scan(step, s, length=20000)[1])(tx.init(w)))
    p = 1 / (1 + np.exp(-x @ w))
    exact = np.mean((p * (1 - p))[:, None] * x**2, axis=0)
    np.testing.assert_allclose(found.mean(0), exact, rtol=0.05)
    assert np.all(found >= 0)
    # It stands where Hutchinson's does.
    optimizer = gradtx.sophia(0.1, gamma=0.05, hessian_diagonal_fn=tx)
    first = jax.jit(
        lambda w: optimizer.update(w, optimizer.init(w), w, sampled_obj_fn=sampled, batch_size=16)[0]
    )
    assert np.all(np.asarray(first(w)) * w < 0)


def test_between_renewals_the_objective_is_not_computed() -> None:
    computed = []

    def f(x):
        jax.debug.callback(lambda: computed.append(1))
        return objective(x)

    tx = gradtx.sophia(1e-2, update_interval=4)
    params = START.astype(np.float32)
    state = tx.init(params)
    step = jax.jit(lambda state: tx.update(params, state, params, obj_fn=f)[1])
    counts = []
    for _ in range(9):
        state = step(state)
        jax.effects_barrier()
        counts.append(len(computed))
    per = counts[0]
    assert per > 0
    assert counts == [per] * 4 + [2 * per] * 4 + [3 * per]


def test_a_rare_average_is_renewed_at_the_first_of_every_k() -> None:
    tx = gradtx.rare_ema(gradtx.square(), 0.75, 3)
    late = gradtx.rare_ema(gradtx.square(), 0.75, 3, renew_after=True)
    stream = np.asarray([2.0, 5.0, 5.0, 4.0, 5.0], np.float32)
    seen, before = (whole.follow(t, np.float32(0), stream)[1].tolist() for t in (tx, late))
    assert seen == [1.0, 1.0, 1.0, 4.75, 4.75]
    assert before == [0.0, 1.0, 1.0, 1.0, 4.75]


TREE = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
SOPHIA = gradtx.sophia(0.1)
PLACES = {
    "sophia": SOPHIA,
    "chain": chain(gradtx.clip(1.0), SOPHIA),
    "masked": gradtx.masked(SOPHIA, "kernel"),
    "partition": gradtx.partition(
        {"a": SOPHIA, "b": gradtx.freeze()}, gradtx.by_path(("kernel", "a"), (".*", "b"))
    ),
}


def sum_of_squares(params, x):
    return x * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_objective_is_named_with_who_needs_it(place: str) -> None:
    """PAINS 15."""
    tx = PLACES[place]
    state, who = tx.init(TREE), "hutchinson_estimator_diag_hessian"
    with pytest.raises(TypeError, match=rf"{place}: {who} needs the extra argument 'obj_fn'"):
        tx.update(TREE, state, TREE)
    with pytest.raises(TypeError, match=rf"obj_fn, which {who} calls, needs the argument 'x'"):
        tx.update(TREE, state, TREE, obj_fn=sum_of_squares)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(TREE, state, obj_fn=sum_of_squares, x=1.0)
    updates, _ = tx.update(TREE, state, TREE, obj_fn=sum_of_squares, x=1.0)
    assert float(updates["kernel"][0, 0]) < 0


def test_the_share_that_is_not_clipped_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    tx = gradtx.scale_by_sophia(gamma=100.0, verbose=True, print_win_rate_every_n_steps=2)
    params = jnp.asarray([1.0, 1.0, 1.0, 1e9])

    def f(x):
        return jnp.sum(x**2)

    state = tx.init(params)
    step = jax.jit(lambda state: tx.update(params, state, params, obj_fn=f)[1])
    for _ in range(3):
        state = step(state)
        jax.effects_barrier()
    assert capfd.readouterr().out.split() == ["Sophia's", "win", "rate:", "0.75"]
    assert "print_win_rate" not in repr(gradtx.scale_by_sophia(print_win_rate_every_n_steps=2).expand())
