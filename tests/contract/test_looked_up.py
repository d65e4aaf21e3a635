"""Numbers that are known only while training runs: the same eagerly and compiled, also out of their range."""

from __future__ import annotations

import dataclasses
import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.contract.hyperparameters import Hyperparameter
from gradtx.interop import optax
from tests.laws.test_laws import FEW, PARAMS, TRANSFORMATIONS, build, extra_of


def _edges(tx) -> dict[str, gradtx.Schedule]:
    """A schedule at the end of its range that is not in it, for every number that has one."""
    hints = typing.get_type_hints(type(tx), include_extras=True)
    found = {}
    for field in dataclasses.fields(tx):
        kinds = [*getattr(hints[field.name], "__metadata__", ())]
        kind = next((k for k in kinds if isinstance(k, Hyperparameter)), None)
        if kind is not None and isinstance(getattr(tx, field.name), float):
            if kind.open_high:
                found[field.name] = gradtx.constant_schedule(kind.high)
            elif kind.open_low:
                found[field.name] = gradtx.constant_schedule(kind.low)
    return found


AT_AN_EDGE = [name for name, cls in TRANSFORMATIONS.items() if _edges(build(cls))]


@pytest.mark.parametrize("name", AT_AN_EDGE)
def test_a_schedule_that_comes_to_the_edge_of_a_range_stops_no_run(name: str) -> None:
    tx = build(TRANSFORMATIONS[name])
    tx = tx.replace(**_edges(tx))
    params = PARAMS.get(name, FEW)
    grads = jax.tree.map(lambda p: jnp.stack([p, p]), params) if tx.per_example else params
    state = tx.init(params)
    updates, after = tx.update(grads, state, params, **extra_of(tx, params))
    traced = jax.eval_shape(lambda g, s, p: tx.update(g, s, p, **extra_of(tx, p)), grads, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes((updates, after), traced)


def test_what_a_user_writes_is_held_to_the_range_as_an_array_too() -> None:
    with pytest.raises(ValueError, match=r"b1 must be in \[0, 1\)"):
        gradtx.adam(0.1, b1=jnp.asarray(1.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.inject_hyperparams(optax.clip_by_global_norm)(
            max_norm=optax.linear_schedule(1.0, 0.0, 2)
        ),
        lambda: gradtx.clip(gradtx.linear_schedule(1.0, 0.0, 2)),
        lambda: gradtx.adam(0.1, b1=gradtx.linear_schedule(0.5, 1.0, 2)),
        lambda: gradtx.trace(gradtx.linear_schedule(0.5, 1.0, 2)),
    ],
)
def test_a_run_goes_on_eagerly_as_it_does_compiled(make) -> None:
    tx, params = make(), {"w": jnp.asarray([1.0, -2.0, 3.0])}
    state = compiled_state = tx.init(params)
    compiled = jax.jit(tx.update)
    for _ in range(4):
        updates, state = tx.update(params, state, params)
        expected, compiled_state = compiled(params, compiled_state, params)
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)


@pytest.mark.parametrize("param", [jnp.array(0.5), jnp.full(3, 0.5)], ids=["number", "array"])
def test_a_weakly_typed_parameter_stays_so(param: jax.Array) -> None:
    """Else the second step would be another program."""
    assert param.weak_type
    tx = gradtx.sgd(0.1)

    @chex.assert_max_traces(1)
    def step(params, state):
        updates, state = tx.update(params, state, params)
        return gradtx.apply_updates(params, updates), state

    step = jax.jit(step)
    params, state = {"w": param}, tx.init({"w": param})
    for _ in range(3):
        params, state = step(params, state)
    assert params["w"].weak_type
    np.testing.assert_allclose(params["w"], np.full(param.shape, 0.5 * 0.9**3), rtol=1e-6)
