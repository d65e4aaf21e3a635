"""Low precision in, exact inside: what bfloat16, float16 and extreme numbers do to an optimizer."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import adam, adamw, chain, clip_by_global_norm, ema
from gradtx.tree import global_norm

PARAMS = {"w": jnp.ones((4, 3), jnp.bfloat16), "b": jnp.ones(3)}


def run(tx, params, grads, steps):
    """The updates and state after `steps` equal gradients, in one compiled loop."""

    @jax.jit
    def go(state):
        def body(_, carry):
            updates, state = tx.update(grads, carry[1], params)
            return updates, state

        return jax.lax.fori_loop(0, steps, body, (grads, state))

    return go(tx.init(params))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_average_of_a_constant_reaches_its_limit(dtype) -> None:
    """PAINS 6: in bfloat16 it stalls between a quarter and a half."""
    ones = jnp.ones(3, dtype)
    updates, state = run(ema(0.999), ones, ones, 10_000)
    assert state.mean.dtype == jnp.float32
    assert updates.dtype == dtype
    np.testing.assert_allclose(state.mean, 1 - 0.999**10_000, rtol=1e-5)


def test_a_small_gradient_after_large_ones_is_remembered() -> None:
    """PAINS 6: Optax's bfloat16 second moment stays at 0.049 for ever."""
    tx = chain(gradtx.square(), ema(0.999))
    _, state = run(tx, jnp.ones(3, jnp.bfloat16), jnp.ones(3, jnp.bfloat16), 50)

    @jax.jit
    def small(state):
        tiny = jnp.full(3, 1e-3, jnp.bfloat16)
        return jax.lax.fori_loop(0, 5000, lambda _, s: tx.update(tiny, s)[1], state)

    exact = (1 - 0.999**50) * 0.999**5000 + (1 - 0.999**5000) * float(jnp.bfloat16(1e-3)) ** 2
    np.testing.assert_allclose(small(state)[1].mean, exact, rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "rmsprop", "sgd", "lion"])
def test_state_and_updates_keep_their_dtypes_under_scan(name) -> None:
    """PAINS 2 and 7: a state that changes dtype breaks `lax.scan` and compiles twice."""
    tx = getattr(gradtx, name)(1e-3, **({"momentum": 0.9} if name == "sgd" else {}))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(params, state, params)
        return (gradtx.apply_updates(params, updates), state), updates

    (params, state), updates = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=3)
    chex.assert_trees_all_equal_dtypes(params, PARAMS)
    chex.assert_trees_all_equal_dtypes(updates, PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32"}


def test_both_moments_dtypes_can_be_chosen_and_updates_keep_theirs() -> None:
    """PAINS 7."""
    for tx in (adam(1e-3, mu_dtype="bfloat16", nu_dtype="float32"), adam(1e-3, nu_dtype="bfloat16")):
        state = tx.init(PARAMS)
        updates, after = jax.jit(tx.update)(PARAMS, state, PARAMS)
        chex.assert_trees_all_equal_dtypes(updates, PARAMS)
        chex.assert_trees_all_equal_dtypes(state, after)
        moments = {x.dtype.name for x in jax.tree.leaves(state) if x.ndim}
        assert moments == {"bfloat16", "float32"}


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "adagrad", "lamb", "nadam"])
def test_float16_with_small_gradients_stays_finite(name) -> None:
    """PAINS 8: eps = 1e-8 underflows in float16, and Optax divides by zero."""
    tx = getattr(gradtx, name)(1e-3)
    params, grads = jnp.ones(4, jnp.float16), jnp.asarray([1e-4, -1e-4, 0.0, 6e-8], jnp.float16)
    updates, _ = run(tx, params, grads, 3)
    assert updates.dtype == jnp.float16
    assert jnp.isfinite(updates).all()
    assert (jnp.sign(updates[:2]) == jnp.asarray([-1, 1], jnp.float16)).all()


