"""A number's value never changes the structure of a state: with a term off and on, one state fits both."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from tests import whole
from tests.laws.test_laws import FEW, PARAMS, TRANSFORMATIONS, build, extra_of


def _cases():
    """Every exported class with a field whose zero switches a term off, and that field."""
    for name, cls in TRANSFORMATIONS.items():
        for field in dataclasses.fields(cls):
            if field.metadata.get("optional"):
                yield pytest.param(name, field.name, id=f"{name}-{field.name}")


@pytest.mark.parametrize(("name", "field"), list(_cases()))
def test_a_state_fits_with_the_term_on_and_off(name: str, field: str) -> None:
    tx, params = build(TRANSFORMATIONS[name]), PARAMS.get(name, FEW)
    if field == "dampening" and hasattr(tx, "momentum"):
        tx = tx.replace(momentum=0.9)
    on = tx.replace(**{field: 0.5})
    try:
        off = on.replace(**{field: 0.0})
    except ValueError:  # it must be above 0
        off = on.replace(**{field: 0.25})
    extra = extra_of(tx, params)

    def run(tx, state):
        return tx.update(params, state, params, **extra)[1]

    made = [jax.eval_shape(each.init, params) for each in (on, off)]
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
    for each in (on, off, gradtx.from_json(gradtx.to_json(off))):
        for state in made:
            assert jax.eval_shape(lambda s, tx=each: run(tx, s), state) == made[0]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, np.float32(0), np.int8(0)], ids=repr)
def test_every_zero_of_python_and_numpy_is_off(zero) -> None:
    off = gradtx.adamw(1e-3, weight_decay=zero)
    assert off == gradtx.adamw(1e-3, weight_decay=0.0)
    state = gradtx.adamw(1e-3).init(FEW)
    whole.update(off, FEW, state)  # without the parameters


def _program(tx) -> str:
    return str(jax.make_jaxpr(tx.update)(FEW, tx.init(FEW)))


@pytest.mark.parametrize(
    ("off", "without"),
    [
        (gradtx.adamw(1e-3, weight_decay=0.0), gradtx.adam(1e-3)),
        (gradtx.novograd(1e-3), gradtx.chain(gradtx.scale_by_novograd(eps=1e-6), gradtx.scale(-1e-3))),
        (gradtx.lion(1e-3, weight_decay=0.0), gradtx.chain(gradtx.scale_by_lion(), gradtx.scale(-1e-3))),
    ],
    ids=lambda tx: type(tx).__name__,
)
def test_what_is_off_is_not_in_the_program(off, without) -> None:
    assert _program(off) == _program(without)


def test_a_run_goes_on_where_the_decay_is_switched_off_and_on() -> None:
    grads = {"w": jnp.array([0.5, -1.0])}
    params = {"w": jnp.array([1.0, 2.0])}
    on = gradtx.adamw(0.1, weight_decay=0.1)
    off, plain = on.replace(weight_decay=0.0), gradtx.adam(0.1)
    state, same = on.init(params), plain.init(params)
    for tx, decay in ((on, 0.1), (off, 0.0), (on, 0.1)):
        step, state = whole.update(tx, grads, state, params)
        expected, same = whole.update(plain, grads, same)
        want = expected["w"] - 0.1 * decay * params["w"]
        np.testing.assert_allclose(step["w"], want, rtol=4e-7)  # two roundings, in another order


def test_dampening_counts_from_the_start_with_0_too() -> None:
    """Switched on after a step it damps the next gradient, as PyTorch's does."""
    grads = {"w": jnp.array([1.0, 2.0])}
    off = gradtx.sgd(1.0, momentum=0.5, dampening=0.0)
    on = off.replace(dampening=0.25)
    _, state = whole.update(off, grads, off.init(grads))
    step, _ = whole.update(on, grads, state)
    np.testing.assert_array_equal(step["w"], -(0.5 + 0.75) * grads["w"])
    first, _ = whole.update(on, grads, off.init(grads))
    np.testing.assert_array_equal(first["w"], -grads["w"])
