"""Levels that fall on a plateau: against PyTorch's and Optax's, and wherever a number may stand.

`tests/recorded/record_plateau.py` recorded the metrics and PyTorch's learning rates, in float64. Each
update is given a metric, and the level that follows from it holds for that update.
"""

from __future__ import annotations

import functools
import pathlib
import pickle

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import plateau_schedule
from gradtx.schedules import PlateauState
from tests import whole

RECORDED = np.load(pathlib.Path(__file__).parents[1] / "recorded" / "plateau.npz", allow_pickle=False)
FEW = {"factor": 0.95, "patience": 4}
BROKEN = {"patience": 1, "cooldown": 2, "rtol": 0.0, "atol": 0.02}

OURS = {
    "defaults": plateau_schedule(0.1),
    "patience 0": plateau_schedule(0.1, 0.97, 0),
    "patience 4": plateau_schedule(0.1, 0.95, 4),
    "absolute": plateau_schedule(0.1, **FEW, rtol=0.0, atol=0.02),
    "relative, large": plateau_schedule(0.1, 0.9, 4, rtol=0.3),
    "no threshold": plateau_schedule(0.1, **FEW, rtol=0.0),
    "cooldown": plateau_schedule(0.1, **FEW, cooldown=3),
    "cooldown longer than patience": plateau_schedule(0.1, 0.95, 1, cooldown=9),
    "patience 0, cooldown": plateau_schedule(0.1, 0.95, 0, cooldown=2),
    "max": plateau_schedule(0.1, **FEW, mode="max"),
    "max, absolute": plateau_schedule(0.1, **FEW, mode="max", rtol=0.0, atol=0.02),
    "max, cooldown": plateau_schedule(0.1, 0.95, 2, cooldown=5, mode="max"),
    "least level": plateau_schedule(0.1, 0.7, 3, min_value=0.01),
    "least level, defaults": plateau_schedule(0.1, patience=3, min_value=0.03),
    "least level above the start": plateau_schedule(0.1, 0.7, 3, min_value=0.5),
    "eps": plateau_schedule(0.1, 0.7, 3, eps=2e-3),
    "eps 0": plateau_schedule(0.1, 0.7, 3, eps=0.0, min_value=1e-3),
    "eps, default": plateau_schedule(0.1, patience=3),
    "not a number": plateau_schedule(0.1, **FEW),
    "not a number, absolute": plateau_schedule(0.1, 0.95, **BROKEN),
    "not a number, max": plateau_schedule(0.1, **FEW, mode="max"),
    "infinitely good": plateau_schedule(0.1, **FEW),
    "infinitely good, max": plateau_schedule(0.1, **FEW, mode="max"),
    "negative, absolute": plateau_schedule(0.1, **FEW, rtol=0.0, atol=0.02),
}
OTHERWISE = {
    "negative, relative": plateau_schedule(0.1, **FEW, rtol=0.01),
    "negative, relative, max": plateau_schedule(0.1, **FEW, rtol=0.01, mode="max"),
}
every_run = pytest.mark.parametrize("name", OURS)


def updates_of(tx, metrics, updates=(1.0,)) -> np.ndarray:
    """What becomes of a constant update at every metric, in one compiled scan."""
    start = jnp.asarray(updates)
    return np.asarray(jax.jit(functools.partial(_updates, tx, start))(jnp.asarray(metrics)))


def _updates(tx, start, metrics):
    def step(state, metric):
        out, state = tx.update(start, state, start, value=metric)
        return state, out

    return jax.lax.scan(step, tx.init(start), metrics)[1]


def levels(schedule, metrics) -> np.ndarray:
    return updates_of(gradtx.scale(schedule), metrics)[:, 0]


def reductions(of: np.ndarray, start: float = 0.1) -> np.ndarray:
    """At which metrics the level fell."""
    return np.flatnonzero(np.diff(np.r_[start, of]) < 0)


# ---------------------------------------------------------------- PyTorch


