"""Traced once per shape, with what leaves share computed once: the same numbers, and a smaller program."""

from __future__ import annotations

import collections
import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.contract import leafwise
from gradtx.contract.hoist import hoist
from tests.test_costs import OPTIMIZERS, step_of

SHAPES = [(4, 3)] * 6 + [(5,)] * 6


def tree(seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {f"leaf{i}": jnp.asarray(rng.normal(size=s), jnp.float32) for i, s in enumerate(SHAPES)}


PARAMS = tree(0)
FEW = ("leaf0", "leaf1", "leaf6", "leaf7")  # two of each shape


@pytest.fixture(autouse=True)
def _small_trees_leaf_by_leaf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "left_to_the_whole_tree_at_every" in request.node.name:
        return
    monkeypatch.setattr(leafwise, "LEAVES_PER_SHAPE", 1)  # users get this from 8 leaves of a shape on


def operations(tx, params=PARAMS) -> tuple[collections.Counter, collections.Counter]:
    """The primitives at the top of a step's program, and those in the functions that it calls."""
    jaxpr = jax.make_jaxpr(step_of(tx))(params, tx.init(params), params).jaxpr
    inner = {e.params["jaxpr"] for e in jaxpr.eqns if "jaxpr" in e.params}
    below = collections.Counter(name for j in inner for name in _names(j.jaxpr))
    return collections.Counter(_names(jaxpr)), below


def _names(jaxpr) -> list[str]:
    """The primitives; of what has a derivative of its own, those that it is computed by."""
    own = [(e, e.params.get("call_jaxpr")) for e in jaxpr.eqns]
    return [name for e, inside in own for name in (_names(inside.jaxpr) if inside else [e.primitive.name])]


def test_a_program_for_each_shape_is_called_for_each_leaf() -> None:
    top, below = operations(gradtx.adamw(1e-3))
    assert top["jit"] + top["pjit"] == len(SHAPES)
    assert below["sqrt"] == 2


def test_weights_of_averages_are_computed_once_for_all_leaves() -> None:
    top, below = operations(gradtx.adamw(1e-3))
    assert top["expm1"] == 2 * 2  # of two averages, for each of two shapes; XLA merges those
    assert below["expm1"] == 0


def test_a_schedule_is_read_once_for_all_leaves() -> None:
    top, below = operations(gradtx.sgd(lambda step: jax.lax.cos(step.astype(jnp.float32))))
    assert top["cos"] == 1
    assert below["cos"] == 0


def test_numbers_that_are_traced_are_arguments_of_it() -> None:
    def step(rate, params):
        tx = gradtx.adam(rate)
        return step_of(tx)(params, tx.init(params), params)

    given = jax.jit(lambda params: step(0.1, params))(PARAMS)
    chex.assert_trees_all_close(jax.jit(step)(jnp.asarray(0.1), PARAMS), given, rtol=1e-6, atol=1e-7)
    slopes = jax.jit(jax.jacfwd(lambda r: step(r, PARAMS)[0]["leaf0"]))(0.1)
    chex.assert_trees_all_close(slopes, -jnp.sign(PARAMS["leaf0"]), rtol=1e-5)  # Adam's first step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gives_what_the_whole_tree_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tx = OPTIMIZERS[name][0]()

    def two_steps(params):
        state = tx.init(params)
        for seed in (1, 2):
            params, state = step_of(tx)(params, state, {name: tree(seed)[name] for name in FEW})
        return params, state

    few = {name: PARAMS[name] for name in FEW}
    by_leaf = jax.jit(two_steps)(few)
    monkeypatch.setattr(leafwise, "LEAVES_PER_SHAPE", 100)
    whole = jax.jit(lambda params: two_steps(params))(few)
    chex.assert_trees_all_close(by_leaf, whole, rtol=2e-6, atol=1e-7)  # fused otherwise


def test_few_leaves_of_a_shape_are_left_to_the_whole_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leafwise, "LEAVES_PER_SHAPE", 5)
    assert operations(gradtx.adamw(1e-3))[0]["expm1"] == 4
    few = {name: PARAMS[name] for name in FEW}
    top, _ = operations(gradtx.adamw(1e-3), few)
    assert top["expm1"] == 2
    assert top["sqrt"] == 4


def test_a_program_belongs_to_jax_settings() -> None:
    tx = gradtx.radam(0.1)
    state, step = tx.init(PARAMS), step_of(tx)
    assert "f32[] = expm1" in str(jax.make_jaxpr(step)(PARAMS, state, PARAMS))
    with jax.enable_x64(True):  # the same leaves; the power is now computed in float64
        assert "f64[] = expm1" in str(jax.make_jaxpr(step)(PARAMS, state, PARAMS))
        out, _ = jax.jit(step)(PARAMS, state, PARAMS)
    assert out["leaf0"].dtype == jnp.float32


def test_only_single_numbers_without_effects_are_computed_ahead() -> None:
    """An array is left where it is used: stored once for all leaves, each would read it from memory."""
    called = []

    def f(own, shared):
        (x,), (n,) = own, shared
        jax.debug.callback(called.append, n, ordered=True)
        return [x * jnp.full(x.shape, 2 * n)], [n + 1]

    split = hoist(f, [jnp.ones(3)], [jnp.ones(())])
    passed, after = split.once([jnp.asarray(2.0)])
    assert [x.shape for x in (*passed, *after)] == [()] * len([*passed, *after])
    assert after == [3.0]
    for x in (jnp.ones(3), jnp.full(3, 5.0)):
        chex.assert_trees_all_equal(split.each([x], passed), [4 * x])
    jax.effects_barrier()
    assert called == [2.0, 2.0]  # once for each leaf


