"""resume: what it reports is what the next update uses, and a step is a whole number from 0 on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.contract.runtime import held_in

PARAMS = {"w": jnp.ones(2)}
LINE = gradtx.linear_schedule(0.0, 1.0, 10)
PRODUCT = gradtx.multiply_schedules(gradtx.plateau_schedule(1.0, 0.5, 0), LINE)

SCHEDULED = {
    "outermost": gradtx.sgd(LINE),
    "with_its_own_clock": gradtx.accumulate(gradtx.sgd(LINE), 1),
    "behind_another": gradtx.chain(gradtx.scale(LINE), gradtx.apply_if_finite(gradtx.sgd(LINE), 3)),
    "tunable": gradtx.tunable(gradtx.sgd(gradtx.scale_schedule(LINE, 2.0)), "slope"),
    "two": gradtx.adam(LINE, b1=gradtx.constant_schedule(0.9)),
}


def reported(state) -> list[dict[str, float]]:
    return [{n: float(x) for n, x in held.scheduled.items()} for _, held in held_in(state)]


@pytest.mark.parametrize("name", SCHEDULED)
@pytest.mark.parametrize("step", [0, 5, 2**31 - 1])
def test_the_reported_number_is_the_one_that_the_next_update_uses(name: str, step: int) -> None:
    tx = SCHEDULED[name]
    state = gradtx.resume(tx, tx.init(PARAMS), PARAMS, step=step)
    said = reported(state)
    assert any(each for each in said)
    _, after = tx.update(PARAMS, state, PARAMS)
    assert reported(after) == said
    assert all(held.step == step for _, held in held_in(state))


def test_a_schedule_in_the_place_of_a_number_is_read_at_the_step() -> None:
    for step in (5, np.int64(5), jnp.int32(5), np.uint8(5)):
        state = gradtx.resume(gradtx.sgd(LINE), gradtx.sgd(0.1).init(PARAMS), PARAMS, step=step)
        assert reported(state) == [{"sgd.learning_rate": 0.5}]
    counted = gradtx.adam(0.1).init(PARAMS)
    for _ in range(3):
        _, counted = gradtx.adam(0.1).update(PARAMS, counted, PARAMS)
    state = gradtx.resume(gradtx.adam(LINE), counted, PARAMS)
    assert reported(state) == [{"adam.learning_rate": float(np.float32(0.3))}]


def test_tuned_numbers_are_those_that_the_report_is_made_of() -> None:
    tx = SCHEDULED["tunable"]
    saved = gradtx.with_hyperparams(tx.init(PARAMS), slope=4.0)
    state = gradtx.resume(tx, saved, PARAMS, step=5, keep="saved")
    said = reported(state)
    assert said == reported(tx.update(PARAMS, state, PARAMS)[1])
    assert list(said[0].values()) == [2.0]


def test_a_level_that_follows_a_report_keeps_its_memory() -> None:
    tx = gradtx.sgd(PRODUCT)
    state = tx.init(PARAMS)
    for _ in range(4):
        _, state = tx.update(PARAMS, state, PARAMS, value=1.0)
    resumed = gradtx.resume(tx, state, PARAMS, step=6)
    level = float(next(iter(resumed.memory.values())).scale)
    assert level < 1
    assert reported(resumed)[0]["sgd.learning_rate"] == pytest.approx(0.6 * level, rel=1e-6)


def test_without_a_step_the_state_is_that_of_the_run() -> None:
    for tx in SCHEDULED.values():
        _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
        jax.tree.map(np.testing.assert_array_equal, gradtx.resume(tx, state, PARAMS), state)


@pytest.mark.parametrize("step", [-3, -1, 2**31, 2**40, 2**70, np.int64(-1), np.uint32(2**32 - 1)])
def test_a_step_out_of_its_range_is_refused_by_name(step) -> None:
    for saved in (gradtx.sgd(0.1).init(PARAMS), gradtx.sgd(LINE).init(PARAMS)):
        with pytest.raises(
            ValueError, match=r"resume\(step=.*\): expected how many updates.* 0 to 2147483647"
        ):
            gradtx.resume(gradtx.sgd(LINE), saved, PARAMS, step=step)


@pytest.mark.parametrize(
    "step", [5.7, 5.0, True, "5", [5], np.float32(5), jnp.float32(5), np.nan, np.bool_(True)]
)
def test_a_step_that_is_no_whole_number_is_refused_by_name(step) -> None:
    for tx in (gradtx.sgd(LINE), gradtx.sgd(0.1)):
        with pytest.raises(TypeError, match=r"resume\(step=.*\): expected how many updates"):
            gradtx.resume(tx, gradtx.sgd(0.1).init(PARAMS), PARAMS, step=step)


def test_a_counter_in_the_saved_state_that_means_nothing_is_refused() -> None:
    saved = gradtx.sgd(LINE).init(PARAMS)
    for wrong in (jnp.int32(-1), jnp.float32(2.5)):
        with pytest.raises((ValueError, TypeError), match=r"step is Array.*expected how many updates"):
            gradtx.resume(gradtx.sgd(LINE), saved._replace(step=wrong), PARAMS)