def test_what_was_recorded_is_what_is_compared() -> None:
    names = {name.removeprefix("lr: ") for name in RECORDED.files if name.startswith("lr: ")}
    assert names == {*OURS, *OTHERWISE}
    assert str(RECORDED["torch"]).startswith("2.13.")


def recorded(names, dtype):
    """The levels at the recorded metrics, of all schedules in one program."""
    start, metrics = np.ones(1, dtype), {n: RECORDED[f"metrics: {n}"].astype(dtype) for n in names}
    every = jax.jit(
        lambda metrics: {n: _updates(gradtx.scale(OURS[n]), start, x) for n, x in metrics.items()}
    )
    return {name: out[:, 0] for name, out in jax.device_get(every(metrics)).items()}


@functools.cache
def recorded_wide(names):
    with jax.enable_x64(True):
        return recorded(names, np.float64)


@functools.cache
def recorded_narrow(names):
    return recorded(names, np.float32)


@every_run
def test_equals_pytorch_in_float64(name: str) -> None:
    got = whole.together(recorded_wide, tuple(OURS), name)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, RECORDED[f"lr: {name}"], rtol=1e-12)


@every_run
def test_float32_is_two_roundings_per_reduction_away(name: str) -> None:
    expected = RECORDED[f"lr: {name}"]
    got = whole.together(recorded_narrow, tuple(OURS), name)
    assert got.dtype == np.float32
    fallen = np.cumsum(np.diff(np.r_[0.1, expected]) < 0)
    # 6e-8 for each rounding: two at each reduction, where four cancel in part, and two of the level.
    assert np.all(np.abs(got / expected - 1) <= 1.2e-7 * (fallen + 1))


def test_under_adam_the_level_is_its_learning_rate() -> None:
    metrics, name = RECORDED["metrics: patience 4"], "patience 4"
    with jax.enable_x64(True):
        got = updates_of(gradtx.adam(OURS[name]), metrics, (0.3, -2.0))
        direction = updates_of(gradtx.scale_by_adam(), metrics, (0.3, -2.0))
    np.testing.assert_allclose(got, -RECORDED[f"lr: {name}"][:, None] * direction, rtol=1e-12)


def by_size_of_best(metrics, factor, patience, rtol, mode) -> np.ndarray:
    """The docstring's rule in numpy, for metrics that are all finite and no cooldown."""
    sign = 1 if mode == "min" else -1
    level, best, bad, found = 0.1, np.inf, 0, []
    for metric in sign * metrics:
        if metric < best - rtol * abs(best) if np.isfinite(best) else True:
            best, bad = metric, 0
        else:
            bad += 1
        if bad > patience:
            level, bad = level * factor, 0
        found.append(level)
    return np.asarray(found)


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_relative_threshold_is_right_for_negative_metrics(name: str) -> None:
    """PyTorch's rule is metric < best · (1 - threshold), and the wrong way round for a negative best:
    of 1 % and a best of -8, anything below -7.92 is an improvement, -7.95 too, which is worse and
    becomes the best. Here it is metric < best - threshold |best|, anything below -8.08."""
    metrics, ours = RECORDED[f"metrics: {name}"], OTHERWISE[name]
    with jax.enable_x64(True):
        got = levels(ours, metrics)
    np.testing.assert_allclose(got, by_size_of_best(metrics, 0.95, 4, 0.01, ours.mode), rtol=1e-12)
    pytorchs = RECORDED[f"lr: {name}"]
    # The metrics stand still from the 200th on, within less than 1 %. We notice 5 metrics after the
    # last that was 1 % better, PyTorch far later: whatever stands still improves on itself.
    assert reductions(got)[0] < 200 < 270 < reductions(pytorchs)[0]


def test_what_is_worse_than_a_negative_best_is_no_improvement() -> None:
    got = levels(plateau_schedule(1.0, 0.5, 0, rtol=0.01), [-8.0, -7.95, -8.05, -8.1])
    np.testing.assert_array_equal(got, [1.0, 0.5, 0.25, 0.25])  # the last is below -8.08


