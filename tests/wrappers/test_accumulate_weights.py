"""The weight of a micro-batch is looked at where it arrives: refused if it is known, else left out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

TX = gradtx.accumulate(gradtx.trace(0.5), 2)
ONES = {"w": jnp.ones(2)}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), jnp.array(-0.5), np.float32("nan")])
def test_a_weight_that_is_known_is_refused(weight) -> None:
    with pytest.raises(ValueError, match="a micro-batch's weight is a finite number, at least 0"):
        TX.update(ONES, TX.init(ONES), weight=weight)


def _run(weights):
    def step(state, weight):
        updates, state = TX.update(ONES, state, weight=weight)
        return state, updates["w"][0]

    return jax.jit(lambda w: jax.lax.scan(step, TX.init(ONES), w))(jnp.array(weights))


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_a_micro_batch_of_a_traced_weight_that_means_nothing_is_left_out(wrong: float) -> None:
    state, updates = _run([1.0, wrong, 3.0, 1.0])
    np.testing.assert_array_equal(updates, [0.0, 0.0, 1.0, 0.0])  # the mean of ones
    assert (state.micro_step, state.gradient_step, state.weight) == (1, 1, 1.0)


def test_weights_that_sum_to_0_update_nothing() -> None:
    state, updates = _run([0.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(updates, [0.0, 0.0, 0.0, 1.0])
    assert (state.micro_step, state.gradient_step) == (0, 1)
    np.testing.assert_array_equal(state.inner.velocity["w"], 1.0)  # not 0.5 of it: there was one update
