"""What arrives at an update: a state with the leaves of `init`, and parameters beside what is trained."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

PARAMS = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}


def replaced(state, of, new):
    """The state with the first leaf whose path ends in `of` changed."""
    flat, structure = jax.tree_util.tree_flatten_with_path(state)
    at = next(i for i, (path, _) in enumerate(flat) if gradtx.tree.name(path).endswith(of))
    leaves = [x for _, x in flat]
    return structure.unflatten([*leaves[:at], new(leaves[at]), *leaves[at + 1 :]])


# ---------------------------------------------------------------- the state's leaves

BROADCASTING = [
    gradtx.dog(), gradtx.dowg(), gradtx.scale_by_distance_over_gradients(), gradtx.cocob(),
    gradtx.madgrad(0.1), gradtx.prodigy(), gradtx.dadapt_adamw(), gradtx.rprop(0.1), gradtx.acprop(0.1),
    gradtx.adopt(0.1), gradtx.mechanize(gradtx.sgd(0.1)), gradtx.schedule_free_sgd(0.1),
]  # fmt: skip


@pytest.mark.parametrize("tx", BROADCASTING, ids=lambda tx: type(tx).__name__)
@pytest.mark.parametrize("fresh", [False, True], ids=["noted", "elsewhere"])
def test_a_leaf_that_would_broadcast_is_refused_also_where_this_process_made_no_state(tx, fresh) -> None:
    state = tx.init(PARAMS)
    if fresh:  # a transformation that has never made a state, as after a restart
        tx = pickle.loads(pickle.dumps(tx))
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(state)):
        leaves, structure = jax.tree.flatten(state)
        leaves[i] = jnp.ones((1,) if leaf.shape != (1,) else (), leaf.dtype)
        with pytest.raises(ValueError, match=gradtx.tree.name(path, "state")):
            tx.update(PARAMS, structure.unflatten(leaves), PARAMS)


def test_the_message_names_class_leaf_what_arrived_and_what_was_expected() -> None:
    tx = gradtx.adam(0.1)
    state = replaced(tx.init(PARAMS), "kernel", lambda x: x.astype(jnp.bfloat16))
    for update in (tx.update, jax.jit(tx.update)):
        with pytest.raises(
            ValueError,
            match=r"adam: the state's leaf at 'state/.*mean/kernel' is bfloat16\[2,3\], expected "
            r"float32\[2,3\], as init makes it",
        ):
            update(PARAMS, state, PARAMS)


def test_a_state_is_compared_with_the_one_noted_also_without_the_parameters() -> None:
    tx = gradtx.adam(0.1)
    state = replaced(tx.init(PARAMS), "kernel", lambda x: x.astype(jnp.float16))
    with pytest.raises(ValueError, match=r"is float16\[2,3\], expected float32"):
        tx.update(PARAMS, state)


def test_one_transformation_serves_parameters_of_several_kinds() -> None:
    tx = gradtx.adam(0.1)
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        for size in (1, 2):
            params = {"w": jnp.ones(size, dtype)}
            state = tx.init(params)
            for with_params in (params, None):
                _, state = tx.update(params, state, with_params)


def test_options_for_narrow_states_stay() -> None:
    for tx in (gradtx.adam(0.1, mu_dtype="bfloat16"), gradtx.accumulate(gradtx.sgd(0.1), 2)):
        state = tx.init(PARAMS)
        for _ in range(3):
            _, state = tx.update(PARAMS, state, PARAMS)
    narrow = gradtx.adam(0.1, mu_dtype="bfloat16").init(PARAMS)
    with pytest.raises(ValueError, match=r"is bfloat16\[3\], expected float32"):
        gradtx.adam(0.1).update(PARAMS, narrow, PARAMS)


def test_what_a_checkpoint_holds_as_numpy_arrays_or_python_numbers_is_taken() -> None:
    tx = gradtx.adam(gradtx.linear_schedule(0.1, 0.0, 10))
    state = tx.init(PARAMS)
    expected, _ = tx.update(PARAMS, state, PARAMS)
    numpy = jax.tree.map(np.asarray, state)
    doubles = jax.tree.map(lambda x: np.asarray(x, np.int64 if x.dtype == jnp.int32 else float), state)
    for update, restored in ((tx.update, numpy), (jax.jit(tx.update), numpy), (jax.jit(tx.update), doubles)):
        found, _ = update(PARAMS, restored, PARAMS)
        np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=1e-6)  # compiled, some roundings
    with pytest.raises(ValueError, match=r"state/step' is .*expected int32\[\]"):
        tx.update(PARAMS, state._replace(step=0.5), PARAMS)
    tuned = gradtx.tunable(gradtx.sgd(0.1), "learning_rate")
    state = tuned.init(PARAMS)
    for number in (1, 0.5, np.float32(0.5), jnp.int32(2)):
        held = state._replace(hyperparams={"sgd.learning_rate": number})
        updates, after = tuned.update(PARAMS, held, PARAMS)
        assert updates["bias"][0] == -float(number)
        assert after.hyperparams["sgd.learning_rate"].dtype == jnp.float32


def test_weak_types_are_no_other_dtype() -> None:
    tx = gradtx.adam(0.1)
    weak = {"w": jnp.array(0.0)}
    state = tx.init(weak)
    _, state = tx.update({"w": jnp.float32(1.0)}, state, weak)
    tx.update({"w": jnp.float32(1.0)}, state, {"w": jnp.float32(0.0)})


def test_in_64_bits_the_state_is_that_of_64_bits() -> None:
    tx = gradtx.adam(0.1)
    tx.init(PARAMS)
    with jax.enable_x64(True):
        params = {"w": jnp.ones(2, jnp.float64)}
        state = tx.init(params)
        for with_params in (params, None):
            tx.update(params, state, with_params)
        narrow = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, state)
        with pytest.raises(ValueError, match=r"is float32\[2\], expected float64"):
            tx.update(params, narrow, params)


def test_under_vmap_and_shard_map_the_leaves_are_those_of_one_part() -> None:
    tx = gradtx.adam(0.1)
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), PARAMS)
    state = jax.vmap(tx.init)(batch)
    jax.vmap(tx.update)(batch, state, batch)
    with pytest.raises(ValueError, match="expected"):
        jax.vmap(tx.update, in_axes=(0, None, 0))(batch, state, batch)


def test_nothing_is_traced_for_a_state_that_was_made_here() -> None:
    """The check is a comparison of lists where `init` was called."""
    calls = []

    class counted(gradtx.GradientTransformation):
        def init(self, params):
            calls.append(params)
            return gradtx.EmptyState()

        def update(self, updates, state, params=None):
            return updates, state

    tx = counted()
    state = tx.init(PARAMS)
    jax.make_jaxpr(tx.update)(PARAMS, state, PARAMS)
    tx.update(PARAMS, state, PARAMS)
    assert len(calls) == 1