def test_whether_a_metric_at_the_threshold_improves() -> None:
    """It does not: the inequality is strict, as PyTorch's. All numbers are exact in float32."""
    half = plateau_schedule(1.0, 0.5, 0, rtol=0.25, atol=0.5)
    np.testing.assert_array_equal(levels(half, [4.0, 2.5, 2.0, 1.0]), [1.0, 0.5, 0.5, 0.25])
    more = half.replace(mode="max")
    np.testing.assert_array_equal(levels(more, [4.0, 5.5, 6.0, 8.0]), [1.0, 0.5, 0.5, 0.25])


def test_the_level_does_not_fall_below_its_least_and_stays_there() -> None:
    got = levels(plateau_schedule(1.0, 0.5, 0, min_value=0.3, eps=0.0), np.ones(40))
    np.testing.assert_array_equal(got[:3], np.float32([1.0, 0.5, 0.3]))
    np.testing.assert_allclose(got[3:], 0.3, rtol=1.2e-7)  # one rounding up or down


def test_a_level_that_starts_at_zero_stays_there() -> None:
    np.testing.assert_array_equal(levels(plateau_schedule(0.0, 0.5, 0, eps=0.0), np.ones(5)), np.zeros(5))


# ---------------------------------------------------------------- Optax


def optaxs_levels(tx, metrics) -> np.ndarray:
    def step(state, metric):
        out, state = tx.update(jnp.ones(()), state, value=metric)
        return state, out

    with jax.numpy_dtype_promotion("standard"):
        return np.asarray(jax.lax.scan(step, tx.init(jnp.ones(())), jnp.asarray(metrics, jnp.float32))[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"factor": 0.95, "patience": 4},
        {"factor": 0.7, "patience": 2, "cooldown": 5, "min_scale": 0.01},
        {"factor": 0.9, "patience": 1, "rtol": 0.0, "atol": 0.02},
        {"factor": 0.9, "patience": 0, "rtol": 0.01, "atol": 0.01, "cooldown": 1},
        {"factor": 0.9, "patience": 1, "accumulation_size": 5},
    ],
)
def test_equals_optax_of_a_patience_that_is_one_longer(settings) -> None:
    """Optax lowers the scale at the metric that exhausts its patience, we and PyTorch at the one after."""
    metrics = RECORDED["metrics: defaults"]
    ours = updates_of(gradtx.reduce_on_plateau(**settings, eps=0.0), metrics.astype(np.float32))[:, 0]
    longer = settings | {"patience": settings["patience"] + 1}
    theirs = optaxs_levels(optax.contrib.reduce_on_plateau(**longer), metrics)
    assert len(reductions(ours, 1.0)) >= 9
    np.testing.assert_array_equal(reductions(ours, 1.0), reductions(theirs, 1.0))
    # 6e-8 for each rounding: ours of up to 150 reductions in part cancel, Optax's 0.9 in float32 does not.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_optax_of_the_same_patience_lowers_the_level_a_metric_earlier() -> None:
    ours = updates_of(gradtx.reduce_on_plateau(0.5, patience=3), FLAT)[:, 0]
    theirs = optaxs_levels(optax.contrib.reduce_on_plateau(0.5, patience=3), FLAT)
    # The first metric sets the best, four or three more are no better.
    assert (reductions(ours, 1.0)[0], reductions(theirs, 1.0)[0]) == (4, 3)


def test_reduce_on_plateau_scales_what_comes_before_it() -> None:
    metrics = np.ones(12, np.float32)
    behind = gradtx.chain(gradtx.sgd(0.1, 0.9), gradtx.reduce_on_plateau(0.5, patience=2))
    # The level is 1, 0.5, 0.25, ...: exact, so that both orders round alike.
    inside = gradtx.sgd(plateau_schedule(0.1, 0.5, patience=2), 0.9)
    np.testing.assert_array_equal(updates_of(behind, metrics), updates_of(inside, metrics))


