"""The laws: everything exported keeps them, found by itself, and each of them can be broken.

A class that gradtx exports is built from its annotations, so a new one is tried without being
listed. What can't be built that way fails here until `BUILT` says how.
"""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import GradientTransformation, Schedule, laws, static
from gradtx.contract.facts import facts
from gradtx.contract.hyperparameters import Hyperparameter
from gradtx.contract.reach import Reach
from gradtx.rules.masks import Mask
from gradtx.values.kinds import Integer, Real
from tests.laws.broken import BROKEN

# ---------------------------------------------------------------- one of each


def _classes(base: type) -> dict[str, type]:
    """The concrete classes of a kind that gradtx exports."""
    return {
        name: cls
        for name, cls in vars(gradtx).items()
        if inspect.isclass(cls) and issubclass(cls, base) and not cls._abstract
    }


def _nothing(params):
    return gradtx.EmptyState()


def _as_it_is(updates, state, params=None):
    return updates, state


def _square_root(step):
    return 1.0 / jnp.sqrt(1 + step.astype(float))


MOVING, SCALING = gradtx.trace(0.9), gradtx.scale(-0.1)
LINE = gradtx.linear_schedule(0.1, 0.01, 10)
# The same shapes in all tests: an operation is compiled once for a shape.
TREE = {"dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4, jnp.bfloat16)}, "scale": jnp.ones(())}
# Two leaves: each one more takes a third longer to compile.
FEW = {"kernel": jnp.ones((3, 4)), "scale": (jnp.ones((), jnp.bfloat16),)}
LAYOUT = gradtx.packing(TREE)


def _even(step):
    return step % 2 == 0


def _halved(update, param):
    return update / 2


def _halved_tree(updates, params):
    return jax.tree.map(lambda u: u / 2, updates)


BUILT = {
    "accumulate": gradtx.accumulate(MOVING, 2),
    "add_noise": gradtx.add_noise(0.1, 0.5, 1),
    "conditionally_mask": gradtx.conditionally_mask(MOVING, _even),
    "conditionally_transform": gradtx.conditionally_transform(MOVING, _even),
    "run_when": gradtx.run_when(MOVING, _even),
    "snapshot": gradtx.snapshot("norm", gradtx.tree.global_norm),
    "stateless": gradtx.stateless(_halved_tree),
    "stateless_with_tree_map": gradtx.stateless_with_tree_map(_halved),
    "add": gradtx.add(MOVING, SCALING),
    "add_schedules": gradtx.add_schedules(LINE, gradtx.constant_schedule(0.01)),
    "chain": gradtx.chain(MOVING, SCALING),
    "foreign": gradtx.foreign(_nothing, _as_it_is),
    "from_function": gradtx.from_function(_square_root),
    "join_schedules": gradtx.join_schedules((LINE, gradtx.constant_schedule(0.01)), (2,)),
    "multi_step_schedule": gradtx.multi_step_schedule(0.1, (1, 3)),
    "multiply_schedules": gradtx.multiply_schedules(LINE, gradtx.constant_schedule(0.5)),
    "differentially_private_aggregate": gradtx.differentially_private_aggregate(1.0, 0.5, 1),
    "dpsgd": gradtx.dpsgd(0.1, 1.0, 0.5, 1),
    "monitor": gradtx.monitor(
        {"norm": gradtx.tree.global_norm, "mean": gradtx.measure_with_ema(gradtx.tree.global_norm, 0.9)}
    ),
    "named_chain": gradtx.named_chain(("moving", MOVING), ("scaling", SCALING)),
    "packed": gradtx.packed(gradtx.lamb(0.1, weight_decay=0.1, mask="kernel$"), LAYOUT),
    "partition": gradtx.partition(
        {"a": MOVING, "b": gradtx.freeze()}, gradtx.by_path(("kernel|scale", "a"), (".*", "b"))
    ),
    "piecewise_interpolate_schedule": gradtx.piecewise_interpolate_schedule("linear", 0.1, {2: 0.5}),
    "sgdr_schedule": gradtx.sgdr_schedule(
        [{"init_value": 0.0, "peak_value": 0.1, "decay_steps": 4, "warmup_steps": 1, "end_value": 0.0}]
    ),
    "tunable": gradtx.tunable(gradtx.adamw(0.1, b2=LINE), "learning_rate", "weight_decay"),
    "unpacked": gradtx.unpacked(MOVING, LAYOUT),
    "warmup_cosine_decay_schedule": gradtx.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10),
}


