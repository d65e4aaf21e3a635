"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import inspect

import jax
import jax.numpy as jnp
import pytest

import gradtx

# What users meet first.
FIRST = {
    "accumulate", "add", "add_decoupled_weight_decay", "average_params", "chain", "clip_by_global_norm",
    "ema", "freeze", "lookahead", "make_step", "masked", "named_chain", "packed", "partition", "per_layer",
    "ratio", "scale_by_learning_rate", "schedule_free", "trace", "tunable",
}  # fmt: skip


def examples_of(name: str) -> list[doctest.DocTest]:
    thing = getattr(gradtx, name)
    text = inspect.getdoc(thing) or ""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)) or ">>> " not in text:
        return []
    names = {"gradtx": gradtx, "jax": jax, "jnp": jnp}
    return [doctest.DocTestParser().get_doctest(text, names, name, None, None)]


WITH_EXAMPLES = [name for name in gradtx.__all__ if examples_of(name)]


def test_what_users_meet_first_has_an_example() -> None:
    assert set(WITH_EXAMPLES) >= FIRST


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_an_example_prints_what_it_says(name: str) -> None:
    said: list[str] = []
    for test in examples_of(name):
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not said, "".join(said)
