"""Transformations around others: when they run, what is added up before, what is watched."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([0.5, 0.25])}
NAN = jax.tree.map(lambda p: p * jnp.nan, PARAMS)


def grads(seed: int):
    keys = jax.random.split(jax.random.key(seed), 2)
    return {n: jax.random.normal(k, p.shape) for k, (n, p) in zip(keys, PARAMS.items(), strict=True)}


def train(tx, gradients, params=PARAMS, **extra):
    """Parameters after each gradient, the state, and how often it was traced."""
    if not isinstance(tx, gradtx.GradientTransformation):
        with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
            return _train(optax, tx, gradients, params, extra)
    return _train(gradtx, tx, gradients, params, extra)


def _train(library, tx, gradients, params, extra):
    state, path = tx.init(params), []
    chex.clear_trace_counter()  # it counts by the source of `step`, from one call to the next

    @jax.jit
    @chex.assert_max_traces(1)
    def step(params, state, g, extra):
        updates, state = tx.update(g, state, params, **extra)
        return library.apply_updates(params, updates), state

    for i, g in enumerate(gradients):
        params, state = step(params, state, g, {n: jnp.asarray(x[i]) for n, x in extra.items()})
        path.append(params)
    return path, state


def close(a, b, rtol=2e-6):  # a few float32 roundings, in another order
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=1e-7)


# ---------------------------------------------------------------- accumulation

ADAM = gradtx.adam(0.1)
MICRO = [grads(i) for i in range(8)]
MEAN = [jax.tree.map(lambda *g: sum(g) / 4, *MICRO[i : i + 4]) for i in (0, 4)]


def test_micro_batches_give_what_their_mean_gives() -> None:
    path, state = train(gradtx.accumulate(ADAM, 4), MICRO)
    whole, inner = train(ADAM, MEAN)
    chex.assert_trees_all_equal(path[2], PARAMS)  # nothing moves before the fourth
    close([path[3], path[7]], whole)
    close(state.inner, inner)
    assert gradtx.has_updated(state)


def test_unequal_micro_batches_are_weighted() -> None:
    sizes = [3.0, 1.0, 2.0, 2.0]
    path, _ = train(gradtx.accumulate(ADAM, 4), MICRO[:4], weight=sizes)
    mean = jax.tree.map(lambda *g: sum(s * x for s, x in zip(sizes, g, strict=True)) / 8, *MICRO[:4])
    close(path[-1], train(ADAM, [mean])[0][-1])


def test_agrees_with_optax() -> None:
    ours, _ = train(gradtx.accumulate(gradtx.sgd(0.1, momentum=0.9), 3), MICRO)
    theirs, _ = train(optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 3), MICRO)
    close(ours, theirs)


def test_the_number_may_grow_with_the_updates_made() -> None:
    tx = gradtx.accumulate(gradtx.sgd(1.0), lambda made: made + 1, mean=False)
    path, state = train(tx, MICRO[:6])
    total = jax.tree.map(lambda p, *g: p - sum(g), PARAMS, *MICRO[:6])
    close(path[-1], total, rtol=1e-5)
    assert state.gradient_step == 3  # after 1, 3 and 6


def test_a_schedule_inside_counts_the_updates_that_are_made() -> None:
    rates = gradtx.piecewise_constant_schedule(1.0, {1: 0.5})
    path, _ = train(gradtx.accumulate(gradtx.sgd(rates), 2), MICRO[:4])
    step = jax.tree.map(lambda a, b: a - b, path[1], path[3])
    close(step, jax.tree.map(lambda a, b: 0.5 * (a + b) / 2, MICRO[2], MICRO[3]))
    assert train(gradtx.accumulate(gradtx.sgd(rates), 2), MICRO[:4])[1].inner.step == 2


@pytest.mark.parametrize("poison", [NAN, jax.tree.map(lambda p: p * jnp.inf, PARAMS)], ids=["nan", "inf"])
def test_a_poisoned_micro_batch_is_left_out_and_reported(poison) -> None:
    tx = gradtx.accumulate(ADAM, 4, should_skip_update_fn=gradtx.skip_not_finite)
    path, state = train(tx, [*MICRO[:2], poison, *MICRO[2:8]])
    close([path[4], path[8]], train(ADAM, MEAN)[0])
    _, state = train(tx, [poison])
    assert state.skipped["should_skip"]
    assert state.skipped["num_not_finite"] == 6


def test_without_a_rule_a_poison_is_gone_after_one_update() -> None:
    """Optax's accumulator is multiplied by 0 and stays NaN for ever."""
    _, state = train(gradtx.accumulate(gradtx.sgd(0.1), 2), [NAN, MICRO[0]])
    assert np.all(np.asarray(state.total["bias"]) == 0)