# Where not any parameters will do.
PARAMS = {"packed": LAYOUT.pack(TREE), "unpacked": LAYOUT.pack(TREE)}


def build(cls: type):
    """An instance, with an argument by its annotation for each field that has no default."""
    if cls.__name__ in BUILT:
        return BUILT[cls.__name__]
    hints = typing.get_type_hints(cls, include_extras=True)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    return cls(**{f.name: _argument(cls, f.name, hints[f.name]) for f in needed})


def _argument(cls: type, name: str, hint) -> object:
    for kind in (hint, *getattr(hint, "__metadata__", ())):
        if isinstance(kind, Real):
            return 0.9 if kind.high == 1 else 0.1
        if isinstance(kind, Integer) or kind is int:
            return 3
        if kind is float:
            return 0.1
        if kind in Mask.__metadata__:
            return "kernel$"
        if kind is Schedule:
            return LINE
        if kind is GradientTransformation:
            return gradtx.rms(0.9) if name == "denominator" else MOVING
    raise LookupError(f"{cls.__name__}.{name}: no rule for {hint}. Extend _argument, or put one into BUILT.")


def elaborate(tx):
    """The same with all that is off by default: terms, masks, narrow states, flags that fit together.

    And with a schedule for each number that takes one.
    """
    hints = typing.get_type_hints(type(tx), include_extras=True)
    for field in dataclasses.fields(tx):
        value = _another(field.name, getattr(tx, field.name), _kinds(hints[field.name]))
        try:
            changed = tx.replace(**{field.name: value})
            changed.init({})
            tx = changed
        except ValueError:  # an option that excludes another one
            continue
    return tx


def _another(name: str, held: object, kinds: list) -> object:
    if isinstance(held, bool):
        return not held
    if held is None and name.endswith("_dtype"):
        return "bfloat16"
    if held is None and "mask" in name:
        return "kernel$"
    number = next((kind for kind in kinds if isinstance(kind, Hyperparameter)), None)
    if number is None:
        return held
    if isinstance(held, Schedule):
        return held
    level = held or (0.9 if number.high == 1 else 0.1)
    # Only the learning rate moves: that is enough to see the step go by, and quick to compile.
    if name == "learning_rate":
        return gradtx.linear_schedule(level, 0.9 * level, 4)
    return gradtx.constant_schedule(level)


def _kinds(hint) -> list:
    """What a field accepts, by the metadata of its annotation and of the annotation's parts."""
    return [*getattr(hint, "__metadata__", ()), *(k for a in typing.get_args(hint) for k in _kinds(a))]


TRANSFORMATIONS = _classes(GradientTransformation)
SCHEDULES = _classes(Schedule)


def test_the_exported_are_found() -> None:
    assert {"adam", "chain", "ema", "foreign", "sgd", "trace"} <= TRANSFORMATIONS.keys()
    assert {"from_function", "linear_schedule"} <= SCHEDULES.keys()
    assert not {"Composite", "GradientTransformation", "Schedule"} & (
        TRANSFORMATIONS.keys() | SCHEDULES.keys()
    )
    assert BUILT.keys() <= TRANSFORMATIONS.keys() | SCHEDULES.keys()
    assert {"adam", "sgd"} <= set(OPTIMIZERS)


def test_a_class_that_cannot_be_built_fails_loudly() -> None:
    class odd(GradientTransformation):
        colour: str = static()

    with pytest.raises(LookupError, match=r"odd\.colour: no rule for"):
        build(odd)


# ---------------------------------------------------------------- everything exported keeps them

HOLD_FUNCTIONS = (
    "conditionally_mask",
    "conditionally_transform",
    "foreign",
    "from_function",
    "monitor",
    "run_when",
    "snapshot",
    "stateless",
    "stateless_with_tree_map",
)
DOES_NOT_APPLY = {name: {"prints_as_its_source", "writes_json"} for name in HOLD_FUNCTIONS}
NUMBERS = {
    "differs_by_its_numbers",
    "one_trace_as_argument",
    "vmaps_over_its_numbers",
    "differentiates_by_its_numbers",
}


def _objective(params):
    """Half the sum of squares, whatever the leaves are."""
    sums = [jnp.sum(jnp.square(jnp.abs(p))).astype(jnp.float32) for p in jax.tree.leaves(params)]
    return sum(sums, jnp.zeros((), jnp.float32)) / 2


