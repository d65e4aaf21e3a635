"""Branches and loops: of lax where something is traced, of Python where nothing is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.contract.facts import facts
from gradtx.numerics.dispatch import cond, while_loop


def collatz(n):
    """How many steps it takes to 1, by both."""

    def step(carry):
        n, steps = carry
        return cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n), steps + 1

    return while_loop(lambda carry: carry[0] != 1, step, (n, jnp.zeros((), jnp.int32)))[1]


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "compiled"])
def test_they_choose_what_lax_does(run) -> None:
    assert [int(run(collatz)(jnp.asarray(n, jnp.int32))) for n in (1, 6, 7)] == [0, 8, 16]


def test_they_are_mapped_over() -> None:
    np.testing.assert_array_equal(jax.vmap(collatz)(jnp.asarray([1, 6, 7], jnp.int32)), [0, 8, 16])


def test_what_is_traced_may_enter_a_loop_by_the_back() -> None:
    """The carry is known, the step closes over what is not, and so does the condition."""

    def doubled(x):
        return while_loop(lambda n: n < 10.0, lambda n: n * x, jnp.ones(()))

    def bounded(x):
        return while_loop(lambda n: n < x, lambda n: n * 2, jnp.ones(()))

    np.testing.assert_array_equal(jax.jit(doubled)(2.0), 16.0)
    np.testing.assert_array_equal(jax.jit(bounded)(9.0), 16.0)
    np.testing.assert_array_equal(jax.jvp(doubled, (3.0,), (1.0,)), (27.0, 27.0))  # x³ has 3 x²


def compilations(call) -> int:
    """How many programs XLA compiles while `call` runs."""
    counted = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            counted.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(counted)


EVERY = {
    "norm": gradtx.normalize(),
    "lbfgs": gradtx.scale_by_lbfgs(2),
    "accumulate": gradtx.accumulate(gradtx.sgd(0.1), 2),
    "skip": gradtx.apply_if_finite(gradtx.adam(0.1), 3),
    "muon": gradtx.muon(0.1),
    "galore": gradtx.galore(0.1, rank=2),
    "backtracking": gradtx.chain(gradtx.sgd(1.0), gradtx.scale_by_backtracking_linesearch(5)),
    "zoom": gradtx.chain(gradtx.sgd(1.0), gradtx.scale_by_zoom_linesearch(5)),
}


@pytest.mark.parametrize("name", EVERY)
def test_eagerly_nothing_is_compiled_anew_at_each_step(name: str) -> None:
    """lax.cond, scan and while_loop are, where they are given functions of the call."""
    tx = EVERY[name]
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)}

    def loss(params):
        return jnp.sum(jnp.square(params["w"]))

    every = {"value_fn": loss, "value": loss(params), "grad": params}
    extra = {needed: every[needed] for needed in facts(tx).extras.needed}

    def step(state):
        return tx.update(params, state, params, **extra)[1]

    state = step(step(step(tx.init(params))))  # both branches, and all that is new to jax
    assert compilations(lambda: step(step(state))) == 0