class counts_large_entries(gradtx.GradientTransformation):
    """Wrongly says that it stays within its leaf: its counter depends on the leaf."""

    reach = gradtx.Reach.LEAF

    def init(self, params):
        return jnp.zeros((), jnp.int32)

    def update(self, updates, state, params=None):
        return updates, state + sum(jnp.sum(u > 1).astype(jnp.int32) for u in jax.tree.leaves(updates))


def test_a_counter_that_depends_on_a_leaf_is_left_to_the_whole_tree() -> None:
    tx = counts_large_entries()
    _, counted = jax.jit(lambda p: tx.update(p, tx.init(p)))(PARAMS)
    assert counted == sum(int((p > 1).sum()) for p in PARAMS.values())


# ---------------------------------------------------------------- nothing is kept from one update to the next

EQUAL = {f"leaf{i}": jnp.ones(3) for i in range(20)}  # what users have: enough for a program for each shape


def _seen(u, p):
    """An update that shows where it was traced: the axis, the mesh, the settings."""
    mesh = sum(map(ord, "".join(jax.sharding.get_abstract_mesh().axis_names)))
    settings = (
        jax.config.jax_enable_x64,
        jax.config.jax_default_matmul_precision == "highest",
        jax.config.jax_numpy_dtype_promotion == "standard",
        jax.config.jax_debug_nans,
        jax.config.jax_default_prng_impl == "rbg",
        jax.config.jax_numpy_rank_promotion == "allow",
    )
    return u * (
        jax.lax.axis_size("batch") + 16 * mesh + sum(2.0**-i for i, on in enumerate(settings, 1) if on)
    )


def _under(context, size: int, tx) -> float:
    def step(g):
        updates, _ = tx.update(g, tx.init(EQUAL), EQUAL)
        return updates["leaf7"]

    mapped = jax.vmap(step, axis_name="batch", axis_size=size)
    with context():
        return float(jax.jit(mapped)(jax.tree.map(lambda x: jnp.ones((size, 3)), EQUAL))[0, 0])


def _mesh(name: str, kind):
    mesh = jax.make_mesh((1,), (name,), axis_types=(kind,), devices=jax.devices()[:1])
    return lambda: jax.set_mesh(mesh)


AUTO, EXPLICIT = jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit
SURROUNDINGS = {
    "two examples": (contextlib.nullcontext, 2, 2.0),
    "four examples": (contextlib.nullcontext, 4, 4.0),
    "one mesh": (_mesh("a", AUTO), 2, 2.0 + 16 * ord("a")),
    "another mesh": (_mesh("b", EXPLICIT), 2, 2.0 + 16 * ord("b")),
    "float64": (lambda: jax.enable_x64(True), 2, 2.5),
    "precise products": (lambda: jax.default_matmul_precision("highest"), 2, 2.25),
    "promotion": (lambda: jax.numpy_dtype_promotion("standard"), 2, 2.125),
    "NaNs": (lambda: jax.debug_nans(True), 2, 2.0625),
    "other random numbers": (lambda: jax.default_prng_impl("rbg"), 2, 2.03125),
    "rank promotion": (lambda: jax.numpy_rank_promotion("allow"), 2, 2.015625),
}


@pytest.mark.parametrize("order", [1, -1])
def test_a_program_is_used_only_where_it_was_traced(order: int) -> None:
    """The same transformation in two surroundings, in both orders: jax has a key for each of these too."""
    tx = gradtx.chain(gradtx.stateless_with_tree_map(_seen), gradtx.trace(0.5), gradtx.scale(1.0))
    for name, (context, size, expected) in list(SURROUNDINGS.items())[::order]:
        assert _under(context, size, tx) == expected, name


def test_a_mean_over_a_named_axis_is_right_for_every_size() -> None:
    mean = gradtx.stateless_with_tree_map(lambda u, p: jax.lax.pmean(u, "batch"))
    tx = gradtx.chain(mean, gradtx.sgd(1.0))
    assert [_under(contextlib.nullcontext, n, tx) for n in (2, 4, 8, 2)] == [-1.0] * 4


def test_what_a_function_closes_over_is_read_at_each_trace() -> None:
    factor = [2.0]
    tx = gradtx.stateless_with_tree_map(lambda u, p: u * factor[0])
    step = jax.jit(lambda g: tx.update(g, tx.init(EQUAL))[0]["leaf0"][0])
    assert step(EQUAL) == 2.0
    factor[0] = 3.0
    assert jax.jit(lambda g: tx.update(g, tx.init(EQUAL))[0]["leaf0"][0])(EQUAL) == 3.0


def test_many_leaves_of_few_alike_are_left_to_the_whole_tree_at_every_level() -> None:
    """As in a convolutional network: ten leaves of five shapes, where no part finds eight of a shape."""
    params = {f"leaf{i}": jnp.full((1 + i % 5,), 0.5) for i in range(10)}
    tx = gradtx.adam(0.1)
    updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
    chex.assert_trees_all_close(updates, jax.tree.map(lambda p: jnp.full_like(p, -0.1), params), rtol=1e-5)
