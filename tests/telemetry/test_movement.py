"""The share of parameters that training has moved."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import gradtx

BEFORE = {"w": jnp.zeros((2, 3)), "b": jnp.ones(4), "none": None, "empty": jnp.zeros((0, 2))}


def moved(**changes):
    return BEFORE | changes


def test_it_counts_entries_over_all_leaves() -> None:
    after = moved(w=jnp.array([[2e-5, -2e-5, 5e-6], [0.0, 1.0, 0.0]]), b=jnp.array([1.0, 1.0, 1.0, 1.1]))
    assert float(gradtx.share_moved(BEFORE, after)) == pytest.approx(4 / 10)
    assert float(gradtx.share_moved(BEFORE, after, threshold=0.0)) == pytest.approx(5 / 10)
    assert float(gradtx.share_moved(BEFORE, after, threshold=0.5)) == pytest.approx(1 / 10)
    assert float(gradtx.share_moved(BEFORE, BEFORE, threshold=0.0)) == 0.0
    assert float(jax.jit(gradtx.share_moved)(BEFORE, after)) == pytest.approx(4 / 10)


def test_the_threshold_itself_is_not_passed() -> None:
    assert float(gradtx.share_moved(jnp.zeros(2), jnp.array([0.25, 0.26]), 0.25)) == 0.5


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_compared_in_float32(dtype) -> None:
    """A count of 300 is not a number in bfloat16."""
    before, after = jnp.ones(301, dtype), jnp.full(301, 1.0078125, dtype).at[0].set(1)
    assert float(gradtx.share_moved(before, after, 7e-3)) == pytest.approx(300 / 301)
    assert float(gradtx.share_moved(before, jnp.full(301, 1.0078125), 7e-3)) == 1.0  # in another dtype


def test_complex_parameters_move_by_their_distance() -> None:
    assert (
        float(gradtx.share_moved(jnp.zeros(1, jnp.complex64), jnp.array([3 + 4j], jnp.complex64), 4.9)) == 1.0
    )


def test_of_nothing_nothing_moves() -> None:
    assert float(gradtx.share_moved({}, {})) == 0.0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at 'w' has shape \(2, 3\) before and \(2,\) after"):
        gradtx.share_moved(BEFORE, moved(w=jnp.zeros(2)))
    with pytest.raises(ValueError, match=r"share_moved\(threshold=-1.0\): threshold must be at least 0"):
        gradtx.share_moved(BEFORE, BEFORE, -1.0)
