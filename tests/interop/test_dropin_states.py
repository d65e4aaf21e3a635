"""States under Optax's names: looked up by name, read and set in place, with both weights of a lookahead."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax as peer
import pytest
from flax import serialization

import gradtx
from gradtx.interop import optax

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}

COUNTING = ["adam", "adamw", "nadam", "adabelief", "amsgrad", "adamax", "lamb"]
"""Optimizers that debias by the step: where it is set, they debias by that."""


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("before", [0, 3])
def test_a_step_that_is_set_is_what_debiasing_counts_by(name: str, before: int) -> None:
    ends = []
    for library in (optax, peer):
        tx = library
        for part in name.split("."):
            tx = getattr(tx, part)
        tx = tx(0.1)
        with jax.numpy_dtype_promotion("standard"):
            state = tx.init(PARAMS)
            for _ in range(before):
                _, state = tx.update(PARAMS, state, PARAMS)
            state = library.tree.set(state, count=jnp.asarray(5, jnp.int32))
            for _ in range(2):
                updates, state = tx.update(PARAMS, state, PARAMS)
        ends.append(updates)
    chex.assert_trees_all_close(*ends, rtol=2e-5)


def test_a_name_that_optaxs_state_has_not_is_not_found_in_a_part_of_it() -> None:
    """What gradtx makes Adam of, two averages, are not the average that Optax calls `ema`."""
    for name in ("adam", "adamw", "adabelief", "lamb", "yogi", "radam", "contrib.ademamix", "adan"):
        tx = optax
        for part in name.split("."):
            tx = getattr(tx, part)
        state = tx(0.1).init(PARAMS)
        assert optax.tree.get(state, "ema") is None, name
        with pytest.raises(KeyError, match="ema"):
            optax.tree.set(state, ema=2.0)


def test_importing_the_drop_in_leaves_gradtxs_states_as_they_are() -> None:
    state = gradtx.adam(0.1).init(PARAMS)
    assert not hasattr(state[0], "mu")
    assert state[0].count("x") == 0, "a tuple's own"


def test_positions_fields_and_replacing_are_optaxs() -> None:
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(0.1, 0.0, 10)))
    state = tx.init(PARAMS)
    assert state[1][0].count == state[1][2].count == 0
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    inner = (state[1][0]._replace(mu=ones), *state[1][1:])
    _, after = jax.jit(chex.assert_max_traces(tx.update, 1))(PARAMS, (state[0], inner), PARAMS)
    assert isinstance(after[1][0], peer.ScaleByAdamState)
    assert (after[1][0].mu["w"] > 0.7).all()
    steps = optax.MultiSteps(optax.adam(0.1), 4)
    state = steps.init(PARAMS)
    for gradient, mean in ((1.0, 1.0), (3.0, 2.0), (8.0, 4.0)):
        _, state = steps.update(jax.tree.map(lambda p, g=gradient: g + 0 * p, PARAMS), state, PARAMS)
        chex.assert_trees_all_equal(state.acc_grads, jax.tree.map(lambda p, m=mean: m + 0 * p, PARAMS))


def test_a_checkpoint_in_flaxs_bytes_fits_both_ways() -> None:
    """Msgpack has the fields by name and place, so that each library reads what the other wrote."""
    ends = []
    for writer, reader in ((peer, optax), (optax, peer)):
        tx = writer.chain(writer.clip(1.0), writer.adamw(writer.linear_schedule(0.1, 0.0, 10)))
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
            other = reader.chain(reader.clip(1.0), reader.adamw(reader.linear_schedule(0.1, 0.0, 10)))
            restored = serialization.from_bytes(other.init(PARAMS), serialization.to_bytes(state))
            assert jax.tree.structure(restored) == jax.tree.structure(state)
            ends.append(other.update(PARAMS, restored, PARAMS)[0])
    chex.assert_trees_all_close(*ends, rtol=2e-5)


@pytest.mark.parametrize("name", ["adam", "lion", "sgd", "contrib.muon"])
def test_another_state_and_other_trees_are_refused_in_optaxs_words(name: str) -> None:
    tx = optax
    for part in name.split("."):
        tx = getattr(tx, part)
    tx, owner = tx(0.1), name.split(".")[-1]
    state = tx.init(PARAMS)
    for wrong in ((), 3, optax.chain(optax.clip(1.0), optax.rprop(0.1), optax.clip(1.0)).init(PARAMS)):
        with pytest.raises(ValueError, match=rf"^{owner}: the state is .*expected (a tuple|\w+State)"):
            tx.update(PARAMS, wrong, PARAMS)
    with pytest.raises(ValueError, match=rf"^{owner}: the updates' tree differs"):
        tx.update({"w": PARAMS["w"].T[:1], "b": PARAMS["b"]}, state, PARAMS)


def compiled(tx: Any, params: Any) -> Any:
    state = tx.init(params)
    step = jax.jit(tx.update, donate_argnums=(0, 1)).lower(params, state, params).compile()
    cost = step.cost_analysis()
    return (cost[0] if isinstance(cost, list) else cost)["bytes accessed"], step.memory_analysis()


@pytest.mark.parametrize("name", ["adamw", "lion", "sgd", "adafactor", "contrib.prodigy"])
def test_the_classes_cost_nothing_in_the_compiled_program(name: str) -> None:
    """But for a counter, which gradtx has twice in Adam and not at all in Lion."""
    params = {"w": jnp.ones((256, 256)), "b": jnp.ones(256)}
    mine = optax
    for part in name.split("."):
        mine = getattr(mine, part)
    (bytes_here, here), (bytes_there, there) = (
        compiled(tx, params) for tx in (mine(0.1), getattr(gradtx, name.split(".")[-1])(0.1))
    )
    assert abs(bytes_here - bytes_there) <= 128  # some scalars
    assert here.temp_size_in_bytes <= there.temp_size_in_bytes + 128


# ---------------------------------------------------------------- inject_hyperparams


def test_an_injected_number_is_read_and_set_in_place() -> None:
    tx = optax.inject_hyperparams(optax.adamw)(learning_rate=1e-2, weight_decay=0.0)
    state = tx.init(PARAMS)
    assert set(state.hyperparams) == {"learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"}
    update = jax.jit(chex.assert_max_traces(tx.update, 1))
    _, state = update(PARAMS, state, PARAMS)
    whole, _ = update(PARAMS, state, PARAMS)
    state.hyperparams["learning_rate"] = jnp.float32(5e-3)
    half, state = update(PARAMS, state, PARAMS)
    chex.assert_trees_all_close(half, jax.tree.map(lambda u: u / 2, whole), rtol=1e-6)
    state.hyperparams["learning_rate"] = 2e-3  # of Python: another trace, the same dtype afterwards
    _, after = jax.jit(tx.update)(PARAMS, state, PARAMS)
    assert after.hyperparams["learning_rate"].dtype == jnp.float32
    assert after.count == 3
    state.hyperparams["learning_rat"] = 1.0
    with pytest.raises(ValueError, match=r"no hyperparameter 'learning_rat'.*Did you mean 'learning_rate'"):
        tx.update(PARAMS, state, PARAMS)


@pytest.mark.parametrize("jit", [True, False])
def test_injected_is_what_the_factory_makes(jit: bool) -> None:
    """Of a constant, a schedule, and numbers that become zero: bit for bit the same state and updates."""
    constant = optax.inject_hyperparams(optax.adamw)(learning_rate=0.1, weight_decay=0.1)
    scheduled = optax.inject_hyperparams(optax.adamw)(optax.constant_schedule(0.1), weight_decay=0.1)
    plain = optax.adamw(0.1, weight_decay=0.1)
    results = []
    for tx in (constant, scheduled, plain):
        state, params = tx.init(PARAMS), PARAMS
        update = jax.jit(tx.update) if jit else tx.update
        for _ in range(3):
            updates, state = update(PARAMS, state, params)
            params = optax.apply_updates(params, updates)
        results.append(params)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(PARAMS))
    chex.assert_trees_all_equal(results[0], results[1])
    chex.assert_trees_all_close(results[0], results[2], rtol=1e-5)  # its numbers are not rounded to float32
    state = constant.init(PARAMS)
    state.hyperparams["weight_decay"] = 0.0
    (jax.jit(constant.update) if jit else constant.update)(PARAMS, state, PARAMS)


def test_bfloat16_parameters_leave_the_numbers_as_they_are() -> None:
    """Optax's take the parameters' dtype: 0.999 is 1 in bfloat16, and the first update NaN."""
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = optax.inject_hyperparams(optax.adam)(1e-3)
    updates, state = jax.jit(tx.update)(params, tx.init(params), params)
    assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype("float32")}
    chex.assert_tree_all_finite(updates)
    chosen = optax.inject_hyperparams(optax.adam, hyperparam_dtype=jnp.bfloat16)(1e-3, b2=0.95)
    assert chosen.init(params).hyperparams["b1"].dtype == jnp.bfloat16


def test_roles_are_declared_not_guessed() -> None:
    """Optax takes a mask for a schedule, and a count or a dtype for a number."""
    tx = optax.inject_hyperparams(optax.adamw)(
        1e-3, mu_dtype=jnp.bfloat16, mask=lambda params: {"w": True, "b": False}
    )
    assert {"mask", "mu_dtype", "nesterov"}.isdisjoint(tx.init(PARAMS).hyperparams)
    tx = optax.inject_hyperparams(optax.add_decayed_weights)(0.1, mask=lambda p: {"w": True, "b": False})
    state = tx.init(PARAMS)
    assert set(state.hyperparams) == {"weight_decay"}
    chex.assert_trees_all_equal(tx.update(PARAMS, state, PARAMS)[0]["b"], PARAMS["b"])

    def mine(learning_rate, k: int, b1: float, key=None):
        assert isinstance(k, int)
        return optax.chain(optax.apply_every(k), optax.adam(learning_rate, b1), peer.identity())

    tx = optax.inject_hyperparams(mine)(
        lambda step: 0.1 / (1.0 + step.astype(float)), 1, b1=0.8, key=jax.random.key(0)
    )
    state = tx.init(PARAMS)
    assert set(state.hyperparams) == {"learning_rate", "b1"}
    for _ in range(2):
        _, state = tx.update(PARAMS, state, PARAMS)
    assert state.hyperparams["learning_rate"] == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"static_args='lr'\): mine has no such argument"):
        optax.inject_hyperparams(mine, static_args="lr")
    fixed = optax.inject_hyperparams(mine, static_args=["b1"])(0.1, 1, 0.8)
    assert set(fixed.init(PARAMS).hyperparams) == {"learning_rate"}
    with pytest.warns(DeprecationWarning, match="use inject_hyperparams"):
        optax.inject_stateful_hyperparams(optax.sgd)
    assert optax.inject_hyperparams(optax.sgd)(0.1) == optax.inject_hyperparams(optax.sgd)(0.1)
    assert optax.inject_hyperparams(optax.sgd).__name__ == "sgd"


class loudness(peer.schedules.StatefulSchedule):
    """One of Optax's schedules with a state, which sums what is reported."""

    def init(self):
        return jnp.zeros(())

    def update(self, state, **extra):
        return state + extra["report"]

    def __call__(self, state, **extra):
        return state


