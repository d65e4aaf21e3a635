"""Whatever a field is given, it works for two updates, or the refusal names the class and the field."""

from __future__ import annotations

import dataclasses
import decimal
import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradtx
from gradtx.rules.masks import Rule
from gradtx.values.kinds import Function, Integer
from gradtx.values.value import Value, accepted
from tests.laws.test_laws import FEW, PARAMS, _classes, build, extra_of


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _of_any(*args, **kwargs):
    return 1


HOSTILE = {
    "a text": "x",
    "an empty text": "",
    "a surrogate": "\ud800",
    "bytes": b"x",
    "None": None,
    "...": ...,
    "a list": [1, 2],
    "an empty list": [],
    "a tuple": (1, 2),
    "halves": (0.5, 0.5),
    "a list of halves": [0.5, 0.5],
    "names": ("a", "b"),
    "a set": {1},
    "a dict": {"a": 1},
    "an empty dict": {},
    "a range": range(3),
    "10**400": 10**400,
    "-10**400": -(10**400),
    "10**5000": 10**5000,
    "2**31": 2**31,
    "2**63": 2**63,
    "1e300": 1e300,
    "1e39": 1e39,
    "1e-320": 1e-320,
    "nan": float("nan"),
    "inf": float("inf"),
    "-1": -1,
    "0": 0,
    "1/2": 0.5,
    "2": 2,
    "1j": 1j,
    "int64": np.int64(2),
    "int8": np.int8(2),
    "uint64": np.uint64(2),
    "bool_": np.bool_(True),
    "True": True,
    "float16": np.float16(0.5),
    "longdouble": np.longdouble(0.5),
    "a decimal": decimal.Decimal("0.5"),
    "a fraction": fractions.Fraction(1, 3),
    "a dtype": jnp.float32,
    "array of 3": jnp.arange(3.0),
    "array of whole numbers": np.arange(2),
    "a matrix": np.ones((2, 2)),
    "array of objects": np.array([object()]),
    "array of texts": np.array(["a"]),
    "array of booleans": np.ones(2, bool),
    "0-d": jnp.array(2),
    "0-d boolean": jnp.array(True),
    "0-d complex": jnp.array(1j),
    "0-d nan": jnp.array(jnp.nan),
    "complex zero": jnp.array(0j),
    "array of 1e300": np.full(2, 1e300),
    "a key": jax.random.key(0),
    "a shape": jax.ShapeDtypeStruct((2,), jnp.float32),
    "a function of nothing": lambda: None,
    "a function": _of_any,
    "a class": int,
    "a class of gradtx": gradtx.adam,
    "an optimizer": gradtx.sgd(1e-3),
    "a schedule": gradtx.constant_schedule(0.1),
    "an object": object(),
    "unprintable": _Unprintable(),
}
NAMED_BY = {
    ("tunable", "inner"): "hyperparameter",
    ("tunable", "names"): "hyperparameter",
    ("packing", "labels"): "label",
    ("conditionally_mask", "should_transform_fn"): "the condition",
}
"""What a message says instead of the field's name."""
LIKE_ANOTHER = ("-1", "1e-320", "a schedule", "an optimizer", "2")
"""What is built but not run, because something else that is as good is: a half, int64's 2, a text."""
MADE = {
    "by_path": gradtx.by_path((".*", True)),
    "Accumulator": gradtx.Accumulator(lambda x: x, lambda m, x, i: m, lambda m: m),
    "measure_with_ema": gradtx.measure_with_ema(gradtx.tree.global_norm, 0.9),
    "packing": gradtx.packing(FEW),
}
CLASSES = _classes(Value)


def one_of(name: str) -> Value:
    return MADE[name] if name in MADE else build(CLASSES[name])


RULES = ("the mask", "the pattern", "matrix_axes")
"""What a message says of a rule on the parameters, which only they show to be wrong; it shows the rule."""


def _check_named(error: Exception, value: Value, field: str) -> None:
    words, name = str(error), type(value).__name__
    kind = dict(accepted(type(value))).get(field)
    plain = [field.rstrip("s"), NAMED_BY.get((name, field), field)]
    plain += RULES if isinstance(getattr(kind, "inner", kind), Rule) else ()
    assert name in words, words
    assert any(x in words for x in plain), words


def takes_a_function(value: Value, field: str) -> bool:
    kind = dict(accepted(type(value))).get(field)
    return isinstance(getattr(kind, "inner", kind), Function)


def changed(value: Value, field: str, to: object) -> Value | None:
    """The value with the field changed; None if that is refused, with the class and the field."""
    held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    try:
        return value._rebuild(held | {field: to})
    except (TypeError, ValueError) as error:
        _check_named(error, value, field)
        return None


