"""Parameters in another form, measures that remember, parts of a state, slow copies."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

MIXED = {
    "kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]),
    "bias": jnp.asarray([0.5, 0.25], jnp.bfloat16),
    "scale": jnp.asarray(2.0),
    "none": None,
    "empty": jnp.zeros((0, 3)),
}


def grads(seed: int, params=MIXED):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)


def train(tx, params=MIXED, steps: int = 4):
    step, state = gradtx.make_step(tx), tx.init(params)
    params = jax.tree.map(jnp.copy, params)
    for seed in range(steps):
        params, state = step(params, state, grads(seed, params))
    return params, state


# ---------------------------------------------------------------- flat buffers


@pytest.mark.parametrize(
    "inner", [gradtx.adamw(0.1), gradtx.chain(gradtx.clip_by_global_norm(0.5), gradtx.sgd(0.1))]
)
def test_flat_buffers_give_what_the_leaves_give_and_keep_dtypes(inner) -> None:
    """Optax makes one float32 buffer of bfloat16 and float32, and float32 updates of all."""
    params, state = train(gradtx.flatten(inner))
    expected, _ = train(inner)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, expected)
    chex.assert_trees_all_close(params, expected, rtol=1e-6)
    sizes = sorted(x.size for x in jax.tree.leaves(state) if x.ndim)
    assert sizes in ([], [2, 2, 5, 5])  # two moments of two buffers


def test_flat_buffers_are_optaxs_for_one_dtype() -> None:
    """There a norm of a leaf is the norm of all."""
    params = {n: MIXED[n] for n in ("kernel", "scale")}
    ours, theirs = gradtx.flatten(gradtx.clip_by_block_rms(0.1)), optax.flatten(optax.clip_by_block_rms(0.1))
    updates, _ = ours.update(params, ours.init(params), params)
    expected, _ = theirs.update(params, theirs.init(params), params)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)


def test_flat_buffers_need_the_parameters_for_their_dtypes() -> None:
    tx = gradtx.flatten(gradtx.trace(0.9))
    with pytest.raises(ValueError, match="flatten needs the parameters"):
        tx.update(MIXED, tx.init(MIXED))
    wide = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    updates, _ = tx.update(wide, tx.init(wide))  # nothing to tell apart
    chex.assert_trees_all_equal(updates, wide)


# ---------------------------------------------------------------- complex numbers


def test_complex_leaves_are_two_real_ones_to_what_is_inside() -> None:
    params = {"c": jnp.asarray([1 + 2j, -3 + 0.5j]), "r": jnp.asarray([1.0, 2.0])}
    ours = gradtx.split_real_and_imaginary(gradtx.adam(0.1))
    theirs = optax.contrib.split_real_and_imaginary(optax.adam(0.1))
    state, reference = ours.init(params), theirs.init(params)
    for _ in range(3):
        updates, state = jax.jit(ours.update)(params, state, params)
        with jax.numpy_dtype_promotion("standard"):
            expected, reference = theirs.update(params, reference, params)
        chex.assert_trees_all_close(updates, expected, rtol=2e-5)
    # Each part by its own second moment: of constant gradients every step is 0.1 in both parts.
    np.testing.assert_allclose(updates["c"], [-0.1 - 0.1j, 0.1 - 0.1j], rtol=1e-5)
    assert updates["c"].dtype == jnp.complex64
    specs = gradtx.tree_map_params(ours, lambda _, spec: spec, state, {"c": "complex", "r": "real"})
    assert sorted(x for x in jax.tree.leaves(specs) if isinstance(x, str)) == ["complex"] * 4 + ["real"] * 2


# ---------------------------------------------------------------- extra arguments


def test_any_extra_argument_may_be_accepted_on_purpose() -> None:
    plain = gradtx.sgd(0.1)
    with pytest.raises(TypeError, match="nothing here reads the extra argument 'valeu'"):
        plain.update(MIXED, plain.init(MIXED), MIXED, valeu=1.0)
    for tx in (plain, gradtx.chain(optax.sgd(0.1)), gradtx.scale(gradtx.plateau_schedule(0.1))):
        open_to_all = gradtx.with_extra_args_support(tx)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = open_to_all.update(MIXED, open_to_all.init(MIXED), MIXED, valeu=1.0, value=2.0)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, MIXED)
        chex.assert_trees_all_equal_structs(state, tx.init(MIXED))


# ---------------------------------------------------------------- measures


def _norm(updates):
    return gradtx.tree.global_norm(updates)


def _is_long(updates):
    return gradtx.tree.global_norm(updates) > 1.0


def test_measures_are_those_of_optax_and_there_from_the_start() -> None:
    def watch(library):
        measures = {"norm": _norm, "long": library.measure_with_ema(_is_long, 0.9),
                    "average": library.measure_with_ema(_norm, decay=0.5, debias=False)}  # fmt: skip
        return library.chain(library.scale(2.0), library.monitor(measures), library.scale(0.5))

    params = {"w": jnp.asarray([0.3, 0.6]), "b": jnp.asarray(0.1)}
    ours, theirs = watch(gradtx), watch(optax)
    state, reference = ours.init(params), theirs.init(params)
    assert optax.tree.get(state, "norm") == 0
    for size in (1.0, 0.1, 3.0):
        given = jax.tree.map(lambda p, s=size: p * s, params)
        before = jax.tree.structure(state)
        updates, state = ours.update(given, state, params)
        assert jax.tree.structure(state) == before
        with jax.numpy_dtype_promotion("standard"):
            _, reference = theirs.update(given, reference, params)
        chex.assert_trees_all_close(updates, given, rtol=1e-6)
        for name in ("norm", "long", "average"):
            mine, peer = optax.tree.get(state, name), optax.tree.get(reference, name)
            np.testing.assert_allclose(mine, peer, rtol=2e-5, err_msg=name)
    assert not jnp.allclose(optax.tree.get(state, "long"), 1.0)


def test_measures_print_compare_and_follow_schedules() -> None:
    tx = gradtx.monitor({"norm": _norm, "mean": gradtx.measure_with_ema(_norm, 0.9)})
    assert repr(
        tx
    ) == "monitor(measures={'mean': measure_with_ema(measure=_norm, decay=0.9), 'norm': _norm})" or (
        "_norm" in repr(tx)
    )
    assert tx == gradtx.monitor({"mean": gradtx.measure_with_ema(_norm, 0.9), "norm": _norm})
    assert tx == tx.replace(measures=dict(tx.measures))
    with pytest.raises(TypeError, match=r"measures\['x'\] must be a gradient transformation"):
        gradtx.monitor({"x": 3})
    with pytest.raises(ValueError, match="1 would never leave its start"):
        gradtx.measure_with_ema(_norm, 1.0)
    moving = gradtx.monitor({"mean": gradtx.measure_with_ema(_norm, gradtx.linear_schedule(0.0, 0.9, 2))})
    state = moving.init(MIXED)
    _, state = moving.update(MIXED, state, MIXED)
    assert list(gradtx.hyperparams(state)) == ["monitor.measures.mean.decay"]


def test_a_transformation_is_a_measure_too() -> None:
    tx = gradtx.monitor({"mean": gradtx.ema(0.5)})
    updates, state = tx.update(MIXED, tx.init(MIXED), MIXED)
    chex.assert_trees_all_equal(updates, MIXED)
    np.testing.assert_allclose(state.measurements["mean"]["kernel"], MIXED["kernel"] / 2)


# ---------------------------------------------------------------- parts of a state

SPECS = {"kernel": "by rows", "bias": "whole", "scale": "whole", "none": None, "empty": "whole"}


@pytest.mark.parametrize(
    "tx",
    [
        gradtx.adamw(gradtx.linear_schedule(0.1, 0.0, 9)),
        gradtx.chain(gradtx.clip_by_global_norm(1.0), optax.adam(0.1)),
        gradtx.accumulate(gradtx.adam(0.1), 2),
        gradtx.schedule_free_adamw(),
        gradtx.masked(gradtx.adam(0.1), "kernel|bias"),
        gradtx.partition(
            {"a": gradtx.adam(0.1), "b": gradtx.freeze()}, gradtx.by_path(("kernel", "a"), (".*", "b"))
        ),
    ],
    ids=lambda tx: type(tx).__name__,
)
def test_leaves_that_mirror_parameters_are_mapped_and_no_others(tx) -> None:
    state = tx.init(MIXED)
    marked = gradtx.tree_map_params(
        tx, lambda x, spec: f"{x.shape} {spec}", state, SPECS, transform_non_params=lambda x: "counter"
    )
    marks = jax.tree.leaves(marked)
    assert len(marks) == len(jax.tree.leaves(state))
    assert "(2, 2) by rows" in marks
    for mark, x in zip(marks, jax.tree.leaves(state), strict=True):
        expected = f"{x.shape} {'by rows' if x.shape == (2, 2) else 'whole'}"
        assert mark == expected or (mark == "counter" and not x.ndim)
    same = gradtx.tree_map_params(tx.init, lambda x: x, state)
    chex.assert_trees_all_equal(same, state)


def test_parts_of_optaxs_states_are_mapped_as_it_does() -> None:
    tx, params = optax.adamw(optax.linear_schedule(0.1, 0.0, 9)), {"a": jnp.ones(2), "b": jnp.ones(3)}
    arguments = lambda x, spec: spec, tx.init(params), {"a": 1, "b": 2}
    for options in ({}, {"transform_non_params": lambda x: 0}, {"is_leaf": lambda x: False}):
        ours = gradtx.tree_map_params(tx, *arguments, **options)
        chex.assert_trees_all_equal(ours, optax.tree_map_params(tx, *arguments, **options))


# ---------------------------------------------------------------- slow copies


def test_slow_copies_are_optaxs_and_keep_their_dtypes() -> None:
    new, old = {"w": jnp.asarray([1.0, 2.0]), "n": None}, {"w": jnp.asarray([0.0, 4.0]), "n": None}
    ours = gradtx.incremental_update(new, old, 0.25)
    chex.assert_trees_all_close(ours, optax.incremental_update(new, old, 0.25), rtol=1e-6)
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), new)
    assert gradtx.incremental_update(narrow, old, 0.25)["w"].dtype == jnp.float32
    assert gradtx.incremental_update(new, narrow, jnp.float32(0.25))["w"].dtype == jnp.bfloat16
    for steps in (0, 1, 3):
        mine = jax.jit(gradtx.periodic_update)(new, old, steps, 3)
        chex.assert_trees_all_equal(mine, optax.periodic_update(new, old, steps, 3))
    assert gradtx.periodic_update(narrow, old, 0, 3)["w"].dtype == jnp.float32
    poisoned = {"w": jnp.full(2, jnp.nan), "n": None}
    chex.assert_trees_all_equal(gradtx.periodic_update(poisoned, old, 1, 3), old)


def test_counters_stop_at_their_largest_number() -> None:
    for dtype, most in ((jnp.int32, 2**31 - 1), (jnp.uint8, 255), (jnp.float32, np.finfo(np.float32).max)):
        for count in (0, 7, most):
            mine = gradtx.safe_increment(jnp.asarray(count, dtype))
            assert mine == optax.safe_increment(jnp.asarray(count, dtype))
            assert mine.dtype == dtype
    last = jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32)
    assert gradtx.safe_increment(last) == last