def test_schedules_with_a_state_follow_what_is_reported() -> None:
    tx = optax.inject_hyperparams(optax.scale)(loudness())
    state = tx.init(PARAMS)
    for expected in (0.0, 2.0, 4.0):
        updates, state = tx.update(PARAMS, state, PARAMS, report=2.0)
        assert state.hyperparams["step_size"] == expected
        chex.assert_trees_all_close(updates, jax.tree.map(lambda p, k=expected: k * p, PARAMS))
    tx = optax.inject_hyperparams(optax.sgd)(gradtx.plateau_schedule(1.0, factor=0.5, patience=0))
    state = tx.init(PARAMS)
    rates = []
    for loss in (1.0, 1.0, 1.0):
        _, state = tx.update(PARAMS, state, PARAMS, value=loss)
        rates.append(float(state.hyperparams["learning_rate"]))
    assert rates == [1.0, 0.5, 0.25]


# ---------------------------------------------------------------- lookahead


def test_lookahead_of_both_weights_is_optaxs() -> None:
    results = []
    for library in (optax, peer):
        tx = library.lookahead(library.sgd(0.1, momentum=0.9), sync_period=3, slow_step_size=0.4)
        params = library.LookaheadParams.init_synced(PARAMS)
        state = tx.init(params)
        assert state.steps_since_sync == 0
        with jax.numpy_dtype_promotion("standard"):
            for _ in range(7):
                updates, state = jax.jit(tx.update)(params.fast, state, params)
                params = library.apply_updates(params, updates)
        results.append((params.fast, params.slow, state.steps_since_sync))
    chex.assert_trees_all_close(*results, rtol=1e-5)


