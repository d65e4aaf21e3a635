"""gradtx inside Optax's combinators as it is, and Optax's transformations inside ours."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import gradtx
from gradtx.interop.optax import as_optax, from_optax

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}
MASK = {"w": True, "b": False}

WRAPPERS = {
    "chain": lambda tx: optax.chain(optax.clip(0.5), tx),
    "named_chain": lambda tx: optax.named_chain(("clip", optax.clip(0.5)), ("tx", tx)),
    "masked": lambda tx: optax.masked(tx, MASK),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "partition": lambda tx: optax.partition({"a": tx, "b": optax.sgd(0.1)}, {"w": "a", "b": "b"}),
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
    "flatten": optax.flatten,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_works_unchanged_inside_optax(wrap) -> None:
    """Five jitted steps of each wrapper around ours equal those around Optax's own."""
    ours, theirs = wrap(gradtx.adamw(0.1)), wrap(optax.adamw(0.1))

    @jax.jit
    def step(params, mine, peers, peer_state):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, mine = ours.update(params, mine, params)
            peer_updates, peer_state = theirs.update(peers, peer_state, peers)
        return (
            optax.apply_updates(params, updates),
            mine,
            optax.apply_updates(peers, peer_updates),
            peer_state,
        )

    carry = (PARAMS, ours.init(PARAMS), PARAMS, theirs.init(PARAMS))
    for _ in range(5):
        carry = step(*carry)
    chex.assert_trees_all_close(carry[0], carry[2], rtol=0, atol=2e-5 * 0.5)  # of the way moved
    assert not jnp.allclose(carry[0]["w"], PARAMS["w"])


def test_works_inside_inject_hyperparams() -> None:
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.inject_hyperparams(gradtx.adam)(learning_rate=optax.linear_schedule(0.1, 0.0, 10), b1=0.8)
        state = tx.init(PARAMS)
        update = jax.jit(tx.update)
        for _ in range(2):
            updates, state = update(PARAMS, state, PARAMS)
    assert set(state.hyperparams) >= {"learning_rate", "b1", "b2", "eps"}
    reference = gradtx.adam(gradtx.linear_schedule(0.1, 0.0, 10), b1=0.8)
    mine = reference.init(PARAMS)
    for _ in range(2):
        expected, mine = reference.update(PARAMS, mine, PARAMS)
    chex.assert_trees_all_close(updates, expected, rtol=1e-5)


def test_optax_pieces_work_inside_ours() -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        mixed = gradtx.chain(optax.clip_by_global_norm(1.0), gradtx.scale_by_adam(), optax.scale(-0.1))
        pure = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adam(0.1))
        results = []
        for tx in (mixed, pure, gradtx.masked(optax.adam(0.1), True)):
            updates, state = jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
            results.append(updates)
            jax.tree.map(lambda a, b: chex.assert_equal_shape([a, b]), state, tx.init(PARAMS))
    chex.assert_trees_all_close(results[0], results[1], rtol=2e-5)


@pytest.mark.parametrize("make", [optax.sm3, optax.rprop, optax.adam, optax.contrib.madgrad])
def test_a_foreign_state_keeps_its_dtypes(make) -> None:
    """Updates inside gradtx are float32; Optax would make its bfloat16 state float32 at the first of them."""
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = gradtx.accumulate(make(1e-3), 1)
    state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        updates, after = jax.jit(tx.update)(params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


def test_from_optax_and_back() -> None:
    theirs = optax.adam(0.1)
    assert from_optax(theirs) == from_optax(theirs)
    assert hash(from_optax(theirs)) == hash(from_optax(theirs))
    assert from_optax(gradtx.adam(0.1)) == gradtx.adam(0.1)
    assert "foreign(init_fn=" in repr(from_optax(theirs))
    for wrong in (0.1, gradtx.adam):
        with pytest.raises(TypeError, match="expected"):
            from_optax(wrong)
        with pytest.raises(TypeError, match="expected"):
            as_optax(wrong)


def test_as_optax_gives_one_object_for_equal_values() -> None:
    assert as_optax(gradtx.adam(0.1)) is as_optax(gradtx.adam(0.1))
    assert isinstance(as_optax(gradtx.adam(0.1)), optax.GradientTransformationExtraArgs)
    assert isinstance(as_optax(optax.adam(0.1)), optax.GradientTransformationExtraArgs)
    sweep = gradtx.adam(jnp.asarray([0.1, 0.2]))
    assert as_optax(sweep) is not as_optax(sweep)  # it has no hash
    jax.vmap(lambda rate: as_optax(gradtx.adam(rate)).init(PARAMS))(sweep.learning_rate)


class scale_by_value(gradtx.GradientTransformation):
    """Reads an extra argument."""

    def update(self, updates, state, params=None, *, value):
        return jax.tree.map(lambda u: u * value, updates), state


def test_as_optax_hands_extra_arguments_on() -> None:
    tx = optax.chain(as_optax(scale_by_value()), optax.identity())
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=2.0)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 2 * p, PARAMS))


def test_extra_arguments_reach_optax_inside_ours() -> None:
    def update(updates, state, params=None, *, loss, **rest):
        return jax.tree.map(lambda u: u * loss, updates), state

    theirs = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    tx = gradtx.chain(gradtx.identity(), theirs)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, loss=3.0, anything="goes")
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 3 * p, PARAMS))


def test_optaxs_state_look_ups_understand_our_states() -> None:
    state = gradtx.adam(0.1).init(PARAMS)
    assert len(optax.tree.get_all_with_path(state, "mean")) == 2
    assert optax.tree.get(gradtx.trace(0.9).init(PARAMS), "velocity") is not None


def test_tree_map_params_finds_what_mirrors_the_parameters() -> None:
    tx = gradtx.adamw(0.1)
    state = tx.init(PARAMS)
    marked = optax.tree_map_params(tx, lambda x: "param", state, transform_non_params=lambda x: "other")
    numbers = ["other"] * 4  # two counters, two means of decays
    assert sorted(jax.tree.leaves(marked)) == numbers + ["param"] * 4