def test_large_micro_batches_may_be_left_out() -> None:
    rule = functools.partial(gradtx.skip_large_updates, max_squared_norm=100.0)
    large = jax.tree.map(lambda g: 1e3 * g, MICRO[0])
    path, _ = train(gradtx.accumulate(gradtx.sgd(1.0), 1, should_skip_update_fn=rule), [large, MICRO[1]])
    chex.assert_trees_all_equal(path[0], PARAMS)
    close(path[1], jax.tree.map(lambda p, g: p - g, PARAMS, MICRO[1]))


def test_between_updates_nothing_of_the_inner_one_is_computed() -> None:
    """The inner update stands in a branch, and the state is not there twice."""
    tx = gradtx.accumulate(ADAM, 4)
    params = {f"leaf{i}": jnp.zeros((100, 100)) for i in range(4)}
    step = gradtx.make_step(tx)
    state = jax.eval_shape(tx.init, params)
    top = jax.make_jaxpr(tx.update)(params, state, params).jaxpr.eqns
    assert "sqrt" in str(next(e for e in top if e.primitive.name == "cond").params)
    assert "sqrt" not in str([e.params for e in top if e.primitive.name != "cond"])
    cost = gradtx.traffic(step.lower(params, state, params).compile())
    assert cost.copies == 0
    assert cost.temporary < 8.1 * 40_000  # the new sum and the updates, on both sides of the branch


def test_the_accumulator_may_be_narrow_and_updates_keep_their_dtype() -> None:
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = gradtx.accumulate(ADAM, 2)
    state = tx.init(half)
    assert state.total["bias"].dtype == jnp.float32
    updates, after = tx.update(half, state, half)
    assert updates["bias"].dtype == jnp.bfloat16
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    narrow = gradtx.accumulate(ADAM, 2, accumulator_dtype="bfloat16").init(PARAMS)
    assert narrow.total["bias"].dtype == jnp.bfloat16


def test_apply_every_adds_up_the_steps() -> None:
    ours, _ = train(gradtx.chain(ADAM, gradtx.apply_every(3)), MICRO[:6])
    alone, _ = train(ADAM, [MICRO[0], MICRO[1], MICRO[2]])
    close(ours[1], PARAMS)
    close(ours[2], alone[2])
    theirs, _ = train(optax.chain(optax.adam(0.1), optax.apply_every(3)), MICRO[:6])
    close(ours[5], theirs[5], rtol=2e-5)