def test_apply_updates_adds_in_float32_and_rounds_once() -> None:
    """PAINS 9: 1 + 1e-3 twice over in one update is not lost; and what one addition loses is half a unit."""
    params = jnp.ones((), jnp.bfloat16)
    moved = gradtx.apply_updates(params, jnp.asarray(5e-3))  # a float32 update keeps its bits until the sum
    assert moved.dtype == jnp.bfloat16
    assert float(moved) == float(jnp.bfloat16(1 + 5e-3))
    many = {"w": jnp.linspace(0.5, 2, 64, dtype=jnp.bfloat16)}
    updates = {"w": jnp.linspace(-1e-2, 1e-2, 64, dtype=jnp.float32)}
    exact = np.asarray(many["w"], np.float64) + np.asarray(updates["w"], np.float64)
    chex.assert_trees_all_equal(gradtx.apply_updates(many, updates)["w"], jnp.asarray(exact, jnp.bfloat16))


def test_apply_updates_leaves_none_alone() -> None:
    """PAINS 11."""
    params = {"a": jnp.ones(2), "b": None, "c": jnp.ones(2)}
    moved = gradtx.apply_updates(params, {"a": jnp.ones(2), "b": None, "c": None})
    chex.assert_trees_all_equal(moved, {"a": jnp.full(2, 2.0), "b": None, "c": jnp.ones(2)})


# ---------------------------------------------------------------- schedules and numbers


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_schedule_and_a_number_that_agree_give_the_same_bits(dtype) -> None:
    """PAINS 1: Optax casts b2 to bfloat16, which is 1.0, and the first update is NaN."""
    params = jnp.linspace(0.1, 2, 64, dtype=dtype)
    for name in ("learning_rate", "weight_decay"):
        number, schedule = (adamw(1e-3).replace(**{name: x}) for x in (3e-3, gradtx.constant_schedule(3e-3)))
        for a, b in zip(
            run(number, params, params, 3)[:1], run(schedule, params, params, 3)[:1], strict=True
        ):
            assert jnp.isfinite(a).all()
            np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def test_a_schedule_is_read_at_its_own_step_in_every_piece() -> None:
    """A schedule stands wherever a number does; its step counts from 0 and is in the state."""
    rate = gradtx.linear_schedule(1.0, 0.0, 4)
    tx = chain(gradtx.scale(rate), gradtx.add_decoupled_weight_decay(rate))
    state = tx.init(jnp.ones(2))
    for t in range(6):
        updates, state = jax.jit(tx.update)(jnp.ones(2), state, jnp.ones(2))
        np.testing.assert_allclose(updates, 2 * max(1 - t / 4, 0), atol=1e-7)
    assert state.step == 6


# ---------------------------------------------------------------- norms at the edge


@pytest.mark.parametrize(
    ("grads", "expected"),
    [
        (jnp.zeros(4), jnp.zeros(4)),
        (jnp.full(4, 1e20), jnp.full(4, 0.5)),
        (jnp.full(4, 1e-30), jnp.full(4, 1e-30)),
        (jnp.full(4, 1e3, jnp.float16), jnp.full(4, 0.5, jnp.float16)),
        (jnp.full(4, 6e4, jnp.float16), jnp.full(4, 0.5, jnp.float16)),
        (jnp.asarray([3.0, 4.0]), jnp.asarray([0.6, 0.8])),
        (jnp.asarray([0.3, 0.4]), jnp.asarray([0.3, 0.4])),
    ],
    ids=["zero", "1e20", "tiny", "float16 1e3", "float16 6e4", "above", "below"],
)
def test_clip_by_global_norm_is_finite_where_the_mathematics_is(grads, expected) -> None:
    """PAINS 10."""
    clipped, _ = clip_by_global_norm(1.0).update(grads, clip_by_global_norm(1.0).init(grads))
    assert clipped.dtype == grads.dtype
    np.testing.assert_allclose(
        np.asarray(clipped, np.float64),
        np.asarray(expected, np.float64),
        rtol=1e-3 if grads.dtype == jnp.float16 else 1e-6,
    )


