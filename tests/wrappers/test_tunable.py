"""Hyperparameters in the state: names, reading, setting, one compile; and runs that go on otherwise."""

from __future__ import annotations

import pickle

import chex
import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import gradtx
from gradtx.contract.runtime import numbers_of

PARAMS = {"kernel": jnp.ones((3, 2)), "bias": jnp.asarray([0.5, 0.25])}
GRADS = {"kernel": jnp.ones((3, 2)) * 0.3, "bias": jnp.asarray([-0.1, -0.1])}
LINE = gradtx.linear_schedule(0.9, 0.99, 10)


def run(tx, steps: int, state=None, params=PARAMS, **extra):
    state = tx.init(params) if state is None else state
    update = jax.jit(tx.update)
    for _ in range(steps):
        updates, state = update(GRADS, state, params, **extra)
        params = gradtx.apply_updates(params, updates)
    return params, state


# ---------------------------------------------------------------- names


def test_a_number_is_named_by_its_class_and_field() -> None:
    tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(0.1, momentum=0.9))
    assert numbers_of(tx) == {
        "clip_by_global_norm.max_norm": 1.0,
        "sgd.learning_rate": 0.1,
        "sgd.momentum": 0.9,
    }


def test_names_that_are_alike_begin_further_out() -> None:
    tx = gradtx.partition(
        {
            "fast": gradtx.sgd(0.1),
            "slow": gradtx.chain(gradtx.scale(2.0), gradtx.scale(3.0), gradtx.sgd(0.01)),
        },
        "fast",
    )
    assert list(numbers_of(tx)) == [
        "fast.sgd.learning_rate",
        "scale[0].step_size",
        "scale[1].step_size",
        "slow.sgd.learning_rate",
    ]


def test_names_say_which_side_of_a_quotient_and_which_of_several_schedules() -> None:
    both = gradtx.multiply_schedules(gradtx.constant_schedule(0.1), gradtx.constant_schedule(2.0))
    tx = gradtx.chain(gradtx.ratio(gradtx.ema(0.9), gradtx.ema(0.99), 1e-3), gradtx.scale(both))
    assert list(numbers_of(tx)) == [
        "numerator.ema.decay",
        "denominator.ema.decay",
        "ratio.eps",
        "scale.step_size.schedules[0].value",
        "scale.step_size.schedules[1].value",
    ]


def test_names_are_those_of_the_whole_tree_whichever_are_chosen() -> None:
    tx = gradtx.chain(gradtx.ema(0.9), gradtx.ema(0.99))
    assert list(gradtx.tunable(tx, "ema[1].decay").init(PARAMS).hyperparams) == ["ema[1].decay"]
    assert set(gradtx.tunable(tx, "decay").init(PARAMS).hyperparams) == {"ema[0].decay", "ema[1].decay"}


# ---------------------------------------------------------------- reading and setting


def test_tunable_computes_what_the_transformation_does() -> None:
    tx = gradtx.adamw(1e-2, weight_decay=0.1)
    plain, _ = run(tx, 5)
    tuned, _ = run(gradtx.tunable(tx), 5)
    chex.assert_trees_all_close(tuned, plain, rtol=1e-6)  # b1 and b2 are float32 in a state
    rate_only, _ = run(gradtx.tunable(tx, "learning_rate"), 5)
    chex.assert_trees_all_equal(rate_only, plain)  # bit for bit


def test_a_hundred_values_are_one_trace() -> None:
    tx = gradtx.tunable(gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-2)))

    @jax.jit
    @chex.assert_max_traces(1)
    def step(params, state):
        updates, state = tx.update(GRADS, state, params)
        return gradtx.apply_updates(params, updates), state

    params, state = PARAMS, tx.init(PARAMS)
    for rate in np.linspace(1e-3, 1e-1, 100):
        params, state = step(params, gradtx.with_hyperparams(state, learning_rate=rate))
    assert gradtx.hyperparams(state)["adamw.learning_rate"] == np.float32(0.1)


def test_a_new_rate_takes_effect_at_the_next_update() -> None:
    tx = gradtx.tunable(gradtx.sgd(0.5), "learning_rate")
    _, state = run(tx, 2)
    updates, _ = tx.update(GRADS, gradtx.with_hyperparams(state, {"sgd.learning_rate": 0.25}), PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda g: -0.25 * g, GRADS))