def test_wrong_numbers_of_micro_batches_are_refused() -> None:
    for every, words in (
        (0, "at least 1"),
        (-1, "at least 1"),
        (2.5, "a whole number"),
        (True, "a whole number"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"every must be {words}"):
            gradtx.accumulate(ADAM, every)


# ---------------------------------------------------------------- conditions


def _even(step):
    return step % 2 == 0


@pytest.mark.parametrize("wrapper", ["conditionally_mask", "conditionally_transform"])
def test_runs_at_the_steps_that_a_condition_names(wrapper: str) -> None:
    ours = getattr(gradtx, wrapper)(gradtx.sgd(0.1, momentum=0.9), _even)
    theirs = getattr(optax, wrapper)(optax.sgd(0.1, momentum=0.9), _even)
    close(train(ours, MICRO[:5])[0], train(theirs, MICRO[:5])[0])


@pytest.mark.parametrize("wrapper", ["conditionally_transform", "conditionally_mask", "run_when"])
def test_a_schedule_inside_stands_still_while_it_does_not_run(wrapper: str) -> None:
    tx = getattr(gradtx, wrapper)(
        gradtx.scale(gradtx.linear_schedule(1.0, 0.0, 10)), lambda step: step % 2 == 1
    )
    params = jnp.ones(1)
    state, seen = tx.init(params), []
    for _ in range(6):
        updates, state = tx.update(params, state, params)
        seen.append(float(updates[0]))
    assert seen[1::2] == pytest.approx([1.0, 0.9, 0.8])


def test_a_condition_may_read_extra_arguments() -> None:
    tx = gradtx.conditionally_mask(gradtx.sgd(1.0), lambda step, loss: loss < 1, forward_extra_args=True)
    path, _ = train(tx, MICRO[:2], loss=[2.0, 0.5])
    chex.assert_trees_all_equal(path[0], PARAMS)
    close(path[1], jax.tree.map(lambda p, g: p - g, PARAMS, MICRO[1]))


def test_a_condition_that_is_no_boolean_is_refused() -> None:
    tx = gradtx.run_when(ADAM, lambda step: step)
    with pytest.raises(TypeError, match="the condition must return one boolean; it returned int32"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_what_is_not_finite_is_not_applied_until_too_often() -> None:
    stream = [MICRO[0], NAN, MICRO[1], NAN, NAN, NAN]
    ours, state = train(gradtx.apply_if_finite(gradtx.adam(0.1), 2), stream)
    theirs, reference = train(optax.apply_if_finite(optax.adam(0.1), 2), stream)
    close(ours[:5], theirs[:5], rtol=2e-5)
    close(ours[2], train(ADAM, MICRO[:2])[0][1])  # the NaN between them left no trace
    assert np.all(np.isnan(ours[5]["bias"]))  # the third in a row is let through, to be seen
    assert state.total_notfinite == reference.total_notfinite == 4
    assert not state.last_finite


@pytest.mark.parametrize("outer", ["accumulate", "apply_if_finite", "chain", "masked", "partition"])
def test_a_poison_leaves_no_trace_in_a_stack_of_wrappers(outer: str) -> None:
    inner = gradtx.apply_if_finite(gradtx.sgd(0.1, momentum=0.9), 5)
    tx = {
        "accumulate": gradtx.accumulate(inner, 1),
        "apply_if_finite": gradtx.apply_if_finite(inner, 5),
        "chain": gradtx.chain(inner, gradtx.scale(1.0)),
        "masked": gradtx.masked(inner, "kernel|bias"),
        "partition": gradtx.partition({"all": inner}, gradtx.by_path((".*", "all"))),
    }[outer]
    path, _ = train(tx, [MICRO[0], NAN, MICRO[1]])
    close(path[2], train(gradtx.sgd(0.1, momentum=0.9), MICRO[:2])[0][1])


# ---------------------------------------------------------------- lookahead


def _by_the_paper(k: int, alpha: float, rate: float, steps: int):
    """Zhang et al. 2019, algorithm 1, with gradient descent inside."""
    fast = slow = np.asarray(PARAMS["kernel"], np.float64)
    path = []
    for t in range(1, steps + 1):
        fast = fast - rate * np.asarray(MICRO[t - 1]["kernel"], np.float64)
        if t % k == 0:
            slow = slow + alpha * (fast - slow)
            fast = slow
        path.append(fast)
    return path, slow


def test_lookahead_is_the_papers_loop() -> None:
    path, state = train(gradtx.lookahead(gradtx.sgd(0.1), 3, 0.5), MICRO)
    fast, slow = _by_the_paper(3, 0.5, 0.1, len(MICRO))
    np.testing.assert_allclose([p["kernel"] for p in path], fast, rtol=2e-6)  # float32 against float64
    np.testing.assert_allclose(state.slow["kernel"], slow, rtol=2e-6)


def test_lookahead_may_begin_its_optimizer_anew() -> None:
    _, state = train(gradtx.lookahead(gradtx.sgd(0.1, momentum=0.9), 4, 0.5, reset_state=True), MICRO)
    assert np.all(np.asarray(state.inner[0].velocity["bias"]) == 0)
    _, kept = train(gradtx.lookahead(gradtx.sgd(0.1, momentum=0.9), 4, 0.5), MICRO)
    assert np.all(np.asarray(kept.inner[0].velocity["bias"]) != 0)


def test_a_poison_between_synchronisations_does_not_reach_the_slow_weights() -> None:
    """They are what a run that broke can go back to."""
    _, state = train(gradtx.lookahead(gradtx.sgd(0.1), 3, 0.5), [MICRO[0], NAN])
    chex.assert_trees_all_equal(state.slow, PARAMS)


# ---------------------------------------------------------------- averages


def test_an_average_of_parameters_is_kept_and_found() -> None:
    tx = gradtx.average_params(gradtx.sgd(0.1, momentum=0.9), 0.75)
    path, state = train(tx, MICRO)
    plain, _ = train(gradtx.sgd(0.1, momentum=0.9), MICRO)
    chex.assert_trees_all_equal(path, plain)  # the steps are the optimizer's
    expected = np.asarray(PARAMS["kernel"], np.float64)
    for params in path:
        expected = 0.75 * expected + 0.25 * np.asarray(params["kernel"], np.float64)
    found = gradtx.averaged_params(state, path[-1])
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-6)
    nested = gradtx.masked(gradtx.chain(tx), "kernel")
    path, state = train(nested, MICRO)
    found = gradtx.averaged_params(state, path[-1])
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-6)
    chex.assert_trees_all_equal(found["bias"], path[-1]["bias"])
    with pytest.raises(ValueError, match="there is no AverageParamsState or MeanParamsState"):
        gradtx.averaged_params(ADAM.init(PARAMS), PARAMS)


