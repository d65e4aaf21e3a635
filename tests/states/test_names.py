"""The names of places in a state: one vocabulary, which stays where the state does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import gradtx
from gradtx.states.names import Place, places
from tests.laws.test_laws import OPTIMIZERS, TRANSFORMATIONS, build
from tests.laws.test_laws import PARAMS as OTHERS

PARAMS = {
    "dense": {
        "kernel": jax.ShapeDtypeStruct((3, 4), jnp.float32),
        "bias": jax.ShapeDtypeStruct((4,), jnp.float32),
    },
    "scale": jax.ShapeDtypeStruct((), jnp.float32),
}


def names(tx, params=PARAMS) -> list[str]:
    return [str(place) for place in jax.tree.leaves(places(tx, params))]


def of_params(tx) -> set[Place]:
    return {place for place in jax.tree.leaves(places(tx, PARAMS)) if place.leaf}


def test_a_place_is_a_transformation_a_field_and_a_parameter() -> None:
    found = places(gradtx.adam(1e-3), PARAMS)
    assert jax.tree.structure(found) == jax.tree.structure(gradtx.adam(1e-3).init(PARAMS))
    first = Place("numerator.ema", "mean", "dense/kernel")
    assert str(first) == "numerator.ema.mean of dense/kernel"
    assert first in jax.tree.leaves(found)
    assert "denominator.bias_correction.decays.step" in names(gradtx.adam(1e-3))


def test_those_of_one_class_are_counted_and_labels_stand_in_front() -> None:
    two = gradtx.chain(gradtx.ema(0.9), gradtx.ema(0.8))
    assert names(two, {"w": jnp.ones(1)}) == ["ema[0].mean of w", "ema[1].mean of w"]
    groups = {"a": gradtx.trace(0.9), "b": gradtx.trace(0.8)}
    tx = gradtx.partition(groups, gradtx.by_path(("kernel", "a"), (".*", "b")))
    assert set(names(tx)) == {
        "a.trace.velocity of dense/kernel",
        "b.trace.velocity of dense/bias",
        "b.trace.velocity of scale",
    }


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_place_has_a_name_of_its_own(name: str) -> None:
    found = names(build(TRANSFORMATIONS[name]), OTHERS.get(name, PARAMS))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names_stay_where_the_state_does(name: str) -> None:
    """Under a schedule, `tunable`, a mask, an accumulator, and in a chain with a clip."""
    tx = build(TRANSFORMATIONS[name])
    kept = of_params(tx)
    scheduled = tx.replace(learning_rate=gradtx.constant_schedule(0.1))
    assert of_params(scheduled) == kept
    for around in (
        gradtx.tunable(tx),
        gradtx.masked(tx, "."),
        gradtx.chain(gradtx.clip_by_global_norm(1.0), tx) if not tx.per_example else tx,
    ):
        assert of_params(around) == kept
    if not tx.per_example:
        assert of_params(gradtx.accumulate(tx, 2)) >= kept