# For those that need it, made of the parameters.
EXTRA = {
    "value": _objective,
    "grad": lambda params: jax.tree.map(jnp.copy, params),
    "value_fn": lambda params: _objective,
    "obj_fn": lambda params: _objective,
    "grad_fn": lambda params: lambda there, i: jax.grad(_objective)(there),
    "sampled_obj_fn": lambda params: lambda there, key: _objective(there),
    "batch_size": lambda params: 8,
}


def extra_of(tx: GradientTransformation, params) -> dict:
    return {n: EXTRA[n](params) for n in facts(tx).extras.needed}


def check(name: str, tx: GradientTransformation, params=None) -> None:
    extra = extra_of(tx, laws.trial.default_parameters() if params is None else params)
    report = gradtx.check_transformation(tx, params, **extra)
    skipped = {skipped.name for skipped, _ in report.skipped}
    has_numbers = bool(jax.tree.leaves(tx))
    leafwise = {"leafwise_is_leaf_by_leaf"}
    assert skipped == (
        DOES_NOT_APPLY.get(name, set())
        | (set() if has_numbers else NUMBERS)
        | (set() if facts(tx).leafwise else leafwise)
        | ({"is_traced_where_it_is_used"} if tx.per_example else set())
        | ({"packs"} if Reach.LEAF in facts(tx).reach or facts(tx).names_leaves or extra else set())
    )


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_transformation_keeps_the_laws(name: str) -> None:
    check(name, build(TRANSFORMATIONS[name]), PARAMS.get(name, FEW))


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_with_every_option_and_schedules_for_its_numbers(name: str) -> None:
    plain = build(TRANSFORMATIONS[name])
    tx = elaborate(plain)
    if tx == plain:
        pytest.skip("it has no options and no numbers")
    assert isinstance(getattr(tx, "learning_rate", LINE), Schedule)
    # One that masks select, and one in bf16; MoMo's gap is a difference, of which little is left at θ = 1.
    size = 0.1 if name == "momo_adam" else 1.0
    # A search reads the loss of rounded parameters: in bf16, programs and operations alone round them apart.
    narrow = jnp.float32 if "linesearch" in name else jnp.bfloat16
    check(name, tx, {"kernel": jnp.full((3, 4), size, jnp.float32), "bias": jnp.full(4, size, narrow)})


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_keeps_the_laws(name: str) -> None:
    check(name, gradtx.scale_by_learning_rate(build(SCHEDULES[name])), FEW)


OPTIMIZERS = [name for name, cls in TRANSFORMATIONS.items() if "learning_rate" in cls.__dataclass_fields__]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_turns_finite_gradients_into_others(name: str) -> None:
    """Zeros, numbers whose squares vanish, and large ones. No law: a ratio() may well give 0 / 0."""
    tx, params = build(TRANSFORMATIONS[name]), {"w": jnp.ones((3, 4)), "b": jnp.ones(4, jnp.bfloat16)}
    state, extra = tx.init(params), extra_of(tx, params)
    for size in (0.0, 1e-30, 0.0, 1e15, 0.0):
        grads = jax.tree.map(lambda p, s=size: p * s, params)
        if tx.per_example:
            grads = jax.tree.map(lambda g: jnp.stack([g, g]), grads)
        updates, state = tx.update(grads, state, params, **extra)
        for leaf in jax.tree.leaves(updates):
            assert np.all(np.isfinite(np.asarray(leaf, np.float32))), f"gradients of {size}"


SIZES = {
    "float32": (1e-45, 1.2e-38, 1e-30, 1e-20, 2e19, 1e20, 1e30, 3.4e38),
    "bfloat16": (1e-38, 1e-20, 2e19, 1e30, 3.38e38),
    "float16": (6e-8, 6.1e-5, 256.0, 65504.0),
}


def _paths(size: float) -> list[list[float]]:
    """An entry's gradients: once of that size, always, changing sides, and twice before ordinary ones."""
    return [[0.1, size, 0.1, 0.1, 0.1], [size] * 5, [size, -size] * 2 + [size], [size, size, 0.1, 0.1, 0.1]]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", SIZES)