# ---------------------------------------------------------------- accumulation


def test_a_mean_of_several_updates_is_one_metric() -> None:
    """PyTorch's levels, whose every metric is here the mean of three reports, at the last of the three."""
    metrics, expected = RECORDED["metrics: not a number"], RECORDED["lr: not a number"]
    reports = (metrics[:, None] + [-0.5, 0.75, -0.25]).ravel()  # exact, and so is their sum
    with jax.enable_x64(True):
        got = levels(OURS["not a number"].replace(accumulation_size=3), reports)
    np.testing.assert_allclose(got[2::3], expected, rtol=1e-12)
    for before_the_mean in (got[0::3], got[1::3]):
        np.testing.assert_allclose(before_the_mean, np.r_[0.1, expected[:-1]], rtol=1e-12)


# ---------------------------------------------------------------- saving and going on


IN_MEANS = gradtx.scale(OURS["cooldown"].replace(accumulation_size=2, patience=2))


@jax.jit
def in_means(state, metrics):
    def step(state, metric):
        out, state = IN_MEANS.update(np.ones((), np.float32), state, value=metric)
        return state, out

    return jax.lax.scan(step, state, metrics)


@pytest.mark.parametrize("how", ["pickle", "flax", "a dictionary"])
@pytest.mark.parametrize("at", [127, 211])  # before the level falls, and between two falls; within a mean
def test_goes_on_from_a_saved_state(how: str, at: int) -> None:
    metrics = np.repeat(RECORDED["metrics: cooldown"], 2)[200:520].astype(np.float32)
    tx, start = IN_MEANS, jnp.ones(())
    _, expected = in_means(tx.init(start), metrics)
    assert len(reductions(np.asarray(expected[at:]), expected[at - 1])) >= 3
    state, _ = in_means(tx.init(start), metrics[:at])
    if how == "pickle":
        restored = pickle.loads(pickle.dumps(jax.device_get(state)))
    elif how == "flax":
        restored = flax.serialization.from_bytes(tx.init(start), flax.serialization.to_bytes(state))
    else:
        restored = gradtx.resume(tx, flax.serialization.to_state_dict(state), start)
    assert isinstance(restored.memory["scale.step_size"], PlateauState)
    np.testing.assert_array_equal(in_means(restored, metrics[at:])[1], expected[at:])


# ---------------------------------------------------------------- wherever a number may stand

# Nothing improves after the first metric: the level halves at the third and at every second one then.
FLAT = np.ones(12, np.float32)
HALVING = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625, 0.03125, 0.03125]


def falling(start: float) -> plateau_schedule:
    return plateau_schedule(start, 0.5, patience=1)


def listed(start: float):
    """The same levels, as a function of the step: the product with a power of two is exact."""
    return lambda step: (start * jnp.asarray(HALVING, float))[step]


def line(*levels):
    return gradtx.linear_schedule(*levels, 7)


PLACES = {
    "learning rate": lambda level: gradtx.adam(level(0.1)),
    "weight decay": lambda level: gradtx.adamw(0.1, weight_decay=level(0.2)),
    "independent decay": lambda level: gradtx.adamw(0.1, weight_decay=level(0.2), independent_decay=True),
    "b1": lambda level: gradtx.adam(0.1, b1=level(0.9)),
    "b2": lambda level: gradtx.adam(0.1, b2=level(0.99)),
    "momentum": lambda level: gradtx.sgd(0.1, level(0.9)),
    "threshold": lambda level: gradtx.chain(gradtx.clip_by_global_norm(level(2.0)), gradtx.adam(0.1)),
    "two of them": lambda level: gradtx.adamw(level(0.1), b1=level(0.5), weight_decay=level(0.2)),
    "a product": lambda level: gradtx.sgd(gradtx.multiply_schedules(line(0.1, 0.3), level(0.5))),
    "a sum": lambda level: gradtx.sgd(gradtx.add_schedules(level(0.5), line(0.1, 0.3))),
    "behind a warm-up": lambda level: gradtx.sgd(
        gradtx.multiply_schedules(gradtx.linear_schedule(0.0, 1.0, 4), level(0.5))
    ),
    "in a chain": lambda level: gradtx.chain(
        gradtx.scale(line(1.0, 2.0)), gradtx.scale(level(2.0)), gradtx.sgd(0.1)
    ),
    "masked": lambda level: gradtx.masked(gradtx.sgd(level(0.1)), [True]),
    "partition": lambda level: gradtx.partition(
        {"a": gradtx.sgd(level(0.1)), "b": gradtx.adam(level(0.1))}, gradtx.by_path((".*", "a"))
    ),
    "tunable": lambda level: gradtx.tunable(gradtx.adamw(level(0.1)), "weight_decay"),
    "a multiple": lambda level: gradtx.adam(gradtx.affine(level(0.1), slope=-2.0, offset=0.5)),
}