def test_lookahead_of_plain_parameters_keeps_the_slow_ones() -> None:
    """Optax's warns at init, and at the first update raises AttributeError."""
    tx = optax.lookahead(optax.sgd(0.1), 2, 0.5)
    state, params = tx.init(PARAMS), PARAMS
    for _ in range(2):
        updates, state = tx.update(PARAMS, state, params)
        params = optax.apply_updates(params, updates)
    chex.assert_trees_all_close(state.slow, params, rtol=1e-6)
    both = tx.init(optax.LookaheadParams.init_synced(PARAMS))
    with pytest.raises(ValueError, match="made of LookaheadParams, so update needs them too"):
        tx.update(PARAMS, both, PARAMS)


def test_a_number_that_is_set_to_zero_switches_nothing_off() -> None:
    """Neither where nothing is traced: the state keeps the parts that it was made with."""
    tx = gradtx.tunable(gradtx.novograd(0.1, weight_decay=0.1), "weight_decay")
    state = gradtx.with_hyperparams(tx.init(PARAMS), weight_decay=0.0)
    eager, _ = tx.update(PARAMS, state, PARAMS)
    jitted, _ = jax.jit(tx.update)(PARAMS, state, PARAMS)
    chex.assert_trees_all_close(eager, jitted, rtol=1e-6)
    assert gradtx.adam(jnp.float32(0)) == gradtx.adam(0.0)
    assert gradtx.adam(jnp.asarray(0.5, jnp.bfloat16)) == gradtx.adam(0.5)