def test_schedules_are_followed_and_read() -> None:
    tx = gradtx.chain(gradtx.sgd(gradtx.linear_schedule(1.0, 0.0, 4), momentum=0.5))
    state, seen = tx.init(PARAMS), []
    seen.append(float(gradtx.hyperparams(state)["sgd.learning_rate"]))
    for _ in range(3):
        _, state = tx.update(GRADS, state, PARAMS)
        seen.append(float(gradtx.hyperparams(state)["sgd.learning_rate"]))
    assert seen == [1.0, 1.0, 0.75, 0.5]  # before the first: that of step 0; then what each update used
    assert state.step == 3


def test_a_schedules_levels_can_be_set() -> None:
    tx = gradtx.tunable(gradtx.sgd(gradtx.linear_schedule(1.0, 0.0, 4)))
    state = gradtx.with_hyperparams(tx.init(PARAMS), init_value=2.0)
    updates, state = tx.update(GRADS, state, PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda g: -2.0 * g, GRADS))
    assert gradtx.hyperparams(state) == {
        "sgd.learning_rate": 2.0,
        "sgd.learning_rate.init_value": 2.0,
        "sgd.learning_rate.end_value": 0.0,
    }


def test_what_is_tuned_may_stand_anywhere() -> None:
    inner = gradtx.tunable(gradtx.sgd(0.5), "learning_rate")
    tx = gradtx.chain(gradtx.clip(1.0), gradtx.masked(inner, "kernel"), gradtx.scale(LINE))
    _, state = run(tx, 2)
    state = gradtx.with_hyperparams(state, learning_rate=0.0)
    updates, state = tx.update(GRADS, state, PARAMS)
    assert np.all(updates["kernel"] == 0)
    assert np.all(updates["bias"] != 0)
    assert set(gradtx.hyperparams(state)) == {"sgd.learning_rate", "scale.step_size"}


def test_two_that_are_alike_are_told_apart_by_the_way() -> None:
    one = gradtx.tunable(gradtx.scale(2.0))
    state = gradtx.chain(one, one).init(PARAMS)
    assert list(gradtx.hyperparams(state)) == ["0.scale.step_size", "1.scale.step_size"]
    state = gradtx.with_hyperparams(state, {"1.scale.step_size": 5.0})
    updates, _ = gradtx.chain(one, one).update(GRADS, state)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda g: g * 10, GRADS))
    with pytest.raises(ValueError, match=r"'step_size' is one of 0\.scale\.step_size, 1\.scale\.step_size"):
        gradtx.with_hyperparams(state, step_size=1.0)


def test_optax_finds_them_by_name_too() -> None:
    state = gradtx.tunable(gradtx.adam(1e-3)).init(PARAMS)
    assert optax.tree.get(state, "adam.learning_rate") == np.float32(1e-3)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"lr": 1.0}, ValueError, "no hyperparameter 'lr'. Known: adam.learning_rate, adam.b1"),
        ({"learning_rat": 1.0}, ValueError, "Did you mean"),
        ({"b2": 0.5}, ValueError, "'adam.b2' follows a schedule"),
        ({"b1": float("nan")}, ValueError, "expected a finite number"),
        ({"b1": np.ones(2)}, ValueError, r"adam.b1 has shape \(\), not \(2,\)"),
    ],
)
def test_wrong_settings_are_refused(wrong, error, message: str) -> None:
    state = gradtx.tunable(gradtx.adam(1e-3, b2=gradtx.constant_schedule(0.9))).init(PARAMS)
    with pytest.raises(error, match=message):
        gradtx.with_hyperparams(state, **wrong)


def test_ranges_are_checked_where_the_transformation_is_given() -> None:
    tx = gradtx.tunable(gradtx.chain(gradtx.clip(1.0), gradtx.adam(1e-3)))
    state = tx.init(PARAMS)
    assert gradtx.hyperparams(gradtx.with_hyperparams(state, {"b1": 0.5}, tx))["adam.b1"] == 0.5
    with pytest.raises(ValueError, match=r"adam\(b1=1.5\): b1 must be in \[0, 1\)"):
        gradtx.with_hyperparams(state, {"b1": 1.5}, tx)


