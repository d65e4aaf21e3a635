"""Optax's schedules by Optax's names and arguments, with its levels at every step."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests.compiling import AS_BY_DEFAULT

CYCLES = [
    {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 30},
    {"init_value": 0.2, "peak_value": 0.7, "warmup_steps": 0, "decay_steps": 25, "end_value": 0.1},
    {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 9, "decay_steps": 40, "exponent": 2.0},
]

# name -> the arguments of a few; the same call in both libraries.
CALLS = {
    "constant_schedule": [(0.3,)],
    "cosine_decay_schedule": [(1.0, 80), (1.0, 80, 0.1, 1.5), (0.0, 10)],
    "cosine_onecycle_schedule": [(100, 0.5), (103, 0.5, 0.37, 10.0, 100.0), (100, 0.5, 0.0)],
    "exponential_decay": [
        (1.0, 10, 0.5),
        (1.0, 10, 0.5, 7, True, 0.1),
        (1.0, 10, 2.0, 0, False, 20.0),
        (1.0, 1, 0.99),
    ],
    "linear_onecycle_schedule": [(100, 0.5), (103, 0.5, 0.37, 0.71, 10.0, 100.0), (100, 0.5, 0.0)],
    "linear_schedule": [(1.0, 0.1, 50), (0.0, 1.0, 50, 20)],
    "piecewise_constant_schedule": [(1.0, {60: 0.5, 20: 0.1}), (1.0,), (1.0, {0: 0.5, 3: 0.0})],
    "piecewise_interpolate_schedule": [
        ("linear", 1.0, {60: 0.5, 20: 0.1}),
        ("cosine", 1.0, {60: 2.0, 20: 0.1, 90: 0.0}),
        ("linear", 1.0, {0: 0.5, 30: 2.0}),
        ("cosine", 1.0),
    ],
    "polynomial_schedule": [(1.0, 0.1, 3.0, 60, 5), (0.1, 1.0, 0.5, 60)],
    "sgdr_schedule": [(CYCLES,)],
    "warmup_constant_schedule": [(0.1, 1.0, 30)],
    "warmup_cosine_decay_schedule": [(0.1, 1.0, 20, 90, 0.05, 2.0), (0.0, 1.0, 0, 90), (0.5, 0.0, 10, 90)],
    "warmup_exponential_decay_schedule": [
        (0.1, 1.0, 20, 10, 0.5),
        (0.1, 1.0, 20, 10, 0.5, 5, True, 0.2),
        (0.1, 1.0, 0, 10, 1.5, 3, False, 3.0),
    ],
}
CASES = {f"{name} {i}": (name, args) for name, calls in CALLS.items() for i, args in enumerate(calls)}


def compare(ours, theirs) -> None:
    steps = jnp.arange(125, dtype=jnp.int32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        # Optax's root of the share that is left is NaN where that is rounded to -6e-8, as some compilers do.
        theirs = jax.jit(jax.vmap(theirs), compiler_options=AS_BY_DEFAULT)
        expected = np.broadcast_to(theirs(steps), steps.shape)
    got = jax.jit(jax.vmap(ours))(steps)
    # Optax takes the share of the time first and the rest of it by subtraction, in float32: where
    # little is left, an absolute rounding of the largest level, which is 3 here at most.
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=4e-7)


@pytest.mark.parametrize("case", CASES)
def test_the_same_call_gives_the_same_levels(case: str) -> None:
    name, args = CASES[case]
    compare(getattr(gradtx, name)(*args), getattr(optax, name)(*args))


def test_joined_schedules_are_joined_alike() -> None:
    def parts(library):
        return [
            library.linear_schedule(0.0, 1.0, 10),
            lambda s: 0.5 + 0.01 * s.astype(float),
            library.constant_schedule(0.2),
        ]

    compare(gradtx.join_schedules(parts(gradtx), [30, 70]), optax.join_schedules(parts(optax), [30, 70]))


def test_every_schedule_of_optax_is_here_with_its_arguments() -> None:
    exported = {n for n in vars(optax) if n.endswith(("_schedule", "_schedules", "exponential_decay"))}
    exported -= {"scale_by_schedule", "exponential_decay_schedule"}
    assert {n for n in exported if n != "join_schedules"} == CALLS.keys()
    for name in exported:
        ours = inspect.signature(getattr(gradtx, name)).parameters
        theirs = inspect.signature(getattr(optax, name)).parameters
        assert [*ours] == [*theirs]
        for parameter in theirs.values():
            assert ours[parameter.name].default == parameter.default, f"{name}({parameter.name})"