def test_a_schedule_makes_it_the_mean_and_narrow_parameters_a_wide_one() -> None:
    mean = gradtx.average_params(gradtx.sgd(0.1), lambda step: 1 - 1 / (step.astype(float) + 1))
    path, state = train(mean, MICRO)
    found = gradtx.averaged_params(state, path[-1])
    close(found, jax.tree.map(lambda *p: sum(p) / len(p), *path))
    half = {"w": jnp.ones(3, jnp.bfloat16)}
    tx = gradtx.average_params(gradtx.sgd(1e-3))
    params, state = half, tx.init(half)
    for _ in range(50):  # each step is below bfloat16's rounding of 1: the parameters stay, and so must this
        updates, state = tx.update(half, state, params)
        params = gradtx.apply_updates(params, updates)
    assert state.average["w"].dtype == jnp.float32
    chex.assert_trees_all_equal(gradtx.averaged_params(state, params), half)
    np.testing.assert_array_equal(state.average["w"], 1)


def test_lookahead_needs_the_parameters_and_says_so() -> None:
    tx = gradtx.lookahead(gradtx.sgd(0.1))
    with pytest.raises(ValueError, match="lookahead needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS))


# ---------------------------------------------------------------- measures, functions, constraints


def test_a_snapshot_keeps_what_passes_by_name() -> None:
    tx = gradtx.chain(gradtx.scale(2.0), gradtx.snapshot("norm", optax.tree.norm), gradtx.scale(3.0))
    _, state = tx.update(PARAMS, tx.init(PARAMS))
    assert optax.tree.get(state, "norm") == pytest.approx(2 * float(optax.tree.norm(PARAMS)), rel=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(PARAMS))


def test_functions_are_transformations() -> None:
    whole = gradtx.stateless(lambda u, p: jax.tree.map(lambda x, y: x + y, u, p))
    by_leaf = gradtx.stateless_with_tree_map(lambda u, p: u + p)
    for tx in (whole, by_leaf):
        updates, _ = tx.update(MICRO[0], tx.init(PARAMS), PARAMS)
        close(updates, jax.tree.map(jnp.add, MICRO[0], PARAMS))
    alone, _ = gradtx.stateless_with_tree_map(lambda u, p: -u).update(PARAMS, gradtx.EmptyState())
    close(alone, jax.tree.map(jnp.negative, PARAMS))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("keep_params_nonnegative", jax.tree.map(jnp.abs, PARAMS)),
        ("zero_nans", PARAMS),
        ("centralize", PARAMS),
        ("normalize_by_update_norm", PARAMS),
    ],
)
def test_pieces_agree_with_optax(name: str, params) -> None:
    updates = {"kernel": PARAMS["kernel"].at[0, 1].set(jnp.nan), "bias": -PARAMS["bias"]}
    given = updates if name == "zero_nans" else jax.tree.map(lambda p: -2 * p, PARAMS)
    ours, theirs = getattr(gradtx, name)(), getattr(optax, name)()
    out, state = ours.update(given, ours.init(params), params)
    expected, reference = theirs.update(given, theirs.init(params), params)
    close(out, expected)
    if name == "zero_nans":
        chex.assert_trees_all_equal(state.found_nan, reference.found_nan)


def test_gradients_are_centered_for_each_output() -> None:
    kernel = jnp.arange(6.0).reshape(2, 3)
    for axis, summed in ((0, 1), (-1, 0)):
        out, _ = gradtx.centralize(axis).update({"k": kernel, "b": jnp.ones(3)}, gradtx.EmptyState())
        np.testing.assert_allclose(out["k"].sum(axis=summed), 0, atol=1e-6)
        np.testing.assert_array_equal(out["b"], 1)


def test_noise_has_the_variance_that_it_should_and_repeats() -> None:
    tx = gradtx.add_noise(eta=4.0, gamma=0.5, key=jax.random.key(7))
    assert eval(repr(tx), vars(gradtx)) == tx
    zeros = {"a": jnp.zeros(20_000), "b": jnp.zeros(20_000)}
    state, deviations = tx.init(zeros), []
    for _ in range(4):
        noise, state = tx.update(zeros, state)
        deviations.append(float(jnp.std(noise["a"])))
        assert abs(np.corrcoef(noise["a"], noise["b"])[0, 1]) < 0.05  # each leaf its own: 7 standard errors
    expected = [2 / t**0.25 for t in (1, 2, 3, 4)]
    np.testing.assert_allclose(deviations, expected, rtol=0.03)  # six standard errors of 20,000
    again, _ = tx.update(zeros, tx.init(zeros))
    first, _ = gradtx.add_noise(4.0, 0.5, jax.random.key_data(jax.random.key(7))).update(
        zeros, tx.init(zeros)
    )
    chex.assert_trees_all_equal(again, first)
    with pytest.raises(TypeError, match="key must be a whole number or a key of jax"):
        gradtx.add_noise(1.0, 0.5, "seed")
