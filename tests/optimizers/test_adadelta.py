"""Adadelta: its units, its first step, and the defaults."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx


def _run(tx, gradients, params=None):
    state, seen = tx.init(gradients[0]), []
    for g in gradients:
        updates, state = tx.update(g, state, params)
        seen.append(updates)
    return np.stack(seen)


def test_a_learning_rate_of_none_is_one() -> None:
    gradients = [jnp.asarray([1.0, -2.0]), jnp.asarray([0.5, 3.0])]
    np.testing.assert_array_equal(_run(gradtx.adadelta(), gradients), _run(gradtx.adadelta(1.0), gradients))


def test_the_first_step_has_the_size_that_the_docs_say() -> None:
    first = _run(gradtx.adadelta(rho=0.75, eps=1e-6), [jnp.asarray([50.0, -3000.0])])
    np.testing.assert_allclose(first, [[-2e-3, 2e-3]], rtol=1e-6)  # sqrt(1e-6 / 0.25)


def test_the_steps_do_not_depend_on_the_size_of_the_gradient() -> None:
    """The paper's section 3.2: they have the units of the parameters."""
    gradients = [jnp.asarray([float(np.sin(3 * t)) + 0.5]) for t in range(30)]
    small, large = (_run(gradtx.adadelta(), [c * g for g in gradients]) for c in (1e3, 1e6))
    np.testing.assert_allclose(small, large, rtol=1e-5)  # ε is 1e-12 of the smaller squares


def test_the_window_of_past_steps_is_what_rmsprop_lacks() -> None:
    """Adadelta as the texts print it that leave out the second average is RMSprop."""
    gradients = [jnp.asarray([1.0, -2.0]) * (1 + t) for t in range(5)]
    first_half = gradtx.divide_by_root(gradtx.chain(gradtx.square(), gradtx.ema(0.9)), 1e-8)
    printed = gradtx.chain(first_half, gradtx.scale_by_learning_rate(1e-3))
    np.testing.assert_array_equal(_run(printed, gradients), _run(gradtx.rmsprop(1e-3), gradients))
    assert np.all(_run(printed, gradients) != _run(gradtx.adadelta(1e-3, eps=1e-8), gradients))


@pytest.mark.parametrize("field", ["eps", "rho"])
def test_without_epsilon_it_would_never_move_and_without_a_window_forget_all(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be in \(0"):
        gradtx.adadelta(**{field: 0.0})


def test_any_gradient_that_float32_can_square_has_a_finite_step() -> None:
    gradients = jnp.asarray([0.0, 1e-37, 1e-20, 1e18])
    first = _run(gradtx.adadelta(1.0), [gradients])
    # sqrt(ε) g / sqrt(0.1 g² + ε): g itself where g² is far below ε
    np.testing.assert_allclose(first, [[0.0, -1e-37, -1e-20, -np.sqrt(1e-5)]], rtol=1e-6)


def test_a_penalty_needs_the_parameters() -> None:
    tx = gradtx.adadelta(weight_decay=0.1)
    with pytest.raises(ValueError, match="needs the parameters"):
        _run(tx, [jnp.ones(2)])
    masked = gradtx.adadelta(weight_decay=0.1, weight_decay_mask={"a": True, "b": False})
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    zeros = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    updates, _ = masked.update(zeros, masked.init(params), params)
    assert np.all(updates["a"] < 0)
    np.testing.assert_array_equal(updates["b"], 0)
