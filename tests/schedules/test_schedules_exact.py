"""Schedules against their formulas in Python's whole numbers and float64, to the last step of int32."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import Schedule

LAST = 2**31 - 1


def half_cosine(step: int, steps: int) -> float:
    """½ (1 + cos πx), as the square of a sine, which does not cancel where it vanishes."""
    left = max(steps - step, 0)
    return math.sin(math.pi / 2 * (left / steps)) ** 2


def restarts(step: int, steps: int, growth: int) -> float:
    while step >= steps:
        step, steps = step - steps, steps * growth
    return half_cosine(step, steps)


def cyclic(step: int, up: int, down: int) -> float:
    at = step % (up + down)
    return at / up if at <= up else (up + down - at) / down


def noam(step: int, peak: float, warmup: int) -> float:
    """Vaswani et al., equation 3, for the width that gives this peak; counted from 1."""
    update, width = step + 1, 1 / (peak**2 * warmup)
    return width**-0.5 * min(update**-0.5, update * warmup**-1.5)


def stable(
    step: int, warmup: int, middle: int, decay: int, fall: Callable[[Fraction], float | Fraction]
) -> float:
    if step < warmup:
        return step / warmup
    return float(fall(Fraction(min(max(step - warmup - middle, 0), decay), decay)))


def rex(step: int, steps: int) -> float:
    x = min(step, steps) / steps
    return (1 - x) / (1 / 2 + 1 / 2 * (1 - x))


CASES: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "annealing": (
        gradtx.cosine_annealing_schedule(1.0, 997),
        lambda t: half_cosine(997 - abs(t % 1994 - 997), 997),
    ),
    "annealing, held": (
        gradtx.cosine_annealing_schedule(1.0, 997, 0.25, periodic=False),
        lambda t: 0.25 + 0.75 * half_cosine(t, 997),
    ),
    "annealing, half a period of all steps": (
        gradtx.cosine_annealing_schedule(1.0, LAST),
        lambda t: half_cosine(t, LAST),
    ),
    "restarts": (gradtx.cosine_warm_restarts_schedule(1.0, 1001), lambda t: restarts(t, 1001, 1)),
    "restarts, twice as long": (
        gradtx.cosine_warm_restarts_schedule(1.0, 3, 2),
        lambda t: restarts(t, 3, 2),
    ),
    "restarts, ten times as long": (
        gradtx.cosine_warm_restarts_schedule(1.0, 1, 10),
        lambda t: restarts(t, 1, 10),
    ),
    "cyclic": (gradtx.cyclic_schedule(0.0, 1.0, 700, 301), lambda t: cyclic(t, 700, 301)),
    "cyclic, as fast down": (gradtx.cyclic_schedule(0.0, 1.0, 700), lambda t: cyclic(t, 700, 700)),
    "cyclic, longer than all steps": (
        gradtx.cyclic_schedule(0.0, 1.0, LAST - 5, LAST),
        lambda t: cyclic(t, LAST - 5, LAST),
    ),
    "cyclic, halved": (
        gradtx.cyclic_schedule(0.0, 1.0, 2**27, 2**27, "triangular2"),
        lambda t: cyclic(t, 2**27, 2**27) / 2 ** (t // 2**28),
    ),
    "cyclic, decaying": (
        gradtx.cyclic_schedule(0.0, 1.0, 700, 301, "exp_range", 1 - 2**-26),
        lambda t: cyclic(t, 700, 301) * math.exp(t * math.log1p(-(2**-26))),
    ),
    "one cycle, its peak at 997.4": (
        gradtx.onecycle_schedule(2000, 1.0, 0.4992, "linear", 10.0, 2.0),
        lambda t: 0.1 + 0.9 * t / 997.4 if t < 997.4 else 1 - 0.95 * min((t - 997.4) / 1001.6, 1),
    ),
    "exponential": (gradtx.exponential_decay(1.0, 10**8, 0.05), lambda t: math.exp(t / 1e8 * math.log(0.05))),
    "exponential, growing": (
        gradtx.exponential_decay(1e-30, 10**8, 25.0),
        lambda t: 1e-30 * math.exp(t / 1e8 * math.log(25)),
    ),
    "step": (gradtx.step_decay_schedule(1.0, 10**7, 0.9), lambda t: 0.9 ** (t // 10**7)),
    "multi-step": (
        gradtx.multi_step_schedule(1.0, (2**24 + 1, 10**9, LAST), 0.3),
        lambda t: 0.3 ** sum(t >= b for b in (2**24 + 1, 10**9, LAST)),
    ),
    "linear, down": (gradtx.linear_schedule(1.0, 0.0, LAST), lambda t: (LAST - t) / LAST),
    "linear, up": (gradtx.linear_schedule(0.0, 1.0, LAST - 9, 9), lambda t: max(t - 9, 0) / (LAST - 9)),
    "polynomial, up": (
        gradtx.polynomial_schedule(0.0, 1.0, 3.0, LAST),
        lambda t: -math.expm1(3 * math.log1p(-t / LAST)) if t < LAST else 1.0,
    ),
    "polynomial, up in a billion": (
        gradtx.polynomial_schedule(0.0, 1.0, 3.0, 10**9),
        lambda t: -math.expm1(3 * math.log1p(-t / 1e9)) if t < 10**9 else 1.0,
    ),
    "root": (gradtx.inverse_square_root_schedule(0.1, 4000), lambda t: noam(t, 0.1, 4000)),
    "power": (gradtx.power_schedule(0.25), lambda t: t**0.25),
    "power, above one": (gradtx.power_schedule(1.5, 1e-9), lambda t: 1e-9 * t**1.5),
    "rex, up": (
        gradtx.rex_schedule(1e-6, 10**9, 2.0),
        lambda t: (
            1e-6 * rex(t, 10**9) + 2 * min(t, 10**9) / (2 * 10**9 - min(t, 10**9))
        ),  # 1 - rex = x / (2 - x)
    ),
    "rex": (gradtx.rex_schedule(1.0, 10**9), lambda t: rex(t, 10**9)),
    "stable": (
        gradtx.warmup_stable_decay_schedule(0.0, 1.0, 900, 10**9, 10**9),
        lambda t: stable(t, 900, 10**9, 10**9, lambda x: 1 - x),
    ),
    "stable, sqrt": (
        gradtx.warmup_stable_decay_schedule(0.0, 1.0, 900, 10**6, 10**9, 0.5, "sqrt"),
        lambda t: stable(t, 900, 10**6, 10**9, lambda x: 1 - 0.5 * math.sqrt(x)),
    ),
    "stable, sqrt to nothing": (
        gradtx.warmup_stable_decay_schedule(0.0, 1.0, 900, 0, LAST - 900, decay_type="sqrt"),
        lambda t: stable(t, 900, 0, LAST - 900, lambda x: (1 - x) / (1 + math.sqrt(x))),
    ),
    "stable, cosine": (
        gradtx.warmup_stable_decay_schedule(0.0, 1.0, 900, 10**6, 10**9, 0.5, "cosine"),
        lambda t: stable(t, 900, 10**6, 10**9, lambda x: 0.75 + 0.25 * math.cos(math.pi * x)),
    ),
    "per epoch": (
        gradtx.per_epoch(gradtx.linear_schedule(1.0, 0.0, 10**6), 3000),
        lambda t: max(10**6 - t // 3000, 0) / 10**6,
    ),
    "product and sum": (
        gradtx.multiply_schedules(
            gradtx.linear_schedule(1.0, 0.0, LAST), gradtx.add_schedules(lambda s: 0.25, lambda s: 0.5)
        ),
        lambda t: 0.75 * (LAST - t) / LAST,
    ),
    "warm-up in front": (
        gradtx.with_warmup(gradtx.step_decay_schedule(0.5, 10**9, 0.1), 10**9, 0.2),
        lambda t: 0.5 * (0.2 + 0.8 * min(t / 1e9, 1)) * 0.1 ** (max(t - 10**9, 0) // 10**9),
    ),
    "warm-up over": (
        gradtx.multiply_schedules(
            gradtx.linear_schedule(0.0, 1.0, 100), gradtx.step_decay_schedule(0.5, 60, 0.1)
        ),
        lambda t: min(t / 100, 1) * 0.5 * 0.1 ** min(t // 60, 300),
    ),
}

NEAR = [0, 1, 2, 899, 900, 901, 996, 997, 998, 1000, 1001, 1002, 1993, 1994, 3999, 4000, 10_000]
FAR = [
    2**24 - 1,
    2**24,
    2**24 + 1,
    10**8 + 3,
    10**9 + 7,
    2**30 + 1,
    2 * 10**9 - 1,
    LAST - 1001,
    LAST - 1,
    LAST,
]
STEPS = np.asarray(NEAR + FAR, np.int32)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_formula_up_to_the_last_step(name: str, x64: bool) -> None:
    schedule, formula = CASES[name]
    expected = np.asarray([formula(int(t)) for t in STEPS])
    with jax.enable_x64(x64):
        got = np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(STEPS)))
    if x64:
        # The formula's own roundings, of an exponent of up to 100.
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-300)
        return
    # One rounding of 6e-8; two below 1e-27, where pairs lose their lows, and zero below the smallest number.
    low = np.abs(expected) < 1e-27
    np.testing.assert_allclose(got[~low], expected[~low], rtol=6.5e-8)
    np.testing.assert_allclose(got[low], expected[low], rtol=1.2e-7, atol=1.2e-38)


@pytest.mark.parametrize("growth", [2, 3, 7])
def test_warm_restarts_begin_at_the_same_steps_as_their_cycles(growth: int) -> None:
    """Each cycle's first level is the top, and the one before it nearly the bottom."""
    schedule = jax.jit(gradtx.cosine_warm_restarts_schedule(1.0, 50, growth))
    begin, length = 0, 50
    while begin + length <= LAST:
        begin, length = begin + length, length * growth
        assert schedule(begin) == 1
        assert schedule(begin - 1) < 1e-2


