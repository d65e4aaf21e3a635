"""States under Optax's names: looked up by name, read and set in place, with both weights of a lookahead."""

from __future__ import annotations

import functools
import warnings

import chex
import jax
import jax.numpy as jnp
import optax as peer
import pytest

import gradtx
from gradtx.interop import optax

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}

# Optax's names of the fields of its states, where they are trees like the parameters.
MOMENTS = {
    "scale_by_adam": ["mu", "nu"],
    "scale_by_adamax": ["mu", "nu"],
    "scale_by_amsgrad": ["mu", "nu", "nu_max"],
    "scale_by_belief": ["mu"],
    "scale_by_radam": ["mu", "nu"],
    "scale_by_rms": ["nu"],
    "scale_by_stddev": ["mu"],
    "scale_by_rss": ["sum_of_squares"],
    "scale_by_lion": ["mu"],
    "scale_by_adadelta": ["e_g", "e_x"],
    "scale_by_adan": ["g"],
}


def looked_up(library, tx, names: list[str], steps: int = 3):
    """What the names are in a state after some steps."""
    with jax.numpy_dtype_promotion("standard"):
        state = tx.init(PARAMS)
        for i in range(steps):
            grads = jax.tree.map(lambda p, i=i: p * 0.1 * (i + 1), PARAMS)
            _, state = tx.update(grads, state, PARAMS)
        return {name: library.tree.get(state, name) for name in names}


@pytest.mark.parametrize("name", MOMENTS)
def test_a_moment_is_found_by_optaxs_name(name: str) -> None:
    mine = looked_up(optax, getattr(optax, name)(), MOMENTS[name])
    theirs = looked_up(peer, getattr(peer, name)(), MOMENTS[name])
    chex.assert_trees_all_close(mine, theirs, rtol=2e-5)


# Optax's names in states whose numbers may differ, where gradtx follows the paper.
KEPT = {
    "contrib.acprop": ["mu", "nu", "count"],
    "contrib.cocob": ["init_particles", "subgradients", "reward"],
    "contrib.dadapt_adamw": ["exp_avg", "exp_avg_sq", "grad_sum", "estim_lr", "count"],
    "contrib.dog": ["init_params", "max_dist", "is_init_step", "sum_sq_norm_grads"],
    "contrib.dowg": ["init_params", "estim_sq_dist", "weighted_sq_norm_grads"],
    "contrib.madgrad": ["grad_sum_sq", "s", "x0", "count"],
    "contrib.momo": ["exp_avg", "barf", "gamma", "lb", "count"],
    "contrib.momo_adam": ["exp_avg", "exp_avg_sq", "count"],
    "contrib.prodigy": ["exp_avg", "exp_avg_sq", "grad_sum", "params0", "estim_lr", "count"],
    "contrib.sophia": ["mu", "nu", "count"],
    "novograd": ["count"],
    "rprop": ["step_sizes"],
    "scale_by_factored_rms": ["v", "count"],
    "noisy_sgd": ["rng_key"],
}


@pytest.mark.parametrize("name", KEPT)
def test_what_optax_keeps_is_found_by_its_name(name: str) -> None:
    at, _, last = name.rpartition(".")

    def state(library):
        make = getattr(getattr(library, at) if at else library, last)
        with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
            warnings.simplefilter("ignore")  # Optax asks for a key
            try:
                return make().init(PARAMS)
            except TypeError:
                return make(1.0).init(PARAMS)

    ours, theirs = state(optax), state(peer)
    for key in KEPT[name]:
        mine, its = optax.tree.get(ours, key), peer.tree.get(theirs, key)
        assert its is not None, key
        assert mine is not None, key
        if jax.tree.structure(its) == jax.tree.structure(PARAMS):
            chex.assert_trees_all_equal_shapes(mine, its)


def test_a_velocity_and_an_average_are_found_by_optaxs_names() -> None:
    both = {
        "trace": lambda library: library.sgd(0.1, momentum=0.9),
        "ema": lambda library: library.ema(0.9),
        "found_nan": lambda library: library.zero_nans(),
        "m1": lambda library: library.contrib.ademamix(0.1),
        "m2": lambda library: library.contrib.ademamix(0.1),
    }
    for name, make in both.items():
        mine, theirs = looked_up(optax, make(optax), [name]), looked_up(peer, make(peer), [name])
        chex.assert_trees_all_close(mine, theirs, rtol=2e-5)
        assert theirs[name] is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.adamw(lib.linear_schedule(0.1, 0.0, 10)),  # where Optax finds several counts
        lambda lib: lib.chain(lib.adam(0.1), lib.add_noise(0.1, 0.5, key=0)),
        lambda lib: lib.inject_hyperparams(lib.adam)(lib.linear_schedule(0.1, 0.0, 10)),
        lambda lib: lib.MultiSteps(lib.adam(0.1), 1).gradient_transformation(),
        lambda lib: lib.apply_if_finite(lib.adam(lib.linear_schedule(0.1, 0.0, 10)), 3),
        lambda lib: lib.partition({"x": lib.adam(0.1), "y": lib.adam(0.2)}, {"w": "x", "b": "y"}),
    ],
)
def test_count_is_the_one_step(make) -> None:
    assert looked_up(optax, make(optax), ["count"]) == {"count": 3}


