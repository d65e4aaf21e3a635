"""What every exported schedule keeps, found by itself: a value, pure, one trace, finite, exact to the end."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import pickle
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import Schedule
from gradtx.schedules.exact.arithmetic import LAST
from gradtx.schedules.fields import Boundaries, Parts
from gradtx.values.kinds import Choice, Integer, Real
from tests import whole

# ---------------------------------------------------------------- one of each

LINE = gradtx.linear_schedule(1.0, 0.5, 9)


def half(step):
    return jnp.full(jnp.shape(step), 0.5)


BUILT = {
    "from_function": gradtx.from_function(half),
    "join_schedules": gradtx.join_schedules((LINE, half, LINE), (4, 11)),
    "multiply_schedules": gradtx.multiply_schedules(LINE, LINE),
    "add_schedules": gradtx.add_schedules(LINE, LINE),
    "piecewise_constant_schedule": gradtx.piecewise_constant_schedule(1.0, {4: 0.5, 9: 3.0}),
    "piecewise_interpolate_schedule": gradtx.piecewise_interpolate_schedule("cosine", 1.0, {4: 0.5, 9: 3.0}),
    "sgdr_schedule": gradtx.sgdr_schedule(
        {"init_value": 0.1, "peak_value": peak, "warmup_steps": 3, "decay_steps": 8} for peak in (1.0, 0.7)
    ),
    "warmup_cosine_decay_schedule": gradtx.warmup_cosine_decay_schedule(0.1, 0.7, 3, 9),
}
"""Those whose arguments have to fit together; all others are built from their annotations."""

EXPORTED = {
    name: cls
    for name, cls in vars(gradtx).items()
    if inspect.isclass(cls) and issubclass(cls, Schedule) and not cls._abstract
}


def build(cls: type[Schedule]) -> Schedule:
    if cls.__name__ in BUILT:
        return BUILT[cls.__name__]
    hints = typing.get_type_hints(cls, include_extras=True)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    return cls(**{f.name: _argument(f"{cls.__name__}.{f.name}", hints[f.name]) for f in needed})


def _argument(where: str, hint) -> object:
    for kind in (hint, *getattr(hint, "__metadata__", ())):
        if kind is Schedule:
            return LINE
        if isinstance(kind, Real) or kind is float:
            return 0.7
        if isinstance(kind, Integer):
            return 5
        if isinstance(kind, Choice):
            return kind.names[0]
        if kind in Boundaries.__metadata__:
            return (3, 8)
        if kind in Parts.__metadata__:
            return (LINE,)
    raise LookupError(f"{where}: no rule for {hint}. Extend _argument, or put one into BUILT.")


OPTIONS = {
    "affine": gradtx.affine(LINE, -0.5, 2.0),
    "annealing, held": gradtx.cosine_annealing_schedule(1.0, 7, 0.1, periodic=False),
    "cosine, all": gradtx.cosine_decay_schedule(1.0, 7, 0.1, 1.5),
    "cyclic, triangular2": gradtx.cyclic_schedule(0.1, 1.0, 3, 5, "triangular2"),
    "cyclic, exp_range": gradtx.cyclic_schedule(0.1, 1.0, 3, 5, "exp_range", 0.99),
    "exponential, all": gradtx.exponential_decay(1.0, 4, 0.5, 2, staircase=True, end_value=0.1),
    "exponential, growing": gradtx.exponential_decay(1.0, 4, 1.1, end_value=20.0),
    "onecycle, three phases": gradtx.onecycle_schedule(13, 1.0, 0.4, "linear", three_phase=True),
    "onecycle, at once": gradtx.onecycle_schedule(13, 1.0, 0.0),
    "restarts": gradtx.cosine_warm_restarts_schedule(1.0, 5, 1, 0.1),
    "restarts, growing": gradtx.cosine_warm_restarts_schedule(1.0, 5, 3, 0.1),
    "stable, cosine": gradtx.warmup_stable_decay_schedule(0.0, 1.0, 0, 4, 6, 0.1, "cosine"),
    "stable, sqrt": gradtx.warmup_stable_decay_schedule(0.0, 1.0, 3, 0, 6, 0.1, "sqrt"),
    "warmup_exponential": gradtx.warmup_exponential_decay_schedule(0.1, 1.0, 3, 4, 0.5, 1, True, 0.2),
    "nested": gradtx.per_epoch(
        gradtx.with_warmup(gradtx.join_schedules((LINE, gradtx.multiply_schedules(LINE, half)), (3,)), 2), 3
    ),
}
SCHEDULES = {name: build(cls) for name, cls in EXPORTED.items()} | OPTIONS
FUNCTIONS = [name for name, s in SCHEDULES.items() if not isinstance(s, gradtx.Adaptive)]
every_schedule = pytest.mark.parametrize("name", SCHEDULES)
every_function_of_the_step = pytest.mark.parametrize("name", FUNCTIONS)
PURE = [name for name, s in SCHEDULES.items() if "half" not in repr(s)]  # without a function

# Every step of several periods, powers of two around float32's 24 bits, and the last ones.
STEPS = np.asarray([*range(40), 2**24 - 1, 2**24 + 1, 10**9 + 7, LAST - 1, LAST], np.int32)


def test_the_exported_are_found() -> None:
    assert {"linear_schedule", "cyclic_schedule", "from_function", "per_epoch"} <= EXPORTED.keys()
    assert len(EXPORTED) >= 29
    assert BUILT.keys() <= EXPORTED.keys()


def test_a_schedule_that_cannot_be_built_fails_loudly() -> None:
    class odd(Schedule):
        colour: str = gradtx.static()

    with pytest.raises(LookupError, match=r"odd\.colour: no rule for"):
        build(odd)


# ---------------------------------------------------------------- a value


@every_schedule
def test_it_compares_hashes_and_survives_copies(name: str) -> None:
    schedule = SCHEDULES[name]
    leaves, structure = jax.tree.flatten(schedule)
    for twin in (
        copy.deepcopy(schedule),
        pickle.loads(pickle.dumps(schedule)),
        schedule.replace(),
        jax.tree.unflatten(structure, leaves),
    ):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert repr(twin) == repr(schedule)
    if leaves:
        assert jax.tree.map(lambda x: x + 1, schedule) != schedule


@pytest.mark.parametrize("name", PURE)
def test_it_prints_as_its_source_and_has_json(name: str) -> None:
    schedule = SCHEDULES[name]
    assert eval(repr(schedule), dict(vars(gradtx))) == schedule
    twin = gradtx.from_json(gradtx.to_json(schedule))
    assert twin == schedule
    assert jax.tree.structure(twin) == jax.tree.structure(schedule)


def test_the_levels_are_data_and_the_counts_are_not() -> None:
    for name, schedule in SCHEDULES.items():
        assert all(isinstance(x, float) for x in jax.tree.leaves(schedule)), name
    assert jax.tree.leaves(gradtx.piecewise_constant_schedule(1.0, {9: 3.0, 4: 0.5})) == [1.0, 0.5, 3.0]


# ---------------------------------------------------------------- a function of the step


# What follows reads programs of all schedules at once; of each by itself they take twice as long.

EVERY = tuple(FUNCTIONS)
EXACT = tuple(name for name in PURE if name in FUNCTIONS)
VARIED = tuple(name for name in FUNCTIONS if jax.tree.leaves(SCHEDULES[name]))


def numbers(names, change):
    return {name: [change(x) for x in jax.tree.leaves(SCHEDULES[name])] for name in names}


def with_numbers(name, leaves):
    return jax.tree.structure(SCHEDULES[name]).unflatten(leaves)


def levels(schedule, steps):
    return jnp.broadcast_to(jax.vmap(schedule)(steps), steps.shape)


def levels_of_two(name, leaves):
    """At all steps, with two of each of its numbers."""
    return jax.vmap(lambda leaves: jax.vmap(with_numbers(name, leaves))(STEPS))(leaves)


def levels_and_slopes(name, leaves):
    return jax.vmap(jax.value_and_grad(functools.partial(at, name)), (None, 0))(leaves, STEPS)


def at(name, leaves, step):
    return with_numbers(name, leaves)(step)


@functools.cache
def of_numbers(of, names):
    """A program that takes the numbers of schedules."""
    return jax.jit(lambda leaves: {name: of(name, leaves[name]) for name in names})


def asked(of, change, wide=False):
    """What `of` makes of schedules with other numbers, by their names; for `whole.together`."""

    @functools.cache
    def run(names):
        with jax.enable_x64(wide):
            return jax.device_get(of_numbers(of, names)(numbers(names, change)))

    return run


def plain_levels(name, leaves):
    return levels(with_numbers(name, leaves), STEPS)


def other(x):
    """A number that float32 holds exactly."""
    return np.float32(0.9371 * x)


@functools.cache
def at_once(names):
    return jax.device_get(jax.jit(lambda steps: {n: levels(SCHEDULES[n], steps) for n in names})(STEPS))


@functools.cache
def of_constants(names):
    """Arrays that the program holds; the steps are its argument."""
    held = numbers(names, lambda x: jnp.asarray(other(x)))
    every = jax.jit(lambda steps: {n: levels(with_numbers(n, held[n]), steps) for n in names})
    return jax.device_get(every(STEPS))


@functools.cache
def of_constants_alone(names):
    """The steps too."""
    held = numbers(names, lambda x: jnp.asarray(other(x)))
    return jax.device_get(jax.jit(lambda: {n: plain_levels(n, held[n]) for n in names})())


SWEPT = asked(levels_of_two, lambda x: np.asarray([x, 0.9 * x], np.float32))
SWEPT_WIDE = asked(plain_levels, lambda x: np.float64(0.9 * x), wide=True)
OTHER = asked(levels_and_slopes, other)
OTHER_WIDE = asked(plain_levels, lambda x: np.float64(other(x)), wide=True)
SLOPES = asked(levels_and_slopes, np.float32)


@functools.cache
def one_by_one(names):
    """The level at each step, alone and as the learning rate of an optimizer, and how often it was traced."""
    txs = {name: gradtx.scale_by_learning_rate(SCHEDULES[name]) for name in names}
    one, traces = np.ones((), np.float32), []

    @jax.jit
    def traced(states):
        traces.append(names)
        made = {name: tx.update(one, states[name]) for name, tx in txs.items()}
        found = {name: (SCHEDULES[name](states[name].step), made[name][0]) for name in names}
        return found, {name: state for name, (_, state) in made.items()}

    first = states = jax.jit(lambda: {name: tx.init(one) for name, tx in txs.items()})()
    followed = []
    for _ in range(12):
        found, states = traced(states)
        followed.append(jax.device_get(found))
    reached = []
    for step in STEPS:
        found, _ = traced({name: state._replace(step=step) for name, state in first.items()})
        reached.append(jax.device_get(found))
    followed, reached = whole.stack(followed), whole.stack(reached)
    return {name: (*reached[name], followed[name][1], len(traces)) for name in names}


@functools.cache
def one_by_one_wide(names):
    traces = []

    @jax.jit
    def traced(step):
        traces.append(step)
        return {name: SCHEDULES[name](step) for name in names}

    with jax.enable_x64(True):
        found = whole.stack([jax.device_get(traced(step)) for step in STEPS])
    return {name: (found[name], len(traces)) for name in names}


@every_function_of_the_step
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_one_trace_gives_one_finite_number_at_every_step(name: str, x64: bool) -> None:
    levels, *_, traces = whole.together(one_by_one_wide if x64 else one_by_one, EVERY, name)
    assert traces == 1
    assert levels.shape == STEPS.shape
    assert levels.dtype == (np.float64 if x64 else np.float32)
    assert np.all(np.isfinite(levels))


@every_function_of_the_step
def test_a_step_is_a_python_number_an_array_or_one_of_many(name: str) -> None:
    schedule, mapped = SCHEDULES[name], whole.together(at_once, EVERY, name)
    tight = {"rtol": 1.3e-7, "atol": 0.0}  # compiled as one program, and operation by operation: a last place
    for i in (0, 1, 7, 39, len(STEPS) - 1):
        step = int(STEPS[i])
        for same in (step, np.int64(step), jnp.asarray(step), np.asarray(step, np.uint32)):
            level = schedule(same)
            assert np.shape(level) == ()
            np.testing.assert_allclose(level, mapped[i], **tight)
    np.testing.assert_allclose(schedule(np.uint8(39)), mapped[39], **tight)
    np.testing.assert_allclose(np.broadcast_to(schedule(STEPS), STEPS.shape), mapped, **tight)


@pytest.mark.parametrize("name", EXACT)
def test_float32_is_float64_but_for_one_rounding_up_to_the_last_step(name: str) -> None:
    narrow, (wide, _) = whole.together(at_once, EVERY, name), whole.together(one_by_one_wide, EVERY, name)
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    # The one rounding is 6e-8 at most. What is below float32's smallest number is zero.
    np.testing.assert_allclose(narrow, wide, rtol=6.5e-8, atol=1.2e-38)


@pytest.mark.parametrize("name", EXACT)
def test_numbers_that_are_arrays_are_rounded_once_as_well(name: str) -> None:
    """Arguments of the compiled program or constants in it: the level that belongs to their values."""
    expected = whole.together(OTHER_WIDE, VARIED, name)
    assert expected.dtype == np.float64
    for got in (
        whole.together(OTHER, VARIED, name)[0],
        whole.together(of_constants, EXACT, name),
        whole.together(of_constants_alone, EXACT, name),
    ):
        # Of a power with an exponent of 100, 1e-9 · 100 / 2 besides.
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1.2e-38)


@pytest.mark.parametrize("name", EXACT)
def test_slopes_in_its_numbers_are_those_of_float64(name: str) -> None:
    """Compiled as one program in float32, operation by operation in float64."""
    leaves, _ = jax.tree.flatten(SCHEDULES[name])
    with jax.enable_x64(True):
        slopes = jax.vmap(jax.grad(functools.partial(at, name)), (None, 0))
        expected = slopes([jnp.asarray(np.float32(x), float) for x in leaves], STEPS)
    for narrow, wide in zip(whole.together(SLOPES, VARIED, name)[1], expected, strict=True):
        assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1.2e-38)


@every_function_of_the_step
def test_its_numbers_may_be_traced_swept_and_differentiated(name: str) -> None:
    if name not in VARIED:
        pytest.skip("it has no numbers")
    swept, changed = whole.together(SWEPT, VARIED, name), whole.together(SWEPT_WIDE, VARIED, name)
    of_python, _ = whole.together(one_by_one_wide, EVERY, name)
    # A traced base of a power brings its own rounding in as often as it is multiplied.
    near = STEPS < 40
    for got, alone in zip(swept, (of_python, changed), strict=True):
        np.testing.assert_allclose(got[near], alone[near], rtol=2e-5, atol=1e-6)
    assert all(np.all(np.isfinite(slope)) for slope in whole.together(SLOPES, VARIED, name)[1])


@every_function_of_the_step
def test_no_step_is_half_a_step(name: str) -> None:
    if name in ("affine", "constant_schedule", "from_function"):
        pytest.skip("it does not look at the step itself")
    with pytest.raises(TypeError, match=f"{type(SCHEDULES[name]).__name__}: the step must be a whole number"):
        SCHEDULES[name](1.5)


@every_function_of_the_step
def test_an_optimizer_follows_it(name: str) -> None:
    """At every step, in one trace, and from any step on as in an uninterrupted run."""
    _, resumed, levels, traces = whole.together(one_by_one, EVERY, name)
    expected = whole.together(at_once, EVERY, name)
    np.testing.assert_allclose(levels, -expected[:12], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(resumed, -expected, rtol=1e-6, atol=1e-7)
    assert traces == 1


def test_what_follows_a_report_says_that_it_is_no_function_of_the_step() -> None:
    with pytest.raises(TypeError, match="plateau_schedule is not a function of the step: it follows"):
        gradtx.plateau_schedule(0.1)(0)