def test_a_state_without_any_says_how_to_have_them() -> None:
    with pytest.raises(ValueError, match="wrap the transformation in tunable"):
        gradtx.hyperparams(gradtx.adam(1e-3).init(PARAMS))


def test_names_are_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"no hyperparameter 'rate'.*Known: adam.learning_rate, adam.b1"):
        gradtx.tunable(gradtx.adam(1e-3), "rate")
    with pytest.raises(ValueError, match="no hyperparameter 'eps_root'"):  # its zero switches it off
        gradtx.tunable(gradtx.adam(1e-3), "eps_root")
    with pytest.raises(TypeError, match="names are strings"):
        gradtx.tunable(gradtx.adam(1e-3), 3)


def test_one_step_serves_a_batch_of_rates() -> None:
    tx = gradtx.tunable(gradtx.adam(1e-2), "learning_rate")
    rates = jnp.asarray([1e-3, 1e-2, 1e-1])

    def train(rate):
        return run(tx, 3, gradtx.with_hyperparams(tx.init(PARAMS), learning_rate=rate))[0]

    together = jax.vmap(train)(rates)
    for i, rate in enumerate(rates):
        alone, _ = run(gradtx.adam(float(rate)), 3)
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], together), alone, rtol=1e-6)


def test_an_outcome_can_be_differentiated_by_its_hyperparameters() -> None:
    tx = gradtx.tunable(gradtx.sgd(0.5))

    def moved(rate):
        updates, _ = tx.update(GRADS, gradtx.with_hyperparams(tx.init(PARAMS), learning_rate=rate))
        return updates["bias"].sum()

    assert jax.grad(moved)(0.5) == pytest.approx(0.2)  # -Σg


def test_works_packed_and_by_layers() -> None:
    tx = gradtx.tunable(gradtx.lamb(0.1, weight_decay=0.1))
    layout = gradtx.packing(PARAMS)
    inside, outside = gradtx.packed(tx, layout), gradtx.tunable(gradtx.packed(tx.inner, layout))
    buffers, grads = layout.pack(PARAMS), layout.pack(GRADS)
    alone, _ = tx.update(GRADS, gradtx.with_hyperparams(tx.init(PARAMS), learning_rate=0.3), PARAMS)
    for other in (inside, outside):
        state = gradtx.with_hyperparams(other.init(buffers), learning_rate=0.3)
        chex.assert_trees_all_close(layout.unpack(other.update(grads, state, buffers)[0]), alone, rtol=1e-6)
    stacked = gradtx.per_layer(tx, "kernel")
    assert "lamb.learning_rate" in gradtx.hyperparams(stacked.init(PARAMS))


# ---------------------------------------------------------------- Flax


class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


def test_changes_the_rate_in_a_linen_train_state() -> None:
    tx, model = gradtx.tunable(gradtx.sgd(0.5), "learning_rate"), Model()
    params = model.init(jax.random.key(0), jnp.ones((1, 3)))["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    grads = jax.tree.map(jnp.ones_like, params)
    state = gradtx.with_hyperparams(state, learning_rate=0.0)
    assert isinstance(state, TrainState)
    after = jax.jit(lambda s: s.apply_gradients(grads=grads))(state)
    chex.assert_trees_all_equal(after.params, params)
    assert gradtx.hyperparams(after) == {"sgd.learning_rate": 0.0}


def test_works_in_an_nnx_optimizer() -> None:
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    before = nnx.state(model, nnx.Param)
    optimizer = nnx.Optimizer(model, gradtx.tunable(gradtx.sgd(0.5), "learning_rate"), wrt=nnx.Param)
    grads = nnx.grad(lambda m: m(jnp.ones((1, 3))).sum())(model)
    optimizer.opt_state.hyperparams["sgd.learning_rate"][...] = jnp.zeros(())
    optimizer.update(model, grads)
    chex.assert_trees_all_equal(nnx.state(model, nnx.Param), before)


# ---------------------------------------------------------------- going on


def test_a_schedule_may_follow_a_number_and_a_number_a_schedule() -> None:
    number, schedule = gradtx.adamw(1e-2), gradtx.adamw(gradtx.linear_schedule(1e-2, 0.0, 10), b2=LINE)
    params, state = run(number, 3)
    state = gradtx.resume(schedule, state, params)
    assert state.step == 3
    params, state = run(schedule, 2, state, params)
    assert gradtx.hyperparams(state)["adamw.learning_rate"] == pytest.approx(0.6e-2)  # of step 4
    back = gradtx.resume(number, state, params)
    chex.assert_trees_all_equal_structs(back, number.init(PARAMS))
    chex.assert_trees_all_equal(back, state.inner)


def test_going_on_with_what_is_the_same_changes_nothing() -> None:
    tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.tunable(gradtx.adam(1e-3)), gradtx.scale(LINE))
    params, state = run(tx, 2)
    chex.assert_trees_all_equal(gradtx.resume(tx, state, params), state)


