"""Schedules of schedules, and what is refused: with the name, what arrived and what was expected."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import (
    adam,
    add_schedules,
    cosine_decay_schedule,
    join_schedules,
    linear_schedule,
    multiply_schedules,
    per_epoch,
    scale_schedule,
    step_decay_schedule,
    with_warmup,
)

UP, DOWN, STAIRS = (
    linear_schedule(0.0, 1.0, 7),
    cosine_decay_schedule(1.0, 30),
    step_decay_schedule(1.0, 5, 0.5),
)
STEPS = np.arange(40, dtype=np.int32)


def at(schedule) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(schedule))(STEPS))


# ---------------------------------------------------------------- what they are made of


@pytest.mark.parametrize("together", [multiply_schedules, add_schedules])
def test_products_and_sums_are_associative_as_values(together) -> None:
    flat = together(UP, DOWN, STAIRS)
    assert together(together(UP, DOWN), STAIRS) == together(UP, together(DOWN, STAIRS)) == flat
    assert hash(together(together(UP, DOWN), STAIRS)) == hash(flat)
    assert gradtx.from_json(gradtx.to_json(flat)) == flat
    assert flat.replace(schedules=(UP, DOWN)) == together(UP, DOWN)
    assert multiply_schedules(UP, add_schedules(DOWN, STAIRS)).schedules[1] == add_schedules(DOWN, STAIRS)


def test_they_multiply_and_add_level_by_level() -> None:
    np.testing.assert_allclose(
        at(multiply_schedules(UP, DOWN, STAIRS)), at(UP) * at(DOWN) * at(STAIRS), rtol=2e-7
    )
    np.testing.assert_allclose(at(add_schedules(UP, DOWN)), at(UP) + at(DOWN), rtol=2e-7)
    np.testing.assert_array_equal(at(add_schedules(UP)), at(UP))
    np.testing.assert_allclose(at(scale_schedule(UP, -0.25)), -0.25 * at(UP), rtol=1e-7)
    assert scale_schedule(UP, 3) == gradtx.affine(UP, slope=3.0)


def test_an_epoch_schedule_stands_still_within_an_epoch() -> None:
    np.testing.assert_array_equal(at(per_epoch(DOWN, 4)), at(DOWN)[STEPS // 4])
    np.testing.assert_array_equal(at(per_epoch(per_epoch(DOWN, 2), 3)), at(per_epoch(DOWN, 6)))


def test_a_warm_up_stands_in_front_of_any_schedule() -> None:
    warm = at(with_warmup(STAIRS, 8, 0.25))
    np.testing.assert_allclose(warm[:9], 0.25 + 0.75 * np.arange(9) / 8, rtol=2e-7)
    np.testing.assert_array_equal(warm[8:], at(STAIRS)[:-8])
    np.testing.assert_array_equal(at(with_warmup(DOWN, 0)), at(DOWN))
    # Optax's warm-ups are this one, in front of theirs.
    ready_made = gradtx.warmup_cosine_decay_schedule(0.1, 0.4, 8, 38)
    np.testing.assert_allclose(
        at(with_warmup(cosine_decay_schedule(0.4, 30), 8, 0.25)), at(ready_made), rtol=3e-7
    )


def test_joined_schedules_count_from_their_boundaries() -> None:
    joined = at(join_schedules((UP, DOWN, STAIRS), (10, 25)))
    np.testing.assert_array_equal(joined, [*at(UP)[:10], *at(DOWN)[:15], *at(STAIRS)[:15]])


def test_what_is_not_chosen_does_not_spoil_a_gradient() -> None:
    """1 / √t at a step before its first, and a level that has overflowed after its last."""

    def level(first, step):
        def growth(step):
            return first * jnp.exp2(step.astype(float))

        def root(step):
            return first / jnp.sqrt(step.astype(float) + 1)

        return join_schedules((growth, root, growth), (5, 300))(step)

    slopes = jax.vmap(jax.grad(level), (None, 0))(jnp.asarray(2.0), jnp.asarray([0, 4, 5, 299, 300]))
    np.testing.assert_allclose(slopes, [1.0, 16.0, 1.0, 295**-0.5, 1.0], rtol=3e-7)


def test_every_number_of_a_nested_schedule_is_an_argument_of_one_trace() -> None:
    traces = []

    @jax.jit
    def level(schedule, step):
        traces.append(step)
        return schedule(step)

    def nested(peak, rate):
        decay = gradtx.exponential_decay(peak, 3, rate)
        return per_epoch(with_warmup(multiply_schedules(decay, UP), 2, rate), 3)

    for peak, rate in [(1.0, 0.5), (0.3, 0.9)]:
        for step in (0, 7, 30):
            schedule = nested(peak, rate)
            np.testing.assert_allclose(level(schedule, step), schedule(step), rtol=2e-6)
    assert len(traces) == 1


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: step_decay_schedule(1.0, 0),
            ValueError,
            r"step_decay_schedule\(transition_steps=0\).*at least 1",
        ),
        (lambda: cosine_decay_schedule(1.0, -3), ValueError, r"decay_steps=-3.*at least 1"),
        (lambda: per_epoch(UP, 0), ValueError, r"per_epoch\(steps_per_epoch=0\).*at least 1"),
        (lambda: with_warmup(UP, -1), ValueError, r"with_warmup\(warmup_steps=-1\).*at least 0"),
        (lambda: gradtx.cyclic_schedule(0.0, 1.0, 5, 0), ValueError, r"down_steps=0.*at least 1"),
        (lambda: gradtx.cosine_warm_restarts_schedule(1.0, 5, 0), ValueError, r"growth=0.*at least 1"),
        (
            lambda: gradtx.cosine_warm_restarts_schedule(1.0, 5, 1.5),
            TypeError,
            "growth must be a whole number",
        ),
        (
            lambda: linear_schedule(0.0, 1.0, 2**31),
            ValueError,
            "at most 2147483647 in size: whole numbers have 32 bits",
        ),
        (
            lambda: gradtx.rex_schedule(1.0, 10.0),
            TypeError,
            "transition_steps must be a whole number, not a float",
        ),
        (lambda: step_decay_schedule(1.0, 5, -0.1), ValueError, r"decay_rate must be in \(0, inf\)"),
        (lambda: linear_schedule(0.0, float("nan"), 5), ValueError, "end_value must be finite"),
        (
            lambda: gradtx.multi_step_schedule(1.0, (5, 3)),
            ValueError,
            r"\(boundaries=\(5, 3\)\).*must increase",
        ),
        (lambda: gradtx.multi_step_schedule(1.0, 5), TypeError, "boundaries must be a sequence of steps"),
        (lambda: join_schedules((UP, UP, UP), (3, 3)), ValueError, "boundaries must increase"),
        (lambda: join_schedules((UP, UP), (-1,)), ValueError, r"boundaries\[0\] must be at least 0"),
        (lambda: join_schedules((), ()), ValueError, "join_schedules: .* at least one schedule"),
        (lambda: join_schedules(UP, ()), TypeError, "must be a tuple of schedules"),
        (multiply_schedules, ValueError, "multiply_schedules: .* at least one schedule"),
        (
            lambda: add_schedules(UP, 0.1),
            TypeError,
            r"schedules\[1\] must be a schedule.*use constant_schedule",
        ),
        (lambda: per_epoch(0.1, 3), TypeError, "schedule must be a schedule or a function"),
        (
            lambda: gradtx.piecewise_constant_schedule(1.0, {3: -0.1}),
            ValueError,
            r"boundaries_and_scales\[3\] must be in",
        ),
        (
            lambda: gradtx.piecewise_constant_schedule(1.0, (3, 0.1)),
            TypeError,
            "must be a dict of step: factor",
        ),
        (
            lambda: gradtx.piecewise_interpolate_schedule("cosin", 1.0),
            ValueError,
            "must be one of 'linear', 'cosine'. Did you mean 'cosine'",
        ),
        (lambda: gradtx.cyclic_schedule(0.0, 1.0, mode=2), ValueError, "mode must be one of 'triangular'"),
        (lambda: gradtx.onecycle_schedule(1, 0.1), ValueError, "transition_steps must be at least 2"),
        (lambda: gradtx.onecycle_schedule(9, 0.1, 1.0), ValueError, r"pct_start must be in \[0, 1\)"),
        (lambda: gradtx.onecycle_schedule(9, 0.1, 0.6, three_phase=True), ValueError, "at most 0.5"),
        (
            lambda: gradtx.linear_onecycle_schedule(9, 0.1, 0.9),
            ValueError,
            "pct_final must be at least pct_start",
        ),
        (lambda: gradtx.sgdr_schedule([]), ValueError, "at least one cycle"),
        (lambda: gradtx.sgdr_schedule({"decay_steps": 3}), TypeError, "a sequence of dicts, one per cycle"),
        (lambda: gradtx.sgdr_schedule([3]), TypeError, r"cosine_kwargs\[0\].*each cycle is a dict"),
        (lambda: gradtx.sgdr_schedule([{"init_value": 0.0}]), TypeError, r"cosine_kwargs\[0\].*missing"),
        (
            lambda: gradtx.sgdr_schedule(
                [{"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 9, "decay_steps": 9}]
            ),
            ValueError,
            r"cosine_kwargs\[0\].*counts the warm-up too",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "hold",
    [
        lambda s: multiply_schedules(UP, s),
        lambda s: add_schedules(UP, s),
        lambda s: join_schedules((UP, s), (3,)),
        lambda s: per_epoch(s, 3),
        lambda s: with_warmup(s, 3),
    ],
)
def test_a_schedule_that_returns_no_single_number_is_named(hold) -> None:
    outer = hold(lambda step: jnp.ones(2))
    name = type(outer).__name__
    with pytest.raises(
        ValueError, match=rf"{name}: schedule.* returned shape \(2,\) at one step: expected one"
    ):
        outer(1)
    with pytest.raises(
        TypeError, match=rf"{name}: schedule.* returned None at one step: expected one number"
    ):
        hold(lambda step: None)(1)
    with pytest.raises(ValueError, match=rf"{name}: schedule.* returned shape \(2,\)"):
        adam(outer).init(jnp.ones(3))
    with pytest.raises(ValueError, match=r"the schedule in .*learning_rate returned shape"):
        gradtx.scale_by_learning_rate(lambda step: jnp.ones(2)).init(jnp.ones(3))
