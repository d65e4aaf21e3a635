"""Every optimizer where its users put it: TrainState, nnx.Optimizer, jax.checkpoint; and complex leaves.

Only shapes and dtypes are computed here, which is quick; what the numbers are is held to elsewhere.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from gradtx.contract.facts import facts
from tests.laws.test_laws import OPTIMIZERS, TRANSFORMATIONS, build, extra_of

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
PARAMS = {
    "kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32),
    "bias": jax.ShapeDtypeStruct((2,), jnp.float32),
}


def gradients(tx: Any, params: Any) -> Any:
    """The parameters themselves; of two examples where it takes single examples."""
    return jax.tree.map(lambda p: jnp.stack([p, p]), params) if tx.per_example else params


def types(tree: Any) -> Any:
    return jax.tree.map(jax.typeof, tree)


@every_optimizer
def test_takes_steps_in_a_linen_train_state(name: str) -> None:
    tx = build(TRANSFORMATIONS[name])
    if facts(tx).extras.needed:
        pytest.skip("TrainState hands no extra arguments on; nnx.Optimizer does")

    def train(params: Any) -> Any:
        state = TrainState.create(apply_fn=None, params=params, tx=tx)
        return state, state.apply_gradients(grads=gradients(tx, params))

    before, after = jax.eval_shape(train, PARAMS)
    assert types(after.params) == types(before.params)
    assert types(after.opt_state) == types(before.opt_state)


@every_optimizer
def test_takes_steps_in_an_nnx_optimizer(name: str) -> None:
    tx = build(TRANSFORMATIONS[name])

    def train() -> Any:
        model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        before = nnx.state(optimizer)
        params = nnx.state(model, nnx.Param)
        optimizer.update(model, gradients(tx, params), **extra_of(tx, params))
        return before, nnx.state(optimizer)

    before, after = nnx.eval_shape(train)
    assert types(nnx.to_pure_dict(after)) == types(nnx.to_pure_dict(before))


FORWARD_ONLY = {"lbfgs": "its line search is a loop of unknown length"}


@every_optimizer
def test_may_be_computed_again_in_a_backward_pass(name: str) -> None:
    """A learnt optimizer, or a meta-gradient, differentiates through steps that jax.checkpoint recomputes."""
    tx = build(TRANSFORMATIONS[name])

    def outcome(params: Any) -> jax.Array:
        @jax.checkpoint
        def step(params: Any) -> Any:
            return tx.update(gradients(tx, params), tx.init(params), params, **extra_of(tx, params))[0]

        return sum(jnp.sum(u) for u in jax.tree.leaves(step(params)))

    if name in FORWARD_ONLY:
        with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
            jax.eval_shape(jax.grad(outcome), PARAMS)
        return
    assert types(jax.eval_shape(jax.grad(outcome), PARAMS)) == types(PARAMS)


# By whom, and why.
REAL_ONLY = {
    "cocob": "its rewards are bounded by 0",
    "madgrad": "it takes cube roots of sums of squares",
    "prodigy": "its inner products are of real entries",
    "rprop": "it goes by signs",
    "scale_by_madgrad": "it takes cube roots of sums of squares",
    "scale_by_rprop": "it goes by signs",
    "sophia": "it bounds quotients from both sides",
    "adopt": "it bounds quotients from both sides",
}


@every_optimizer
def test_takes_complex_leaves_or_says_that_it_does_not(name: str) -> None:
    cls = TRANSFORMATIONS[name]
    tx = build(cls)
    params = {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.complex64)}

    def step(params: Any) -> Any:
        state = tx.init(params)
        return (state, *tx.update(gradients(tx, params), state, params, **extra_of(tx, params))[::-1])

    about = inspect.getdoc(cls)
    if name in REAL_ONLY:
        words = rf"{name}: the parameters at 'kernel' are complex64.*real numbers only.*split_real"
        grads = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), gradients(tx, params))
        with pytest.raises(ValueError, match=words):
            tx.init(params)
        with pytest.raises(ValueError, match=words.replace("parameters", "updates")):
            tx.update(grads, tx.init({"kernel": jnp.ones((3, 2))}), grads, **extra_of(tx, grads))
        assert "Real parameters only" in about, f"{name} does not say that it is for real parameters"
        return
    before, after, updates = jax.eval_shape(step, params)
    assert "Real parameters only" not in about
    assert types(updates) == types(params)
    assert types(after) == types(before)