def test_no_optimizer_makes_a_nan_of_finite_gradients_of_any_size(name: str, dtype: str) -> None:
    """Squares overflow and vanish. What is beyond the range may be infinite; nothing is inf - inf."""
    tx = build(TRANSFORMATIONS[name])
    ordinary = {"w": jnp.full((2, 3), 0.1, dtype)}
    params = {"w": jnp.ones((2, 3), dtype)}

    def run(path):
        state, seen = tx.init(params), []
        for size in path:
            grads = {"w": ordinary["w"].at[0, 1].set(size)}
            if tx.per_example:
                grads = jax.tree.map(lambda g: jnp.stack([g, g]), grads)
            updates, state = tx.update(grads, state, params, **extra_of(tx, params))
            seen.append((updates, state))
        numbers = [x for x in jax.tree.leaves(seen) if jnp.issubdtype(x.dtype, jnp.inexact)]
        return jnp.stack([jnp.isnan(x).any() for x in numbers]).any()

    paths = [path for size in SIZES[dtype] for path in _paths(size)]
    found = jax.jit(jax.vmap(run))(jnp.asarray(paths, dtype))
    assert not found.any(), [path for path, bad in zip(paths, found, strict=True) if bad]


@pytest.mark.parametrize("size", [2e19, 1e30, 3.4e38])
def test_a_factored_matrix_makes_no_nan_either(size: float) -> None:
    tx, params = gradtx.adafactor(0.1, min_dim_size_to_factor=2), {"w": jnp.ones((2, 3))}
    for path in _paths(size):
        state = tx.init(params)
        for entry in path:
            updates, state = tx.update({"w": jnp.full((2, 3), 0.1).at[0, 1].set(entry)}, state, params)
            assert not any(jnp.isnan(x).any() for x in jax.tree.leaves((updates, state)))


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "lamb", "yogi", "laprop", "prodigy"])
def test_an_entry_recovers_from_a_gradient_whose_square_overflows(name: str) -> None:
    """2e19 in float32 gives what float64 does: the average of squares is within the range."""
    tx = build(TRANSFORMATIONS[name])

    def run(dtype):
        params = {"w": jnp.ones(3, dtype)}
        state, path = tx.init(params), []
        for t in range(6):
            grads = {"w": jnp.array([0.1, 2e19 if t == 1 else 0.2, -0.1], dtype)}
            updates, state = tx.update(grads, state, params)
            path.append(updates["w"])
        return jnp.stack(path)

    found = jax.jit(run, static_argnums=0)(jnp.float32)
    with jax.enable_x64(True):
        right = jax.jit(run, static_argnums=0)(jnp.float64)
    np.testing.assert_allclose(found, right, rtol=2e-6, atol=2e-6 * np.abs(right).max())  # of 1e-7 roundings


# ---------------------------------------------------------------- each law can be broken


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.law}-{type(b.tx).__name__}")
def test_a_law_that_is_broken_is_named_with_the_leaf(broken) -> None:
    with pytest.raises(laws.LawError) as caught:
        gradtx.check_transformation(broken.tx)
    report, text = caught.value.report, str(caught.value)
    seen = {law.name for law, _ in report.broken}
    assert {broken.law} | broken.also <= seen <= {broken.law} | broken.also | broken.perhaps, text
    assert broken.shown in text
    for law, _ in report.broken:
        assert f"\n{law.name}: {law.sentence}\n" in text
        assert f"What to do: {law.advice}" in text


def test_every_law_is_broken_by_something() -> None:
    assert {broken.law for broken in BROKEN} == laws.LAWS.keys()


def test_every_law_has_a_sentence_and_needs_laws_above_it() -> None:
    above: set[str] = set()
    for name, law in laws.LAWS.items():
        assert law.name == name
        assert law.sentence.endswith(".")
        assert law.advice.endswith(".")
        assert law.about in ("value", "state", "update")
        assert set(law.needs) <= above, f"{name} needs a law that is not above it"
        above.add(name)


# ---------------------------------------------------------------- the report


def test_the_report_lists_what_held_and_what_does_not_apply() -> None:
    report = gradtx.check_transformation(gradtx.clip(1.0))
    text = str(report)
    assert text.startswith(f"clip(max_delta=1.0) keeps {len(laws.LAWS)} laws.\n")
    for law in laws.LAWS.values():
        assert f"    {law.name}: {law.sentence}" in text
    assert report.broken == report.untried == report.skipped == ()
    text = str(gradtx.check_transformation(gradtx.identity()))
    assert "\nDoes not apply:\n    differs_by_its_numbers: it has no numbers.\n" in text