def path_of(tx, metrics):
    """The updates of a leaf in a tree, over steps whose gradients and parameters differ in size."""
    params = [np.asarray([1.0, -2.0, 3.0], np.float32)]

    def step(carry, metric):
        state, grads = carry
        updates, state = tx.update(grads, state, params, value=metric)
        return (state, [-0.9 * grads[0] + 0.01]), updates[0]

    grads = [jnp.asarray(np.asarray([2.0, 0.3, -0.05], np.float32))]
    return jax.lax.scan(step, (tx.init(params), grads), metrics)[1]


@functools.cache
def paths_of(names):
    """Under a plateau, under a schedule of the step that says the same, and with a number that stays."""
    kinds = (falling, listed, gradtx.constant_schedule)
    every = jax.jit(lambda metrics: {n: [path_of(PLACES[n](k), metrics) for k in kinds] for n in names})
    return jax.device_get(every(FLAT))


def test_the_level_that_stands_there_is_halved() -> None:
    np.testing.assert_array_equal(levels(falling(1.0), FLAT), HALVING)


@pytest.mark.parametrize("place", PLACES)
def test_stands_wherever_a_schedule_may(place: str) -> None:
    """With the updates of a schedule of the step that happens to say the same."""
    got, expected, constant = whole.together(paths_of, tuple(PLACES), place)
    # The numbers are the same; of two loops XLA fuses products and sums in two ways: a few roundings.
    np.testing.assert_allclose(got, expected, rtol=5e-7)
    assert np.max(np.abs(got - constant)) > 1e-3 * np.max(np.abs(constant))  # the level does matter here


def test_with_warmup_the_level_is_that_of_the_metrics_all_the_same() -> None:
    """A level that follows metrics has no clock that a warm-up could hold back: metrics count from the
    first, and the warm-up is a factor."""
    got = levels(gradtx.with_warmup(falling(1.0), 4), FLAT)
    np.testing.assert_array_equal(got, [0, 0.25, 0.25, 0.375, *HALVING[4:]])


def test_each_plateau_has_a_memory_of_its_own() -> None:
    tx = gradtx.chain(
        gradtx.scale(plateau_schedule(1.0, 0.5, 1)), gradtx.scale(plateau_schedule(1.0, 0.1, 3))
    )
    state = tx.init(jnp.ones(()))
    for _ in range(5):
        _, state = tx.update(jnp.ones(()), state, value=1.0)
    told = gradtx.hyperparams(state)
    assert told.keys() == {"scale[0].step_size", "scale[1].step_size"}
    # Two reductions to a half, and one to a tenth, rounded once.
    assert float(told["scale[0].step_size"]) == 0.25
    assert float(told["scale[1].step_size"]) == pytest.approx(0.1, rel=1e-7)


# ---------------------------------------------------------------- compiled


def test_one_trace_for_many_metrics() -> None:
    tx, traces = gradtx.scale(falling(1.0)), []

    @jax.jit
    def update(state, value):
        traces.append(value)
        return tx.update(jnp.ones(()), state, value=value)

    state, got = tx.init(jnp.ones(())), []
    for metric in FLAT:
        out, state = update(state, metric)
        got.append(float(out))
    assert got == HALVING
    assert len(traces) == 1