def run(value: Value) -> None:
    """Two updates, where it is a transformation, or is a number of one."""
    if isinstance(value, gradtx.Schedule):
        value = gradtx.scale_by_learning_rate(value)
    if not isinstance(value, gradtx.GradientTransformation):
        return
    params = PARAMS.get(type(value).__name__, FEW)
    state, extra = value.init(params), extra_of(value, params)
    grads = jax.tree.map(lambda p: jnp.stack([p, p]), params) if value.per_example else params
    for _ in range(2):
        updates, state = value.update(grads, state, params, **extra)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert [x.shape for x in jax.tree.leaves(updates)] == [x.shape for x in jax.tree.leaves(params)]


@pytest.mark.parametrize("name", CLASSES)
def test_a_field_works_or_is_refused_by_name(name: str) -> None:
    value, wrong = one_of(name), []
    seen = [value]  # which the laws are tried on
    for field in dataclasses.fields(value):
        for what, to in HOSTILE.items():
            try:
                new = changed(value, field.name, to)
                # What is called with a function that means nothing says so in its own words.
                if new is None or takes_a_function(value, field.name) or what in LIKE_ANOTHER:
                    continue
                if new not in seen:
                    seen.append(new)
                    try:
                        run(new)
                    except (TypeError, ValueError) as error:
                        _check_named(error, value, field.name)
            except Exception as error:
                wrong.append(f"{field.name}={what}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


NUMBERS = st.one_of(st.integers(), st.floats(), st.floats(width=32), st.integers().map(lambda n: n * 10**30))
THINGS = st.recursive(
    st.one_of(
        NUMBERS, st.text(max_size=3), st.binary(max_size=2), st.booleans(), st.none(), st.complex_numbers()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=4,
)
FIELDS = [(name, field.name) for name in CLASSES for field in dataclasses.fields(CLASSES[name])]


@settings(max_examples=1000, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(FIELDS), st.one_of(NUMBERS, THINGS))
def test_whatever_is_drawn_is_taken_or_refused_by_name(place: tuple[str, str], to: object) -> None:
    changed(one_of(place[0]), place[1], to)


WHOLE = [
    (name, field)
    for name in CLASSES
    for field, kind in accepted(CLASSES[name])
    if isinstance(getattr(kind, "inner", kind), Integer)
]


@pytest.mark.parametrize(("name", "field"), WHOLE)
def test_whole_numbers_of_numpy_are_whole_numbers_and_booleans_are_none(name: str, field: str) -> None:
    value = one_of(name)
    held = getattr(value, field)
    number = 3 if held is None else held
    for whole in (np.int64(number), np.int16(number), np.array(number), jnp.array(number)):
        assert value.replace(**{field: whole}) == value.replace(**{field: number})
    for flag in (True, np.True_, jnp.array(True), 1.0):
        with pytest.raises(TypeError, match=rf"{field}=.*must be a whole number"):
            value.replace(**{field: flag})


def test_what_is_infinite_in_float32_is_finite_in_float64() -> None:
    with pytest.raises(
        ValueError, match=r"clip_by_global_norm\(max_norm=1e\+300\): .*in float32 it is not.*x64"
    ):
        gradtx.clip_by_global_norm(1e300)
    with jax.enable_x64(True):
        assert gradtx.clip_by_global_norm(1e300).max_norm == 1e300


def test_a_function_is_one_of_as_many_arguments_as_it_is_called_with() -> None:
    for wrong, words in (
        ("x", "not a str"),
        (gradtx.adam, "not the class adam"),
        (lambda: 0, r"1 argument, and takes \(\)"),
    ):
        with pytest.raises(TypeError, match=rf"run_when\(condition=.*{words}"):
            gradtx.run_when(gradtx.sgd(0.1), wrong)
    with pytest.raises(TypeError, match=r"stateless\(f='x'\): f must be a function, not a str"):
        gradtx.stateless("x")
    gradtx.run_when(gradtx.sgd(0.1), lambda step, *, loss: loss > 0, forward_extra_args=True)


def test_a_seed_is_whole_numbers() -> None:
    for wrong in ([0.5, 0.5], True, 2**63, (1, 2, 3), (-1, 0), "x"):
        with pytest.raises((TypeError, ValueError), match=r"add_noise\(key=.*key (must be|has)"):
            gradtx.add_noise(0.1, 0.5, wrong)
    assert gradtx.add_noise(0.1, 0.5, np.int64(2)) == gradtx.add_noise(0.1, 0.5, 2)
    assert gradtx.add_noise(0.1, 0.5, np.array([1, 2], np.uint32)).key == (1, 2)


def test_a_composite_says_its_own_name_where_a_part_refuses() -> None:
    with pytest.raises(ValueError, match=r"^muon\(ns_steps=-1\)"):
        gradtx.muon(0.1, ns_steps=-1)
    with pytest.raises(ValueError, match=r"^adopt\(clip_value_fn=-1"):
        gradtx.adopt(0.1, clip_value_fn=-1)
