"""Schedules against PyTorch's, and an epoch schedule under Adam against a run of PyTorch.

`tests/recorded/record_schedules.py` recorded them, in float64: PyTorch's closed forms where there are
any, since its recursive forms round at every step; else what `step()` sets.
"""

from __future__ import annotations

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import schedules

RECORDED = np.load(pathlib.Path(__file__).parents[1] / "recorded" / "schedules.npz", allow_pickle=False)
LEVELS = {name.removeprefix("lr: "): RECORDED[name] for name in RECORDED.files if name.startswith("lr: ")}

LINE = gradtx.linear_schedule(0.1 * 0.1, 0.1, 500)
OURS = {
    "StepLR": gradtx.step_decay_schedule(0.1, 1700, 0.3),
    "MultiStepLR": gradtx.multi_step_schedule(0.1, [300, 1000, 1000, 7777], 0.5),
    "ConstantLR": gradtx.piecewise_constant_schedule(0.1 / 3, {5000: 3.0}),
    "ExponentialLR": gradtx.exponential_decay(0.1, 1, 0.999),
    "LinearLR": gradtx.linear_schedule(0.1 * 0.05, 0.1 * 0.9, 6000),
    "PolynomialLR": gradtx.polynomial_schedule(0.1, 0.0, 2.5, 9990),
    "CosineAnnealingLR": gradtx.cosine_annealing_schedule(0.1, 1100, 1e-3),
    "CosineAnnealingLR to zero": gradtx.cosine_annealing_schedule(0.1, 1100),
    "CosineAnnealingWarmRestarts": gradtx.cosine_warm_restarts_schedule(0.1, 730, 1, 1e-3),
    "CosineAnnealingWarmRestarts, twice as long": gradtx.cosine_warm_restarts_schedule(0.1, 30, 2, 1e-3),
    "CyclicLR": gradtx.cyclic_schedule(0.01, 0.3, 173, 411),
    "CyclicLR's momentum": gradtx.cyclic_schedule(0.95, 0.8, 173, 411),
    "CyclicLR, triangular2": gradtx.cyclic_schedule(0.01, 0.3, 173, 411, "triangular2"),
    "CyclicLR, exp_range": gradtx.cyclic_schedule(0.01, 0.3, 173, 411, "exp_range", 0.9997),
    "OneCycleLR": gradtx.onecycle_schedule(10_000, 0.5),
    "OneCycleLR, linear": gradtx.onecycle_schedule(10_000, 0.5, 0.25, "linear"),
    "OneCycleLR, three phases": gradtx.onecycle_schedule(10_000, 0.5, 0.28763, three_phase=True),
    "SequentialLR": gradtx.join_schedules(
        (LINE, gradtx.cosine_annealing_schedule(0.1, 3000, 1e-4), gradtx.exponential_decay(0.1, 1, 0.999)),
        (500, 3500),
    ),
    "ChainedScheduler": gradtx.multiply_schedules(
        gradtx.exponential_decay(0.1, 1, 0.9995),
        gradtx.step_decay_schedule(1.0, 2500, 0.3),
        gradtx.linear_schedule(0.2, 1.0, 70),
    ),
}
every_schedule = pytest.mark.parametrize("name", OURS)


def at(schedule, steps) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32)))


def steps_of(name: str) -> np.ndarray:
    """Recorded at every step, or at a sample; a one-cycle without the step after its end."""
    count = len(LEVELS[name])
    return np.arange(count) if count > len(RECORDED["sample"]) else RECORDED["sample"][:count]


def test_what_was_recorded_is_what_is_compared() -> None:
    assert LEVELS.keys() == OURS.keys()
    assert str(RECORDED["torch"]).startswith("2.13.")
    assert max(steps_of("StepLR")) == max(steps_of("ExponentialLR")) == 10_000


@every_schedule
def test_equals_pytorch_in_float64(name: str) -> None:
    with jax.enable_x64(True):
        got = at(OURS[name], steps_of(name))
    assert got.dtype == np.float64
    # PyTorch's chained form is recursive only, and rounds 10,000 times. It takes the cosine of
    # π step / T, whose error grows with the step, and adds it to 1: absolute errors of a level of 0.1.
    rtol = 1e-11 if name == "ChainedScheduler" else 1e-12
    np.testing.assert_allclose(got, LEVELS[name], rtol=rtol, atol=1e-16)


@every_schedule
def test_equals_pytorch_in_float32_to_the_last_rounding(name: str) -> None:
    got = at(OURS[name], steps_of(name))
    assert got.dtype == np.float32
    # Half a last place is 6e-8 of a number just above a power of two.
    np.testing.assert_allclose(got, LEVELS[name], rtol=6.5e-8)


def test_an_epoch_schedule_and_adam_take_effect_together_as_in_pytorch() -> None:
    """Five epochs of four batches: Adam at every batch, and a tenth of it after every second epoch."""
    rate = gradtx.per_epoch(gradtx.step_decay_schedule(0.1, 2, 0.1), 4)
    path = adam_path(rate)
    # Parameters of size one, one of which passes through zero.
    np.testing.assert_allclose(path, RECORDED["adam"], rtol=1e-12, atol=1e-13)
    # Multiplicatively: the same directions as without the schedule, as long as the parameters are the same.
    constant = adam_path(0.1)
    np.testing.assert_array_equal(path[:8], constant[:8])
    moves = path[8] - path[7], constant[8] - constant[7]
    np.testing.assert_allclose(moves[0], 0.1 * moves[1], rtol=1e-12)


def adam_path(rate) -> np.ndarray:
    with jax.enable_x64(True):
        tx = gradtx.adam(rate)

        @jax.jit
        def update(step, params, state):
            grads = jnp.sin(params * 3 + step) + 0.1 * step
            updates, state = tx.update(grads, state, params)
            return gradtx.apply_updates(params, updates), state

        params = jnp.asarray([1.0, -2.0, 0.5])
        state, path = tx.init(params), []
        for step in range(20):
            params, state = update(jnp.asarray(float(step)), params, state)
            path.append(np.asarray(params))
    return np.asarray(path)


def test_the_table_names_every_scheduler_of_pytorch_and_only_what_exists() -> None:
    table = r"^\| (`.+) \| (`.+) \|$"
    rows = re.findall(table, schedules.__doc__, re.MULTILINE)
    page = pathlib.Path(__file__).parents[2] / "docs" / "schedules.md"
    assert re.findall(table, page.read_text(), re.MULTILINE) == rows
    left = " ".join(row[0] for row in rows)
    without = {"MultiplicativeLR", "ReduceLROnPlateau"}  # a factor per step, and one of the metric
    for scheduler in set(RECORDED["schedulers"].tolist()) - without:
        assert f"`{scheduler}(" in left, f"the table lacks {scheduler}"
    for _, ours in rows:
        name = re.match(r"`(\w+)", ours).group(1)
        assert hasattr(gradtx, name), f"the table names {name}, which gradtx does not have"
    assert len(rows) >= 14