def test_clip_by_global_norm_passes_through_bit_by_bit_below_the_threshold() -> None:
    grads = jax.random.normal(jax.random.key(0), (1000,)) * 1e-3
    clipped, _ = clip_by_global_norm(1.0).update(grads, clip_by_global_norm(1.0).init(grads))
    np.testing.assert_array_equal(clipped, grads)


@pytest.mark.parametrize("max_norm", [1e-6, 1.0, 1e6])
def test_clip_by_global_norm_is_right_over_40_decades(max_norm) -> None:
    tree = {
        "a": jax.random.normal(jax.random.key(0), (50, 7)),
        "b": jax.random.normal(jax.random.key(1), (5,)),
    }
    tx = clip_by_global_norm(max_norm)
    with jax.numpy_rank_promotion("allow"):
        for size in 10.0 ** np.arange(-18, 22):
            grads = jax.tree.map(lambda x, size=size: x * jnp.float32(size * max_norm), tree)
            clipped, _ = tx.update(grads, tx.init(grads))
            flat = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(grads)])
            got = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(clipped)])
            expected = flat * min(1.0, max_norm / np.linalg.norm(flat))
            np.testing.assert_allclose(got, expected, rtol=2e-6, err_msg=f"{size=}")


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_non_finite_gradient_stays_visible_after_clipping(bad) -> None:
    """PAINS 10: it is never turned into a harmless-looking number."""
    grads = {"a": jnp.asarray([1.0, bad]), "b": jnp.ones(2)}
    clipped, _ = clip_by_global_norm(1.0).update(grads, clip_by_global_norm(1.0).init(grads))
    assert not jnp.isfinite(clipped["a"][1])


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-30, 1e-10, 1.0, 1e19, 1e30, 1e37])
def test_the_global_norm_is_right_over_all_of_float32(size) -> None:
    tree = {"a": jnp.full((3, 2), size), "b": jnp.full(3, size)}
    expected = 3 * np.float64(np.float32(size))
    # A subnormal has lost digits before it arrives, and XLA's CPU code flushes it to zero.
    np.testing.assert_allclose(
        float(jax.jit(global_norm)(tree)), 0.0 if size < 1e-38 else expected, rtol=1e-6
    )


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_the_global_norm_of_something_non_finite_is_not_finite(bad) -> None:
    assert not jnp.isfinite(global_norm({"a": jnp.asarray([1.0, bad]), "b": jnp.ones(2)}))


def test_the_global_norm_of_nothing_is_zero() -> None:
    assert global_norm({}) == 0
    assert global_norm({"a": None, "b": jnp.zeros((0, 3))}) == 0


# ---------------------------------------------------------------- trees with holes


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop", "lamb", "adagrad", "lion", "adabelief"])
def test_none_leaves_pass_through_and_have_no_state(name) -> None:
    """PAINS 11: thirteen of Optax's optimizers raise, four turn the state into None."""
    tx = getattr(gradtx, name)(1e-3)
    params = {"a": jnp.ones(2), "b": None, "c": {"d": None, "e": jnp.zeros((0, 3))}}
    state = tx.init(params)
    updates, after = jax.jit(tx.update)(params, state, params)
    assert updates["b"] is None
    assert updates["c"]["d"] is None
    assert updates["c"]["e"].shape == (0, 3)
    assert jnp.isfinite(updates["a"]).all()
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


def test_init_is_abstract_for_everything() -> None:
    """PAINS 28: the state's shapes are known before there are parameters."""
    shapes = jax.eval_shape(lambda: PARAMS)
    for tx in (adamw(gradtx.constant_schedule(1e-3)), adam(1e-3), chain(clip_by_global_norm(1.0), ema(0.9))):
        abstract = jax.eval_shape(tx.init, shapes)
        chex.assert_trees_all_equal_shapes_and_dtypes(abstract, tx.init(PARAMS))