def test_a_batch_of_levels_by_vmap() -> None:
    """Each with its own metrics: one lane per model of a sweep."""
    starts, flat = jnp.asarray([1.0, 0.5, 3.0]), jnp.asarray(FLAT)
    metrics = jnp.stack([flat, 1 / jnp.arange(1.0, 13.0), flat])

    def run(tx, metrics):
        def step(state, metric):
            out, state = tx.update(jnp.ones(()), state, value=metric)
            return state, out

        return jax.lax.scan(step, tx.init(jnp.ones(())), metrics)[1]

    got = jax.jit(jax.vmap(run))(gradtx.scale(jax.vmap(falling)(starts)), metrics)
    np.testing.assert_array_equal(got[0], HALVING)
    np.testing.assert_array_equal(got[1], np.full(12, 0.5))  # its metric improves every time
    np.testing.assert_array_equal(got[2], 3 * np.float32(HALVING))


def test_a_train_step_reports_its_loss() -> None:
    """x² with a learning rate of 1 swings between 1 and -1 for ever; half of it is exact."""
    step = gradtx.make_train_step(lambda x: x**2, gradtx.sgd(plateau_schedule(1.0, 0.5, patience=2)))
    params = jnp.asarray(1.0)
    state, losses = gradtx.sgd(plateau_schedule(1.0, 0.5, patience=2)).init(params), []
    for _ in range(5):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    # The second, third and fourth metric are no better than the first: one more than patience.
    assert losses == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_metrics_of_any_dtype_are_read() -> None:
    tx = gradtx.scale(falling(1.0))
    for value in (1, 1.0, np.float64(1.0), jnp.asarray(1), jnp.asarray(1.0, jnp.bfloat16)):
        state = tx.init(jnp.ones(()))
        for _ in range(3):
            out, state = tx.update(jnp.ones(()), state, value=value)
        assert float(out) == 0.5


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("tx", [gradtx.adam(falling(0.1)), gradtx.chain(gradtx.sgd(falling(0.1)))])
def test_a_missing_metric_is_named_with_its_reader_and_its_owner(tx) -> None:
    params = jnp.ones(3)
    with pytest.raises(TypeError, match=rf"{type(tx).__name__}: plateau_schedule needs .*'value'.*value="):
        tx.update(params, tx.init(params), params)


def test_a_metric_with_a_shape_is_refused() -> None:
    tx = gradtx.scale(falling(0.1))
    with pytest.raises(ValueError, match=r"plateau_schedule: value .* shape \(3,\).*mean"):
        tx.update(jnp.ones(()), tx.init(jnp.ones(())), value=jnp.ones(3))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("init_value", np.nan, ValueError),
        ("factor", 1.0, ValueError),
        ("factor", 0.0, ValueError),
        ("patience", -1, ValueError),
        ("patience", 1.5, TypeError),
        ("rtol", -0.1, ValueError),
        ("atol", -0.1, ValueError),
        ("cooldown", -1, ValueError),
        ("accumulation_size", 0, ValueError),
        ("min_value", np.inf, ValueError),
        ("mode", "least", ValueError),
        ("eps", -1e-9, ValueError),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value, error) -> None:
    with pytest.raises(error, match=rf"plateau_schedule\({name}={value!r}\): {name} must"):
        plateau_schedule(**{"init_value": 0.1, name: value})
    if name not in ("init_value", "min_value"):  # the same words from the transformation
        with pytest.raises(error, match=rf"reduce_on_plateau\({name}={value!r}\): {name} must"):
            gradtx.reduce_on_plateau(**{name: value})


def test_it_is_not_a_function_of_the_step() -> None:
    with pytest.raises(TypeError, match="plateau_schedule is not a function of the step"):
        falling(0.1)(3)
