"""Adagrad at the edge: entries that never had a gradient, and gradients whose squares vanish."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

GRADIENTS = jnp.asarray([0.0, 2.0, 1e-25, jnp.nan])  # the square of 1e-25 is 0 in float32


def _first_update(tx, gradients):
    return tx.update(gradients, tx.init(gradients))[0]


@pytest.mark.parametrize("inside", [True, False])
def test_without_epsilon_an_entry_without_a_gradient_stays(inside: bool) -> None:
    tx = gradtx.adagrad(1.0, 0.0, 0.0, eps_in_sqrt=inside)
    eager = _first_update(tx, GRADIENTS)
    np.testing.assert_array_equal(eager, [0.0, -1.0, 0.0, np.nan])
    # A Python zero is part of the program, so it works the same where the optimizer is an argument.
    np.testing.assert_array_equal(jax.jit(_first_update)(tx, GRADIENTS), eager)


def test_an_entry_that_gets_its_first_gradient_late_moves_then() -> None:
    tx = gradtx.adagrad(1.0, 0.0, 0.0)
    state = tx.init(jnp.zeros(1))
    seen = []
    for g in (0.0, 3.0, 4.0):
        updates, state = tx.update(jnp.full(1, g), state)
        seen.append(float(updates[0]))
    np.testing.assert_allclose(seen, [0.0, -1.0, -0.8], rtol=1e-6)


def test_at_the_defaults_no_select_is_compiled() -> None:
    tx = gradtx.adagrad(1.0)
    program = str(jax.make_jaxpr(lambda g, s: tx.update(g, s))(GRADIENTS, tx.init(GRADIENTS)))
    assert "select" not in program


def test_pytorchs_options_are_its_formula() -> None:
    tx = gradtx.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-10, eps_in_sqrt=False)
    gradients = jnp.asarray([0.0, 1e-10, 1.0])
    # g / (sqrt(g²) + 1e-10), where inside the root 1e-10 would still be 1e5 times the gradient
    np.testing.assert_allclose(_first_update(tx, gradients), [0.0, -0.5e-2, -1e-2], rtol=1e-6)


@pytest.mark.parametrize("field", ["initial_accumulator_value", "eps"])
def test_what_would_make_the_root_imaginary_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be in"):
        gradtx.adagrad(0.1, **{field: -0.1})
