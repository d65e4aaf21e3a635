"""Where gradtx follows the paper and Optax does not: what the difference is, in numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx


def _updates(tx, stream, start=0.0):
    """The updates of one parameter, over a stream of gradients at parameters that move."""
    params = {"w": jnp.full(1, start)}
    state, made = tx.init(params), []
    for g in stream:
        # Optax promotes here and there, which our own code must not.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update({"w": jnp.full(1, g)}, state, params)
            params = optax.apply_updates(params, updates)
        made.append(float(updates["w"][0]))
    return np.asarray(made)


def test_ademamix_keeps_squares_wide_where_optax_narrows_them() -> None:
    params = {"w": jnp.ones(4)}
    ours = gradtx.ademamix(0.1, mu_dtype="bfloat16").init(params)
    theirs = optax.contrib.ademamix(0.1, mu_dtype="bfloat16").init(params)
    assert [x.dtype for x in jax.tree.leaves(ours) if x.ndim] == [jnp.bfloat16, jnp.bfloat16, jnp.float32]
    assert [x.dtype for x in jax.tree.leaves(theirs) if x.ndim] == [jnp.bfloat16] * 3


def test_adan_weighs_the_change_of_the_gradient_by_b2_where_optax_has_1_minus_b2() -> None:
    """After g = 1, 2 with β₁ = β₃ = 0: m̂ = 2, v̂ = (1 - β₂) / (1 - β₂²), n̂ = (2 + c)²; c weighs the change."""
    options = {"b1": 0.0, "b2": 0.9, "b3": 0.0}
    trend = 0.1 / (1 - 0.9**2)
    for adan, c in ((gradtx.scale_by_adan, 0.9), (optax.scale_by_adan, 1 - 0.9)):
        direction = _updates(adan(**options), [1.0, 2.0])[1]
        np.testing.assert_allclose(direction, (2 + c * trend) / (2 + c), rtol=1e-6)  # float32


def test_adan_decays_by_the_parameters_after_the_step_where_optax_takes_those_before() -> None:
    """Without a gradient, 1 becomes 1 / (1 + λ w), or 1 - λ w."""
    rate, decay = 0.5, 1.0
    for adan, left in ((gradtx.adan, 1 / (1 + rate * decay)), (optax.adan, 1 - rate * decay)):
        update = _updates(adan(rate, weight_decay=decay), [0.0], start=1.0)[0]
        np.testing.assert_allclose(update, left - 1, rtol=1e-6)  # float32


def test_adan_has_no_eps_inside_the_root_where_optax_has_1e_8() -> None:
    """A gradient of 1e-6 moves a parameter by λ, as one of 1 does; in Optax by a hundredth of it."""
    ours, theirs = (_updates(adan(1.0), [1e-6])[0] for adan in (gradtx.adan, optax.adan))
    np.testing.assert_allclose(ours, -1.0, rtol=0.02)  # ε = 1e-8 beside 1e-6
    np.testing.assert_allclose(theirs, -0.01, rtol=0.02)


def test_a_difference_follows_the_updates_and_forgets_what_is_not_finite() -> None:
    tx = gradtx.difference()
    state, seen = tx.init({"w": jnp.zeros(())}), []
    for g in (3.0, 5.0, 5.0, 0.0, -0.0, jnp.inf, 1.0, jnp.nan, 2.0, 2.5):
        change, state = tx.update({"w": jnp.asarray(g)}, state)
        seen.append(float(change["w"]))
    np.testing.assert_array_equal(
        seen, [0.0, 2.0, 0.0, -5.0, 0.0, np.inf, -np.inf, np.nan, np.nan, 0.5]
    )  # each is the exact difference of two neighbours


def test_optimistic_adams_direction_is_adams_where_optaxs_is_nadams() -> None:
    """At the first step both move by λ times the direction, which after a single gradient differs."""
    first = {"alpha": 1.0, "beta": 1.0}
    ours = _updates(gradtx.optimistic_adam_v2(0.1, **first), [1.0])[0]
    theirs = _updates(optax.optimistic_adam_v2(0.1, **first), [1.0])[0]
    nadams = 0.9 * 0.1 / (1 - 0.9**2) + 1 - 0.9  # β₁ m₁ / (1 - β₁²) + (1 - β₁) g / (1 - β₁), over |g| = 1
    np.testing.assert_allclose(ours, -0.1, rtol=1e-6)  # float32
    np.testing.assert_allclose(theirs, -0.1 * (nadams - 0.1 + 1), rtol=2e-5)  # how it rounds 1 - β₂


def test_optimistic_adam_takes_schedules_where_optax_refuses_them() -> None:
    tx = gradtx.optimistic_adam(gradtx.piecewise_constant_schedule(0.1, {1: 0.5}))
    made = _updates(tx, [1.0, 1.0])
    np.testing.assert_allclose(made, [-0.1, -0.05], rtol=1e-5)  # m̂ / sqrt(v̂) stays 1


def test_optimistic_descent_solves_a_game_around_which_descent_circles() -> None:
    """min over x, max over y of x y: from (1, 1), to 0 or outwards."""

    def distance(tx):
        params = {"x": jnp.ones(()), "y": jnp.ones(())}

        def step(carry, _):
            params, state = carry
            grads = {"x": params["y"], "y": -params["x"]}
            updates, state = tx.update(grads, state, params)
            return (gradtx.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), None, length=200)
        return float(jnp.hypot(params["x"], params["y"]))

    assert distance(gradtx.optimistic_gradient_descent(0.3)) < 1e-3  # it falls by about λ² / 2 a step
    assert distance(gradtx.sgd(0.3)) > 1e3  # each step grows it by sqrt(1 + λ²)


def test_a_whole_batch_is_a_micro_batch_too_where_optax_leaves_the_accumulator_out() -> None:
    """An accumulator that squares at its end does so however the batch is divided."""

    def row(x):
        return x

    parts = (jnp.zeros_like, lambda m, x, i: m + x, jnp.square, lambda rows: jnp.sum(rows, 0))
    for micro_vmap, kind, whole in (
        (gradtx.micro_vmap, gradtx.Accumulator, 36.0),
        (optax.microbatching.micro_vmap, optax.microbatching.Accumulator, 6.0),
    ):
        for size, expected in ((1, 36.0), (3, 36.0), (None, whole)):
            found = micro_vmap(row, accumulator=kind(*parts), microbatch_size=size)(
                jnp.asarray([1.0, 2.0, 3.0])
            )
            assert float(found) == expected