def test_all_laws_are_tried_and_an_error_is_the_cause() -> None:
    """Two laws that have nothing to do with each other are both reported."""

    class wrong_twice(GradientTransformation):
        def init(self, params) -> dict:
            return {"step": jnp.zeros((), int)}

        def update(self, updates, state, params=None):
            jax.tree.map(lambda u, p: u, updates, params)
            return updates, {"step": state["step"] + 1}

    with pytest.raises(laws.LawError) as caught:
        gradtx.check_transformation(wrong_twice())
    broken = [law.name for law, _ in caught.value.report.broken]
    assert broken == ["counters_are_int32", "missing_params_are_named"]
    assert [law.name for law in caught.value.report.untried] == ["wrong_shapes_are_refused"]
    assert "\nNot tried, because of the above:\n    wrong_shapes_are_refused" in str(caught.value)
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value.__cause__, ValueError)


def test_many_wrong_leaves_are_counted() -> None:
    class broadens(GradientTransformation):
        def update(self, updates, state, params=None):
            return jax.tree.map(lambda u: u[None], updates), state

    params = {str(i): jnp.zeros(2) for i in range(6)}
    with pytest.raises(laws.LawError, match=r"(?s)at updates/3.*\.\.\. and 2 more\."):
        gradtx.check_transformation(broadens(), params)


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(laws, raise_on_error=False).failed == 0


# ---------------------------------------------------------------- what it is given


def test_parameters_of_your_own_are_used() -> None:
    tx = gradtx.masked(gradtx.adam(1e-3), "embed")
    with pytest.raises(laws.LawError, match="the pattern 'embed' matches no leaf"):
        gradtx.check_transformation(tx)
    params = {"embed": jnp.zeros((2, 3)), "head": [np.ones(3, np.float32), None]}
    gradtx.check_transformation(tx, params)


def test_a_tree_without_leaves_leaves_little_to_try() -> None:
    report = gradtx.check_transformation(gradtx.trace(0.9), {})
    reasons = {law.name: why for law, why in report.skipped}
    assert reasons["holes_pass_through"] == reasons["vmap_equals_the_loop"] == "there are no parameters"


def test_extra_arguments_are_passed_and_changed_with_the_trees() -> None:
    class follows(GradientTransformation):
        """Needs a number, and a tree like the parameters."""

        def update(self, updates, state, params=None, *, size, anchor):
            def step(u, a):
                return u * size - a.astype(u.dtype)

            return gradtx.tree.map(step, updates, anchor, what="anchor's"), state

    with pytest.raises(laws.LawError, match="follows needs the extra argument"):
        gradtx.check_transformation(follows())
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    gradtx.check_transformation(follows(), params, size=2.0, anchor=params)


def test_a_value_without_a_hash_is_no_static_argument() -> None:
    class weighs(GradientTransformation):
        weights: object = static()

        def update(self, updates, state, params=None):
            return jax.tree.map(lambda u: u * self.weights[0].astype(u.dtype), updates), state

    report = gradtx.check_transformation(weights := weighs(jnp.array([2.0, 3.0])))
    reasons = {law.name: why for law, why in report.skipped}
    assert "an array of shape (2,)" in reasons["one_trace_as_static_argument"]
    assert "does not print as its source" in reasons["prints_as_its_source"]
    assert "is local" in reasons["pickles"]
    assert weights == weighs(jnp.array([2.0, 3.0]))


def test_random_keys_are_a_state_like_any_other() -> None:
    class jitters(GradientTransformation):
        seed: int = static(default=0)

        def init(self, params) -> dict:
            return {"key": jax.random.key(self.seed)}

        def update(self, updates, state, params=None):
            key, mine = jax.random.split(state["key"])
            leaves, structure = jax.tree.flatten(updates)
            keys = jax.random.split(mine, len(leaves)) if leaves else []
            noisy = [u + jax.random.normal(k, u.shape, u.dtype) for u, k in zip(leaves, keys, strict=True)]
            return jax.tree.unflatten(structure, noisy), {"key": key}

    gradtx.check_transformation(jitters())


def test_optaxs_pairs_can_be_checked() -> None:
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    gradtx.check_transformation(optax.scale(-0.1), params)
    with pytest.raises(laws.LawError) as caught:
        gradtx.check_transformation(optax.trace(0.9), params)
    # It sums in bf16, for which its arithmetic promotes, and it broadcasts.
    assert [law.name for law, _ in caught.value.report.broken] == [
        "accumulators_are_wide",
        "other_dtypes_are_kept",
        "wrong_shapes_are_refused",
    ]


def test_what_is_no_transformation_is_refused() -> None:
    with pytest.raises(TypeError, match=r"tx must be a gradient transformation.*Call it: adam\(\.\.\.\)"):
        gradtx.check_transformation(gradtx.adam)