@pytest.mark.parametrize(("keep", "expected"), [("saved", 0.25), ("given", 0.5)])
def test_who_resumes_says_whose_numbers_win(keep, expected: float) -> None:
    tx = gradtx.tunable(gradtx.sgd(0.5))
    state = gradtx.with_hyperparams(tx.init(PARAMS), learning_rate=0.25)
    resumed = gradtx.resume(tx, state, PARAMS, keep=keep)
    assert gradtx.hyperparams(resumed) == {"sgd.learning_rate": expected}
    with pytest.raises(ValueError, match=r"0.25 in the saved state and 0.5 in the transformation: say which"):
        gradtx.resume(tx, state, PARAMS)


def test_a_plateau_is_remembered_and_a_new_one_begins() -> None:
    tx = gradtx.sgd(gradtx.plateau_schedule(1.0, patience=1))
    params, state = run(tx, 3, value=1.0)
    again = gradtx.resume(tx, state, params)
    chex.assert_trees_all_equal(again, state)
    begun = gradtx.resume(tx, gradtx.sgd(1.0).init(params), params, step=3)
    chex.assert_trees_all_equal(begun.memory, tx.init(PARAMS).memory)


def _flax_dictionary(state, tmp_path):
    return flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))


def _orbax(state, tmp_path):
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(tmp_path / "state")


def _pickled(state, tmp_path):
    return pickle.loads(pickle.dumps(state))


def _lists(state, tmp_path):
    def loosen(x):
        return [loosen(y) for y in x] if isinstance(x, tuple) else x

    return state._replace(inner=loosen(state.inner))


@pytest.mark.parametrize("through", [_flax_dictionary, _orbax, _pickled, _lists], ids=lambda f: f.__name__)
def test_what_a_checkpoint_makes_of_a_state_fits_again(through, tmp_path) -> None:
    tx = gradtx.chain(
        gradtx.clip_by_global_norm(1.0), gradtx.adamw(LINE, mask={"kernel": True, "bias": False})
    )
    params, state = run(tx, 3)
    restored = gradtx.resume(tx, through(state, tmp_path), params)
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(run(tx, 2, restored, params), run(tx, 2, state, params))


@pytest.mark.parametrize(
    ("tx", "saved", "message"),
    [
        (gradtx.sgd(LINE), (gradtx.sgd(0.1), PARAMS), "There is no counter in it. Say it with step="),
        (gradtx.adam(0.1), (gradtx.sgd(0.1), PARAMS), "resume: adam: the state is tuple of 1, expected"),
        (gradtx.ema(0.9), (gradtx.ema(0.9), PARAMS | {"bias": jnp.ones(3)}), r"ema\.mean of bias has shape"),
        (gradtx.ema(0.9), (gradtx.ema(0.9), {"bias": jnp.ones(2)}), r"mean is a dictionary of \['bias'\]"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_to_it(tx, saved, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradtx.resume(tx, saved[0].init(saved[1]), PARAMS)


def test_a_state_of_the_other_kind_says_how_to_go_on() -> None:
    for tx, other in ((gradtx.sgd(LINE), gradtx.sgd(0.1)), (gradtx.ema(0.9), gradtx.ema(LINE))):
        with pytest.raises(ValueError, match=r"resume\(tx, state, params\)"):
            tx.update(GRADS, other.init(PARAMS), PARAMS)


def test_resuming_makes_no_arrays_but_small_ones() -> None:
    huge = {"kernel": jax.ShapeDtypeStruct((2**20, 2**20), jnp.float32)}  # 4 TiB
    shapes = jax.eval_shape(gradtx.adam(1e-3).init, huge)
    resumed = gradtx.resume(gradtx.adam(LINE), shapes, huge, step=7)
    assert resumed.step == 7
