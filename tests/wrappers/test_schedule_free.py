"""Schedule-free learning: the average to evaluate, found in any state, and what float32 makes of it."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.wrappers.schedule_free import ScheduleFreeState
from tests import whole
from tests.optimizers.test_exact import _gradients, _start
from tests.reference.schedule_free import both

SETTINGS = {
    "sgd": (gradtx.schedule_free_sgd(0.5, 20, 0.95, 0.1, 1.0),
            {"learning_rate": 0.5, "b1": 0.95, "decay": 0.1, "power": 1.0, "warmup": 20}),
    "adamw": (gradtx.schedule_free_adamw(0.01, 30, 0.98, 0.95, 1e-6, 0.1),
              {"learning_rate": 0.01, "b1": 0.98, "b2": 0.95, "eps": 1e-6, "decay": 0.1, "warmup": 30}),
}  # fmt: skip
PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([0.5, 0.25])}
SGD = gradtx.schedule_free(gradtx.sgd(0.1), 0.1)


def grads(seed: int, params=PARAMS):
    rng = np.random.default_rng(seed)

    def normal(p):
        real = rng.normal(size=p.shape)
        return np.asarray(real if p.dtype.kind != "c" else real + 1j * rng.normal(size=p.shape), p.dtype)

    return jax.tree.map(normal, params)


step_of = functools.cache(gradtx.make_step)


def train(tx, steps: int = 5, params=PARAMS):
    step = step_of(tx)
    params, state = jax.tree.map(jnp.copy, params), whole.init(tx, params)
    for i in range(steps):
        params, state = step(params, state, grads(i, params))
    return params, state


def run(tx, dtype, steps: int):
    """Parameters and states before each step, and after the last."""
    params, stream = jax.tree.map(lambda x: np.asarray(x, dtype), (_start(), _gradients()))
    params = jax.tree.map(jnp.asarray, params)
    step, state, path = step_of(tx), whole.init(tx, params), []
    for t in range(steps):
        path.append(jax.tree.map(np.asarray, (params, state)))
        params, state = step(params, state, [g[t] for g in stream])
    return [*path, jax.tree.map(np.asarray, (params, state))]


evaluated = jax.jit(gradtx.schedule_free_eval_params)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_average_is_the_papers(name: str) -> None:
    tx, settings = SETTINGS[name]
    expected = both(_start(), lambda _, t: [g[t - 1] for g in _gradients()], 60, **settings)
    with jax.enable_x64(True):
        path = run(tx, np.float64, 60)[1:]
        for (params, state), (_, average) in zip(path, expected, strict=True):
            found = evaluated(state, params)
            chex.assert_trees_all_close(found, average, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SETTINGS)
def test_float32_makes_one_rounding_of_the_parameters_at_each_step(name: str) -> None:
    """From equal y, z and moments, y and z end within a rounding of float64's.

    An update is a difference of numbers of the parameters' size, so that its own relative error has no
    bound: what counts is where it leads.
    """
    tx, _ = SETTINGS[name]
    path = run(tx, np.float32, 101)
    for t in (1, 10, 100):
        (params, state), (after, state_after) = path[t - 1], path[t]
        with jax.enable_x64(True):

            def wide(x):
                return np.asarray(x, np.float64 if x.dtype == np.float32 else x.dtype)

            mine, held = jax.tree.map(wide, (params, state))
            updates, held = whole.update(tx, [g[t - 1] for g in _gradients()], held, mine)
            exact = [p + np.asarray(u) for p, u in zip(mine, updates, strict=True)], _held(held).z
        narrow = after, _held(state_after).z
        for y, z, y_after, z_after, *exactly in zip(params, _held(state).z, *narrow, *exact, strict=True):
            largest = np.maximum.reduce([np.abs(x, dtype=np.float32) for x in (y, z, y_after, z_after)])
            # A rounding of y, half of one of z, which enters y, and four of the step itself.
            bound = 1.5 * np.spacing(largest) + 5e-7 * np.abs(z_after - z)
            for mine, right in zip((y_after, z_after), exactly, strict=True):
                assert np.all(np.abs(mine - np.asarray(right)) <= bound), f"step {t}"


def _held(state) -> ScheduleFreeState:
    def is_one(x):
        return isinstance(x, ScheduleFreeState)

    return next(x for x in jax.tree.leaves(state, is_leaf=is_one) if is_one(x))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            gradtx.schedule_free_sgd(0.5, weight_decay=0.1),
            optax.contrib.schedule_free_sgd(0.5, weight_decay=0.1),
        ),
        (gradtx.schedule_free_adamw(b1=0.95), optax.contrib.schedule_free_adamw(b1=0.95)),
        (
            gradtx.schedule_free(gradtx.sgd(0.1, momentum=0.5), 0.1, weight_lr_power=0.0),
            optax.contrib.schedule_free(optax.sgd(0.1, momentum=0.5), 0.1, weight_lr_power=0.0),
        ),
    ],
    ids=["sgd", "adamw", "wrapper"],
)  # fmt: skip
def test_agrees_with_optax_while_the_rate_stays(ours, theirs) -> None:
    stream = whole.stack([grads(i) for i in range(30)])
    mine, state = whole.end(ours, PARAMS, stream)
    with jax.numpy_dtype_promotion("standard"):
        peers, reference = whole.end(theirs, PARAMS, stream)
        average = jax.jit(optax.contrib.schedule_free_eval_params)(reference, peers)
    # Thirty roundings of parameters of size 1 on each side.
    chex.assert_trees_all_close(mine, peers, rtol=2e-5, atol=4e-6)
    chex.assert_trees_all_close(evaluated(state, mine), average, rtol=2e-5, atol=4e-6)


def test_the_warm_up_is_the_papers_and_optaxs_a_step_behind() -> None:
    """λ min(1, t / T): a quarter, a half, ... of the rate, where Optax's first rate is 0."""
    moved = {}
    for name, tx in {
        "ours": gradtx.schedule_free_sgd(1.0, 4),
        "theirs": optax.contrib.schedule_free_sgd(1.0, 4),
    }.items():
        with jax.numpy_dtype_promotion("standard"):
            states = whole.follow(tx, np.float32(0), np.ones(6, np.float32))[2]
        z = _held(states).z if name == "ours" else states.z
        moved[name] = -np.diff(z, prepend=0.0)
    np.testing.assert_allclose(moved["ours"], [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(moved["theirs"], [0, 0.25, 0.5, 0.75, 1, 1], rtol=1e-6)


def test_a_scheduled_rate_is_warmed_up_as_well() -> None:
    plain = gradtx.schedule_free_sgd(0.5, 4)
    scheduled = gradtx.schedule_free_sgd(gradtx.constant_schedule(0.5), 4)
    chex.assert_trees_all_close(train(plain)[0], train(scheduled)[0], rtol=1e-6)
    assert gradtx.schedule_free_sgd(0.5, 1).expand() == gradtx.schedule_free_sgd(0.5).expand()


NESTS = {
    "chain": lambda tx: gradtx.chain(gradtx.clip_by_global_norm(1e3), tx),
    "named_chain": lambda tx: gradtx.named_chain(("only", tx)),
    "tunable": lambda tx: gradtx.tunable(tx, "b1"),
    "apply_if_finite": lambda tx: gradtx.apply_if_finite(tx, 3),
    "accumulate": lambda tx: gradtx.accumulate(tx, 1),
    "conditionally_transform": lambda tx: gradtx.conditionally_transform(tx, lambda step: step >= 0),
    "masked": lambda tx: gradtx.masked(tx, {"kernel": True, "bias": True}),
    "partition": lambda tx: gradtx.partition({"a": tx, "b": tx}, {"kernel": "a", "bias": "b"}),
    "with_extra_args_support": gradtx.with_extra_args_support,
    "optax.chain": lambda tx: gradtx.chain(optax.chain(optax.identity(), tx)),
}


@pytest.mark.parametrize("nest", NESTS)
def test_the_average_is_found_in_any_state(nest: str) -> None:
    params, state = train(NESTS[nest](SGD))
    alone, plain = train(SGD)
    expected = gradtx.schedule_free_eval_params(plain, alone)
    chex.assert_trees_all_close(gradtx.schedule_free_eval_params(state, params), expected, rtol=1e-5)
    assert not np.allclose(expected["kernel"], params["kernel"], rtol=1e-3)


def test_leaves_of_other_optimizers_are_returned_as_they_are() -> None:
    tx = gradtx.partition({"free": SGD, "other": gradtx.adam(0.1)}, {"kernel": "free", "bias": "other"})
    params, state = train(tx)
    found = gradtx.schedule_free_eval_params(state, params)
    chex.assert_trees_all_equal(found["bias"], params["bias"])
    assert not np.allclose(found["kernel"], params["kernel"], rtol=1e-3)


def test_the_average_of_other_layouts_is_found_through_them() -> None:
    layout = gradtx.packing(PARAMS)
    params, state = train(gradtx.flatten(SGD))
    alone, plain = train(SGD)
    expected = gradtx.schedule_free_eval_params(plain, alone)
    found = layout.unpack(gradtx.schedule_free_eval_params(state, layout.pack(params)))
    chex.assert_trees_all_close(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="a packed state, such as that of flatten, goes with packed param"):
        gradtx.schedule_free_eval_params(state, params)
    complex_ = {"c": jax.lax.complex(PARAMS["kernel"], PARAMS["kernel"].T)}
    split = gradtx.split_real_and_imaginary(SGD)
    params, state = train(split, 3, complex_)
    found = gradtx.schedule_free_eval_params(state, params)["c"]
    real = jax.tree.map(lambda x: x.real, _held(state).z["c"].real)
    assert found.dtype == jnp.complex64
    back = 1 / 0.9 - 1
    np.testing.assert_allclose(found.real, params["c"].real + back * (params["c"].real - real), rtol=1e-5)


def test_what_is_no_such_state_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no ScheduleFreeState in this state"):
        gradtx.schedule_free_eval_params(gradtx.adam(0.1).init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match=r"a parameter has shape \(2,\), but the state's \(3,\)"):
        gradtx.schedule_free_eval_params(SGD.init({"w": jnp.ones(3)}), {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="0 would leave no average to evaluate"):
        gradtx.schedule_free_sgd(b1=0.0)
    with pytest.raises(ValueError, match="schedule_free needs the parameters"):
        SGD.update(PARAMS, SGD.init(PARAMS))


def test_state_and_parameters_are_donated_together() -> None:
    """Optax copies z at `init`; so must this, or the second step reads a buffer that is gone."""
    train(gradtx.schedule_free_adamw(0.1), 2)
    program = gradtx.make_step(SGD).lower(PARAMS, SGD.init(PARAMS), PARAMS).compile()
    assert gradtx.traffic(program).copies == 0
    abstract = jax.eval_shape(SGD.init, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, train(SGD, 1)[1])


def test_weights_follow_the_largest_rate_and_the_sum_does_not_stall() -> None:
    """cₜ = wₜ / Σ w: a third each after three equal steps, and right after 100,000 of them."""
    tx = gradtx.schedule_free(gradtx.identity(), gradtx.piecewise_constant_schedule(1.0, {2: 0.1}))
    _, state = train(tx, 4)
    assert float(_held(state).max_lr) == 1.0
    assert float(_held(state).length) == 4.0  # the fall does not lower a weight
    rising = gradtx.schedule_free(gradtx.identity(), gradtx.linear_schedule(1.0, 4.0, 3))
    held = _held(train(rising, 4)[1])
    assert float(held.length) == pytest.approx((1 + 4 + 9 + 16) / 16, rel=1e-6)
    late = _held(state)._replace(length=jnp.float32(100_000.0))
    _, after = gradtx.schedule_free(gradtx.identity(), 1.0).update(PARAMS, late, PARAMS)
    assert float(after.length) == 100_001.0


def test_a_mix_that_changes_keeps_the_average() -> None:
    """x does not depend on β, while the gradients are given."""
    fixed, changing = (
        gradtx.schedule_free(gradtx.sgd(0.1), 0.1, b1)
        for b1 in (0.9, gradtx.piecewise_constant_schedule(0.9, {2: 0.8, 4: 1.2}))
    )
    (a, s), (b, r) = train(fixed, 6), train(changing, 6)
    assert not np.allclose(a["kernel"], b["kernel"], rtol=1e-4)
    chex.assert_trees_all_close(
        gradtx.schedule_free_eval_params(s, a), gradtx.schedule_free_eval_params(r, b), rtol=1e-5
    )


def test_a_narrow_iterate_keeps_the_average_where_it_belongs() -> None:
    """Steps far below z's rounding: z stays, and so must its average."""
    params = {"w": np.float32(1.0)}
    tx = gradtx.schedule_free(gradtx.scale(-1.0), 1e-5, state_dtype="bfloat16")
    params, state = whole.end(tx, params, {"w": np.full(50, 1e-5, np.float32)})
    assert state.z["w"].dtype == jnp.bfloat16
    assert float(gradtx.schedule_free_eval_params(state, params)["w"]) == 1.0
    half = {"w": jnp.ones(3, jnp.bfloat16)}
    assert SGD.init(half).z["w"].dtype == jnp.float32


def test_a_rate_of_zero_at_first_leaves_everything_where_it_is() -> None:
    """0 / 0 in the paper's weight."""
    params, state = train(gradtx.schedule_free(gradtx.sgd(0.0), 0.0), 2)
    chex.assert_trees_all_equal(params, PARAMS)
    chex.assert_trees_all_close(gradtx.schedule_free_eval_params(state, params), PARAMS, rtol=1e-6)