def test_counters_that_count_different_updates_stay_apart() -> None:
    tx = optax.chain(optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(), optax.adam(0.1))
    state = tx.init(PARAMS)
    for _ in range(3):
        _, state = tx.update(PARAMS, state, PARAMS)
    with pytest.raises(KeyError, match="'count' is the name of several values: choose by filtering"):
        optax.tree.get(state, "count")
    assert sorted(int(x) for _, x in optax.tree.get_all_with_path(state, "count")) == [1, 3]
    inner = optax.tree.get(
        state, "count", filtering=lambda path, _: any(getattr(k, "name", "") == "inner" for k in path)
    )
    assert inner == 1
    assert optax.tree.get(state, "mini_step") == 1
    assert optax.tree.get(state, "gradient_step") == 1


def test_the_rate_is_found_by_name() -> None:
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    for tx in (optax.adamw(schedule), optax.inject_hyperparams(optax.adamw)(schedule)):
        found = looked_up(optax, tx, ["count"], 4)
        assert found["count"] == 4
        state = tx.init(PARAMS)
        for _ in range(4):
            _, state = tx.update(PARAMS, state, PARAMS)
        rates = optax.tree.get_all_with_path(state, "learning_rate", lambda _, x: isinstance(x, jax.Array))
        assert [float(rate) for _, rate in rates] == [pytest.approx(0.7)]  # what the fourth update used
    state = gradtx.tunable(optax.adamw(0.5), "learning_rate").init(PARAMS)
    assert optax.tree.get(state, "learning_rate") == 0.5
    assert optax.tree.get(state, "adamw.learning_rate") == 0.5
    assert optax.tree.get(optax.adamw(0.5).init(PARAMS), "learning_rate", default=7) == 7


def test_values_are_set_by_name_with_the_dtypes_kept() -> None:
    tx = gradtx.tunable(optax.adamw(0.5), "learning_rate")
    state = tx.init(PARAMS)
    changed = optax.tree.set(state, learning_rate=0.25, count=9)
    chex.assert_trees_all_equal_shapes_and_dtypes(changed, state)
    assert optax.tree.get(changed, "learning_rate") == 0.25
    assert {int(x) for x in jax.tree.leaves(changed) if x.dtype == jnp.int32} == {9}, "all its counters"
    updates, _ = jax.jit(tx.update)(PARAMS, changed, PARAMS)
    whole, _ = tx.update(PARAMS, optax.tree.set(state, count=9), PARAMS)
    chex.assert_trees_all_close(updates, jax.tree.map(lambda u: u / 2, whole), rtol=1e-6)
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    chex.assert_trees_all_equal(optax.tree.get(optax.tree.set(state, mu=ones), "mu"), ones)
    with pytest.raises(KeyError, match="nothing in this tree has the name 'momentum'"):
        optax.tree.set(state, momentum=0.9)


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
        with pytest.raises(KeyError, match="nothing in this tree has the name 'ema'"):
            optax.tree.set(state, ema=2.0)


def test_names_that_are_in_a_tree_are_found_as_optax_finds_them() -> None:
    tree = {"a": {"a": 1.0, "c": (2, None)}, "b": {"a": 3}, "d": peer.ScaleByRmsState(nu=4.0)}
    for key in ("a", "c", "nu", "ScaleByRmsState", "none"):
        assert optax.tree.get_all_with_path(tree, key) == peer.tree.get_all_with_path(tree, key)
        ours = functools.partial(optax.tree.set, tree, lambda _, x: not isinstance(x, dict))
        theirs = functools.partial(peer.tree.set, tree, lambda _, x: not isinstance(x, dict))
        if key != "none":
            assert ours(**{key: 5}) == theirs(**{key: 5})
    assert optax.tree.set({"a": 1, "b": [{"a": 3}]}, a=5) == {"a": 5, "b": [{"a": 5}]}  # Optax leaves the 3
    state = optax.adam(0.1).init(PARAMS)
    assert len(optax.tree.get_all_with_path(state, "mean")) == 2, "gradtx's own name"
    assert optax.tree.get(jnp.ones(3), "mu") is None
    assert optax.tree.get((), 0) is None


def test_states_answer_to_optaxs_names_as_attributes() -> None:
    state = optax.adam(optax.linear_schedule(0.1, 0.0, 10)).init(PARAMS).inner
    chex.assert_trees_all_equal(state[0].mu, jax.tree.map(jnp.zeros_like, PARAMS))
    assert state[0].count == 0
    masked = optax.masked(optax.sgd(0.1, 0.9), True).init(PARAMS)
    chex.assert_trees_all_equal(masked.inner_state[0].trace, jax.tree.map(jnp.zeros_like, PARAMS))
    with pytest.raises(AttributeError, match="'MaskedState' object has no attribute 'mu'"):
        _ = masked.mu
    steps = optax.MultiSteps(optax.adam(0.1), 2)
    state = steps.init(PARAMS)
    _, state = steps.update(PARAMS, state, PARAMS)
    assert (state.mini_step, state.gradient_step) == (1, 0)
    chex.assert_trees_all_equal(state.acc_grads, PARAMS)
    plain = optax.EmptyState()
    assert plain.count("x") == 0, "a tuple's own, where nothing is counted"
    assert state._fields[0] == "micro_step"


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
