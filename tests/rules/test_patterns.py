"""Patterns on names: what re finds, in a time that is bounded."""

from __future__ import annotations

import re
import time

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradtx
from gradtx.rules import patterns
from gradtx.rules.patterns import check_pattern, found_in

SLOW = [
    "(a+)+$",
    "^(a*)*$",
    "(a|aa)+$",
    "^(a|a?)+$",
    "(.*)*x",
    "(.*a){12}$",
    "a*a*a*a*a*a*a*b",
    "((a+)|b)+$",
    "(?=(a+)+b)a",
    "(?i)(A+)+$",
    r"^(\w+\s?)*$",
    "(a+?)+?$",
    "(?:a+){30}b",
    "(?<!x)(a+)+$",
    "([a-z]+)+/kernel$",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_python_tries_for_ever_returns(pattern: str) -> None:
    begun = time.perf_counter()
    assert not found_in(pattern, "a" * 300 + "!")
    assert time.perf_counter() - begun < 5  # Python's engine would take longer than the universe
    mask = gradtx.from_json(gradtx.to_json(gradtx.add_decoupled_weight_decay(0.1, mask=pattern)))
    with pytest.raises(ValueError, match="matches no leaf"):
        mask.update({"a" * 300 + "!": jnp.ones(2)}, mask.init({}), {"a" * 300 + "!": jnp.ones(2)})


@pytest.mark.parametrize("pattern", [r"(a+)+\1", "(a+)++$", "(?>(a|aa)+)+$", "((a{1,200}){1,200}b)+"])
def test_what_cannot_be_bounded_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"masked\(mask=.*a regular expression.*(for ever|too often)"):
        gradtx.masked(gradtx.sgd(0.1), pattern)


def test_ordinary_patterns_are_left_to_python() -> None:
    for pattern in (
        "kernel$",
        ".*/kernel",
        "^(encoder|decoder)/.*bias$",
        r"layer_\d+/.*(kernel|scale)",
        r"(\w)\1",
    ):
        assert patterns._program(pattern) is None


ATOMS = st.sampled_from(
    ["a", "b", "/", ".", r"\w", r"\d", "[ab]", "[^a]", "[a-c1]", r"\b", "^", "$", "A", r"\B", "_"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "+?", "{2}", "{1,3}", "{2,}"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        inner.map(lambda p: f"(?={p})"),
        inner.map(lambda p: f"(?!{p})"),
        inner.map(lambda p: f"(?i:{p})"),
        st.sampled_from(["a", "[ab]", "b/"]).map(lambda p: f"(?<={p})"),
        st.sampled_from(["a", "[ab]", "b/"]).map(lambda p: f"(?<!{p})"),
    ),
    max_leaves=6,
)


@settings(max_examples=1500, derandomize=True, deadline=None, database=None)
@given(PATTERNS, st.text(alphabet="abA/1_\n", max_size=8))
def test_it_finds_what_re_finds(pattern: str, name: str) -> None:
    try:
        expected = re.search(pattern, name) is not None
    except re.error:
        return
    tree = patterns._parser.parse(pattern)
    made = patterns._Compiler(tree.state.flags)
    start, tried = made.add(tree, made.put("found")), set()
    found = any(patterns._runs(made.instructions, start, name, at, tried) for at in range(len(name) + 1))
    assert found == expected
    check_pattern(pattern)
