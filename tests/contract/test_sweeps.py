"""An array where one number belongs is refused by the name of the field, and mapped over it works."""

from __future__ import annotations

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import pytest

import gradtx
from gradtx.contract.sweeps import check_no_sweep
from tests.laws.test_laws import SCHEDULES, TRANSFORMATIONS, build


def _with_arrays():
    for name, cls in {**TRANSFORMATIONS, **SCHEDULES}.items():
        value = build(cls)
        for field in dataclasses.fields(value):
            if not isinstance(held := getattr(value, field.name), float):
                continue
            with contextlib.suppress(TypeError, ValueError):  # some shape the program, or are compared
                yield name, value.replace(**{field.name: jnp.array([held, held])}), field.name


@pytest.mark.parametrize(("name", "value", "field"), list(_with_arrays()))
def test_an_array_in_any_number_is_refused_by_its_field(name: str, value, field: str) -> None:
    for held in (
        value,
        gradtx.chain(gradtx.scale(1.0), gradtx.scale_by_learning_rate(value))
        if name in SCHEDULES
        else gradtx.chain(value),
    ):
        with pytest.raises(
            ValueError, match=rf"{name}\({field}=array of shape \(2,\)\): {field} is one number"
        ):
            check_no_sweep(held)


def test_under_vmap_there_is_no_array() -> None:
    def first(rate):
        tx = gradtx.sgd(rate)
        check_no_sweep(tx)
        return tx.update(jnp.ones(3), tx.init(jnp.ones(3)))[0]

    assert jax.vmap(first)(jnp.array([0.1, 0.2])).shape == (2, 3)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_without_arrays_nothing_is_refused(name: str) -> None:
    check_no_sweep(build(TRANSFORMATIONS[name]))


def test_init_and_update_refuse_it() -> None:
    params = {"w": jnp.ones((3, 2))}
    swept = gradtx.chain(gradtx.clip(1.0), gradtx.sgd(jnp.array([0.1, 0.01])))
    with pytest.raises(ValueError, match=r"sgd\(learning_rate=array of shape \(2,\)\): learning_rate is one"):
        swept.init(params)
    state = gradtx.chain(gradtx.clip(1.0), gradtx.sgd(0.1)).init(params)
    with pytest.raises(ValueError, match=r"sgd\(learning_rate=array of shape \(2,\)\)"):
        swept.update(params, state, params)
