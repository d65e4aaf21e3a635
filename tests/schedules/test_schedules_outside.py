"""Schedules outside of their steps: held before step 0, finite at the last one, fractions refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.schedules.schedule import Adaptive, from_function
from tests.laws.test_laws import SCHEDULES, build

LAST = 2**31 - 1
OWN = ("known_level",)
OF_THE_STEP = {
    name: build(cls)
    for name, cls in SCHEDULES.items()
    if not issubclass(cls, (Adaptive, from_function)) and name not in OWN
} | {
    "inverse_square_root": gradtx.inverse_square_root_schedule(1.0, 10),
    "cosine_annealing": gradtx.cosine_annealing_schedule(1.0, 7, 0.1),
    "held_annealing": gradtx.cosine_annealing_schedule(1.0, 7, 0.1, periodic=False),
    "growing_restarts": gradtx.cosine_warm_restarts_schedule(1.0, 5, 2, 0.1),
    "restarts": gradtx.cosine_warm_restarts_schedule(1.0, 5, end_value=0.1),
    "cyclic": gradtx.cyclic_schedule(0.1, 1.0, 4, 3),
    "halved": gradtx.cyclic_schedule(0.1, 1.0, 4, 3, "triangular2"),
    "decayed": gradtx.cyclic_schedule(0.1, 1.0, 4, 3, "exp_range", 0.9),
    "late": gradtx.linear_schedule(0.1, 1.0, 5, transition_begin=3),
    "late_polynomial": gradtx.polynomial_schedule(0.1, 1.0, 2.0, 5, transition_begin=3),
    "stairs": gradtx.exponential_decay(1.0, 3, 0.5, transition_begin=4, staircase=True),
    "per_epoch": gradtx.per_epoch(gradtx.inverse_square_root_schedule(1.0, 10), 4),
    "warm": gradtx.with_warmup(gradtx.cyclic_schedule(0.1, 1.0, 4, 3), 5),
    "affine": gradtx.scale_schedule(gradtx.inverse_square_root_schedule(1.0, 10), 2.0),
}
BELOW = (-1, -2, -5, -7, -100, -(2**31) + 1, -(2**31))


@pytest.mark.parametrize("name", OF_THE_STEP)
def test_every_schedule_stays_at_its_first_level_before_step_0(name: str) -> None:
    schedule = OF_THE_STEP[name]
    first = schedule(0)
    for step in BELOW:
        assert schedule(step) == first, step
        assert jax.jit(schedule)(jnp.int32(step)) == jax.jit(schedule)(jnp.int32(0)), step
    np.testing.assert_array_equal(schedule(np.array(BELOW, np.int32)), np.full(len(BELOW), first))


@pytest.mark.parametrize("name", OF_THE_STEP)
def test_every_schedule_refuses_a_fraction_of_a_step(name: str) -> None:
    for step in (0.5, -1.5, 3.0, np.float32(2), jnp.float32(2), np.nan, True, None, "1"):
        with pytest.raises(TypeError, match="the step must be a whole number"):
            OF_THE_STEP[name](step)


@pytest.mark.parametrize("name", OF_THE_STEP)
def test_every_schedule_is_finite_at_the_last_step_and_refuses_or_holds_what_is_beyond(name: str) -> None:
    schedule = OF_THE_STEP[name]
    for step in (LAST - 1, LAST, jnp.int32(LAST), np.int64(LAST)):
        assert np.isfinite(schedule(step)), step
    for step in (LAST + 1, 2**40, 2**63, 2**80, np.int64(2**40), np.uint32(2**32 - 1)):
        with pytest.raises(ValueError, match=r"the step is \d+, expected at most 2147483647"):
            schedule(step)
    # An array of jax cannot be looked into while it is traced.
    assert schedule(jnp.uint32(2**32 - 1)) == schedule(LAST)
    for small in (jnp.int8(3), jnp.uint8(3), np.int16(3), np.uint64(3)):
        assert schedule(small) == schedule(3)


@pytest.mark.parametrize("name", OF_THE_STEP)
def test_every_schedule_goes_on_where_jax_has_64_bits(name: str) -> None:
    with jax.enable_x64(True):
        schedule = OF_THE_STEP[name]
        assert schedule(-5) == schedule(0) == schedule(-(2**63))
        for step in (LAST + 1, 2**40):
            assert np.isfinite(schedule(step))
        with pytest.raises(ValueError, match="expected at most 9223372036854775807"):
            schedule(2**63)
