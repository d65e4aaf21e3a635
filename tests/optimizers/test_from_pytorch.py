"""docs/from-pytorch.md: what it says takes the steps of one of PyTorch's optimizers does, to float64.

`tests/recorded/record_optimizers.py` recorded PyTorch's.
"""

from __future__ import annotations

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

ROOT = pathlib.Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| `(\w+\(lr.*?\))` \| `([^`]+)` \|$", (ROOT / "docs/from-pytorch.md").read_text(), re.MULTILINE
)
RECORDED = np.load(ROOT / "tests" / "recorded" / "optimizers.npz", allow_pickle=False)


def test_every_row_was_recorded() -> None:
    assert {call for call, _ in ROWS} == set(RECORDED.files) - {"torch", "start", "gradients"}


@pytest.mark.parametrize(("theirs", "ours"), ROWS, ids=[theirs for theirs, _ in ROWS])
def test_it_takes_the_same_steps(theirs: str, ours: str) -> None:
    with jax.enable_x64(True):
        tx = eval(ours, vars(gradtx) | {"lr": 0.01, "w": 0.1})
        params, gradients = (jnp.asarray(RECORDED[name]) for name in ("start", "gradients"))

        def step(carry, gradient):
            params, state = carry
            updates, state = tx.update(gradient, state, params)
            params = gradtx.apply_updates(params, updates)
            return (params, state), params

        _, path = jax.lax.scan(step, (params, tx.init(params)), gradients)
    # ε is 1e-8 beside gradients of 1.
    np.testing.assert_allclose(path, RECORDED[theirs], rtol=0, atol=1e-8)
