"""Text from anywhere: from_json makes a value of it or says why not, and nothing larger than the text."""

from __future__ import annotations

import copy
import json
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradtx
from gradtx.values.value import Value
from tests.laws.test_laws import HOLD_FUNCTIONS, SCHEDULES, TRANSFORMATIONS, build

ARRAY = '{"gradtx": 1, "value": {"type": "ema", "decay": {"array": %s, "dtype": "%s"}}}'
EMA = '{"gradtx": 1, "value": {"type": "ema", "decay": %s}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ARRAY % ("0.5", "S1000000000"), "not a dtype of numbers"),
        (ARRAY % ("0.5", "(100000000,)f8"), "not a dtype of numbers"),
        (ARRAY % ("0.5", "O"), "not a dtype of numbers"),
        (ARRAY % ("0.5", "U9"), "not a dtype of numbers"),
        (ARRAY % ("0.5", "datetime64"), "not a dtype of numbers"),
        (ARRAY % ("[1, [2]]", "float32"), "not an array of float32"),
        (ARRAY % ("1" + "0" * 30, "int8"), "not an array of int8"),
        (ARRAY % ('"x"', "float32"), "not an array of float32"),
        (EMA % ("1" + "0" * 400), "ema.*decay must be finite"),
        (EMA % ("1" + "0" * 5000), "not JSON"),
        (EMA % ("[" * 100_000 + "]" * 100_000), "nested too deeply"),
        (EMA % ('{"tuple": [' * 120 + "]}" * 120), "nested too deeply"),
        (EMA % '{"dict": [1]}', "neither a value"),
        (EMA % '{"tuple": 5}', "neither a value"),
        (EMA % '{"dict": [[[], 1]]}', "of another kind"),
        (EMA % '{"dict": [[1, 1], [1, 2]]}', "a key is there twice"),
        (EMA % '0.9, "decay": 0.8', "the key 'decay' is there twice"),
        ('{"gradtx": 1, "value": 1}', '"value" holds 1'),
        ('{"gradtx": true, "value": 1}', "version True"),
        ('{"gradtx": 1, "value": {"type": []}}', r"no \[\]"),
        (b"\xff\xfe\x00", "not JSON"),
        (" " * 10_000_001, "at most 10000000"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_hostile_text_is_refused_and_makes_nothing_large(text: str, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, TypeError), match=message):
            gradtx.from_json(text)
        assert tracemalloc.get_traced_memory()[1] < 1e6 + 100 * min(len(text), 1_000_000)
    finally:
        tracemalloc.stop()


def test_arrays_come_back() -> None:
    for dtype in ("float32", "bfloat16", "int32"):
        tx = gradtx.packed(gradtx.sgd(0.1), gradtx.packing({"w": jnp.ones(3, "float32")}))
        assert gradtx.from_json(gradtx.to_json(tx)) == tx
        held = gradtx.from_json(ARRAY % ("[0, 0]", dtype)).decay
        assert np.asarray(held).dtype == jnp.dtype(dtype)


WRITTEN = [
    gradtx.to_json(build(cls))
    for name, cls in (TRANSFORMATIONS | SCHEDULES).items()
    if name not in HOLD_FUNCTIONS
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["type", "float32", "S1000000000", "(a+)+$", "adam", "kernel$"]),
    st.just([]),
    st.just({}),
    st.builds(lambda n: {"array": [n], "dtype": "S100000000"}, st.integers()),
    st.builds(lambda n: {"tuple": [n, n]}, st.integers()),
)


def _places(x: object, path: tuple = ()) -> list[tuple]:
    inside = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    return [path, *(place for key, held in inside for place in _places(held, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The JSON of an optimizer with one thing or three in it put at another place, changed or taken out."""
    data = json.loads(draw(st.sampled_from(WRITTEN)))
    for _ in range(draw(st.integers(1, 3))):
        if not (places := _places(data)[1:]):
            break
        *way, last = draw(st.sampled_from(places))
        holder = data
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["change", "remove", "rename", "nest"]))
        if what == "change":
            holder[last] = draw(JUNK)
        elif what == "nest":
            holder[last] = copy.deepcopy(data)
        elif what == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["type", "decay", "x", "tuple", "array", "dtype"]))] = holder.pop(
                last
            )
    text = json.dumps(data)
    if draw(st.booleans()):
        return text
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(["", "[", "}", '"', "9" * 30, "e999", "\x00"])) + text[at + 1 :]


@settings(max_examples=600, derandomize=True, deadline=None, database=None)
@given(st.one_of(mutated(), st.text(max_size=30)))
def test_any_text_is_a_value_or_an_error_that_was_promised(text: str) -> None:
    try:
        assert isinstance(gradtx.from_json(text), Value)
    except (TypeError, ValueError):
        return