def test_the_phase_is_that_of_the_first_period() -> None:
    """Cast to float32 first, a step of 2³¹ - 1 has lost its last seven bits and with them the phase."""
    for schedule in (
        gradtx.cosine_annealing_schedule(1.0, 60, 0.1),
        gradtx.cyclic_schedule(0.1, 1.0, 43, 77),
        gradtx.cosine_warm_restarts_schedule(1.0, 120, 1, 0.1),
    ):
        first = np.arange(120, dtype=np.int32)
        last = np.arange(LAST - 119, LAST + 1, dtype=np.int64)
        levels = jax.jit(jax.vmap(schedule))
        np.testing.assert_array_equal(levels(last.astype(np.int32)), levels(first)[last % 120])


def test_a_power_is_correct_to_rounding_also_where_its_exponent_is_large() -> None:
    steps = np.asarray([1, 100, 2047, 2048, 30_000, 86_000], np.int32)
    got = np.asarray(jax.jit(jax.vmap(gradtx.exponential_decay(1.0, 1, 0.999)))(steps), float)
    expected = 0.999 ** steps.astype(float)
    # One rounding; a product of -86 in float32 would bring an error of 4e-6.
    np.testing.assert_allclose(got, expected, rtol=6.5e-8)


def test_a_growing_level_stops_short_of_infinity() -> None:
    levels = jax.jit(jax.vmap(gradtx.exponential_decay(1.0, 1, 2.0)))(STEPS)
    assert np.all(np.isfinite(levels))
    assert np.all(np.asarray(levels)[STEPS > 200] > 1e37)
