"""What every exported schedule keeps, found by itself: a value, pure, one trace, finite, exact to the end."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import Schedule
from gradtx.kinds import Integer, Real
from gradtx.schedules.fields import LAST, Boundaries, Choice, Parts

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


@every_function_of_the_step
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_one_trace_gives_one_finite_number_at_every_step(name: str, x64: bool) -> None:
    schedule, traces = SCHEDULES[name], []

    @jax.jit
    def traced(step):
        traces.append(step)
        return schedule(step)

    with jax.enable_x64(x64):
        levels = np.asarray([traced(step) for step in STEPS])
    assert len(traces) == 1
    assert levels.shape == STEPS.shape
    assert levels.dtype == (np.float64 if x64 else np.float32)
    assert np.all(np.isfinite(levels))


@every_function_of_the_step
def test_a_step_is_a_python_number_an_array_or_one_of_many(name: str) -> None:
    schedule = SCHEDULES[name]
    mapped = np.asarray(jax.vmap(schedule)(STEPS))
    tight = {"rtol": 1.3e-7, "atol": 0.0}  # compiled as one program, and operation by operation: a last place
    for i in (0, 1, 7, 39, len(STEPS) - 1):
        step = int(STEPS[i])
        for same in (step, np.int64(step), jnp.asarray(step), np.asarray(step, np.uint32)):
            level = schedule(same)
            assert np.shape(level) == ()
            np.testing.assert_allclose(level, mapped[i], **tight)
    np.testing.assert_allclose(schedule(np.uint8(39)), mapped[39], **tight)
    np.testing.assert_allclose(np.broadcast_to(schedule(STEPS), STEPS.shape), mapped, **tight)


@pytest.mark.parametrize("name", [name for name in PURE if name in FUNCTIONS])
def test_float32_is_float64_but_for_one_rounding_up_to_the_last_step(name: str) -> None:
    schedule = SCHEDULES[name]
    narrow = np.asarray(jax.jit(jax.vmap(schedule))(STEPS))
    with jax.enable_x64(True):
        wide = np.asarray(jax.jit(jax.vmap(schedule))(STEPS))
    # The one rounding is 6e-8 at most. What is below float32's smallest number is zero.
    np.testing.assert_allclose(narrow, wide, rtol=6.5e-8, atol=1.2e-38)


@pytest.mark.parametrize("name", [name for name in PURE if name in FUNCTIONS])
def test_numbers_that_are_arrays_are_rounded_once_as_well(name: str) -> None:
    """Arguments of the compiled program or constants in it: the level that belongs to their values."""
    leaves, structure = jax.tree.flatten(SCHEDULES[name])
    narrow = [np.float32(0.9371 * x) for x in leaves]
    with jax.enable_x64(True):
        wide = structure.unflatten([jnp.asarray(x, float) for x in narrow])
        expected = np.broadcast_to(jax.vmap(wide)(STEPS), STEPS.shape)
    held = structure.unflatten([jnp.asarray(x) for x in narrow])
    for got in (
        jax.jit(lambda schedule, step: jax.vmap(schedule)(step))(held, STEPS),
        jax.jit(jax.vmap(held))(STEPS),
        jax.jit(lambda: jax.vmap(held)(STEPS))(),
    ):
        # Of a power with an exponent of 100, 1e-9 · 100 / 2 besides.
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1.2e-38)


@pytest.mark.parametrize("name", [name for name in PURE if name in FUNCTIONS])
def test_slopes_in_its_numbers_are_those_of_float64(name: str) -> None:
    leaves, structure = jax.tree.flatten(SCHEDULES[name])

    def slopes(leaves):
        return jax.vmap(jax.grad(lambda xs, step: structure.unflatten(xs)(step)), (None, 0))(leaves, STEPS)

    got = slopes([jnp.asarray(x, jnp.float32) for x in leaves])
    with jax.enable_x64(True):
        expected = slopes([jnp.asarray(np.float32(x), float) for x in leaves])
    for narrow, wide in zip(got, expected, strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1.2e-38)


@every_function_of_the_step
def test_its_numbers_may_be_traced_swept_and_differentiated(name: str) -> None:
    schedule = SCHEDULES[name]
    leaves, structure = jax.tree.flatten(schedule)
    if not leaves:
        pytest.skip("it has no numbers")

    def at(leaves, step):
        return structure.unflatten(leaves)(step)

    many = [jnp.asarray([x, 0.9 * x]) for x in leaves]
    swept = jax.jit(jax.vmap(jax.vmap(at, (None, 0)), (0, None)))(many, STEPS)
    alone = structure.unflatten([0.9 * x for x in leaves])
    # A traced base of a power brings its own rounding in as often as it is multiplied.
    near = STEPS < 40
    np.testing.assert_allclose(swept[1][near], jax.vmap(alone)(STEPS[near]), rtol=2e-5, atol=1e-6)
    slopes = jax.jit(jax.vmap(jax.grad(at), (None, 0)))([jnp.asarray(x) for x in leaves], STEPS)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)


@every_function_of_the_step
def test_no_step_is_half_a_step(name: str) -> None:
    if name in ("affine", "constant_schedule", "from_function"):
        pytest.skip("it does not look at the step itself")
    with pytest.raises(TypeError, match=f"{type(SCHEDULES[name]).__name__}: the step must be a whole number"):
        SCHEDULES[name](1.5)


@every_function_of_the_step
def test_an_optimizer_follows_it(name: str) -> None:
    """At every step, in one trace, and from any step on as in an uninterrupted run."""
    schedule = SCHEDULES[name]
    tx = gradtx.scale_by_learning_rate(schedule)
    update = jax.jit(tx.update)
    state = tx.init(jnp.ones(()))
    for step in range(12):
        level, state = update(jnp.ones(()), state)
        np.testing.assert_allclose(level, -schedule(step), rtol=1e-6, atol=1e-7)
    resumed = state._replace(step=jnp.asarray(10**6, jnp.int32))
    np.testing.assert_allclose(update(jnp.ones(()), resumed)[0], -schedule(10**6), rtol=1e-6, atol=1e-7)
    assert update._cache_size() == 1


def test_what_follows_a_report_says_that_it_is_no_function_of_the_step() -> None:
    with pytest.raises(TypeError, match="plateau_schedule is no function of the step: it follows"):
        gradtx.plateau_schedule(0.1)(0)
