"""Where arrays lie: what is made for a parameter is sharded as it is, at init and after updates."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradtx
from tests.laws.test_laws import TRANSFORMATIONS, build, extra_of

SPECS = {"kernel": P("a", "b"), "bias": P("b"), "scale": P()}
GATHERED = {  # what they make has other axes than the parameters
    "packed": "it is given buffers",
    "unpacked": "it is given buffers",
    "flatten": "it gathers leaves into a buffer",
    "in_subspace": "singular vectors are of whole matrices",
    "galore": "singular vectors are of whole matrices",
    "scale_by_galore": "singular vectors are of whole matrices",
}
# On explicit axes a product over a sharded one has to be told where it lies.
PRODUCTS = dict.fromkeys(("orthogonalize", "muon", "scale_by_muon"), "it multiplies matrices")


def mesh(axis_type=AxisType.Auto):
    return jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)


def parameters(on):
    shapes = {"kernel": (8, 16), "bias": (16,), "scale": ()}
    return {
        n: jax.device_put(jnp.full(s, 0.5, jnp.float32), NamedSharding(on, SPECS[n]))
        for n, s in shapes.items()
    }


def built(name: str):
    tx = build(TRANSFORMATIONS[name])
    small = "min_dim_size_to_factor"
    return tx.replace(**{small: 4}) if small in type(tx).__dataclass_fields__ else tx


def elsewhere(params, tree):
    """The leaves of parameters' shapes, and of their rows' and columns', that lie somewhere else."""
    kernel = params["kernel"].sharding.mesh
    right = {x.shape: x.sharding for x in params.values() if x.ndim} | {(8,): NamedSharding(kernel, P("a"))}
    return [
        (gradtx.tree.name(path), x.sharding)
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
        if x.shape in right and not x.sharding.is_equivalent_to(right[x.shape], x.ndim)
    ]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name not in GATHERED])
def test_states_and_updates_lie_where_the_parameters_lie(name: str, axis_type) -> None:
    """After init and update, each eagerly and compiled."""
    explicit = axis_type is AxisType.Explicit
    if explicit and name in PRODUCTS:
        pytest.skip(PRODUCTS[name])
    tx, on = built(name), mesh(axis_type)
    if tx.per_example:
        pytest.skip("its gradients have an axis of examples")
    with jax.set_mesh(on) if explicit else contextlib.nullcontext():
        params = parameters(on)
        extra = extra_of(tx, params)
        state = tx.init(params)
        arrays = {n: x for n, x in extra.items() if not callable(x)}
        functions = {n: x for n, x in extra.items() if callable(x)}
        compiled = jax.jit(lambda g, s, p, arrays: tx.update(g, s, p, **arrays, **functions))
        seen = {
            "init": state,
            "init, compiled": jax.jit(tx.init)(params),
            "update": tx.update(params, state, params, **extra),
            "update, compiled": compiled(params, state, params, arrays),
        }
        found = {when: wrong for when, tree in seen.items() if (wrong := elsewhere(params, tree))}
        assert not found


def test_a_leaf_on_one_device_of_many_keeps_its_state_there() -> None:
    device = jax.devices()[3]
    params = {"w": jax.device_put(jnp.ones((8, 16)), device), "b": jax.device_put(jnp.full(16, 1.0), device)}
    for tx in (
        gradtx.adam(0.1),
        gradtx.adafactor(0.1, min_dim_size_to_factor=4),
        gradtx.sm3(0.1),
    ):
        for x in jax.tree.leaves(tx.init(params)):
            assert x.ndim == 0 or x.devices() == {device}


def test_a_weakly_typed_parameter_moves_where_it_lies() -> None:
    with jax.set_mesh(mesh(AxisType.Explicit)):
        params = jax.device_put(jnp.full((8, 16), 0.5), P("a", "b"))
        moved = gradtx.apply_updates(params, jax.device_put(jnp.ones((8, 16), jnp.float32), P("a", "b")))
        assert moved.weak_type
        assert moved.sharding.spec == P("a", "b")


# ---------------------------------------------------------------- shard_map

INNER = gradtx.adam(0.1)
MAPPED = {
    "accumulate": gradtx.accumulate(INNER, 2),
    "apply_every": gradtx.apply_every(2),
    "apply_if_finite": gradtx.apply_if_finite(INNER, 3),
    "average_params": gradtx.average_params(INNER, 0.9),
    "conditionally_mask": gradtx.conditionally_mask(INNER, lambda step: step % 2 == 0),
    "conditionally_transform": gradtx.conditionally_transform(INNER, lambda step: step % 2 == 0),
    "run_when": gradtx.run_when(INNER, lambda step: step % 2 == 1),
    "freeze": gradtx.freeze("kernel"),
    "lookahead": gradtx.lookahead(INNER, 2, 0.5),
    "masked": gradtx.masked(INNER, "kernel", otherwise="freeze"),
    "partition": gradtx.partition(
        {"a": INNER, "b": gradtx.freeze()}, gradtx.by_path(("kernel", "a"), (".*", "b"))
    ),
    "sam": gradtx.sam(INNER, gradtx.scale(-0.1)),
    "schedule_free": gradtx.schedule_free(INNER, 0.1),
    "set_to_zero": gradtx.set_to_zero(),
    "tunable": gradtx.tunable(INNER, "learning_rate"),
    "zero_nans": gradtx.chain(gradtx.zero_nans(), INNER),
}


@pytest.mark.parametrize("name", MAPPED)
def test_wrappers_run_under_shard_map_and_give_what_they_give_outside(name: str) -> None:
    tx, on = MAPPED[name], mesh()
    params = parameters(on)
    state = tx.init(params)
    shapes = {x.shape: SPECS[n] for n, x in params.items()}
    specs = jax.tree.map(lambda x: shapes.get(x.shape, P()), state)
    mapped = jax.jit(
        jax.shard_map(tx.update, mesh=on, in_specs=(SPECS, specs, SPECS), out_specs=(SPECS, specs))
    )
    alone = state
    for _ in range(3):
        updates, state = mapped(params, state, params)
        expected, alone = tx.update(params, alone, params)
        for x, y in zip(jax.tree.leaves((updates, state)), jax.tree.leaves((expected, alone)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)  # some roundings of a step of 0.1


def test_a_nan_on_one_device_leaves_the_step_out_on_all() -> None:
    tx, on = gradtx.apply_if_finite(gradtx.sgd(0.1), 3), mesh()
    params = parameters(on)
    state = tx.init(params)
    bad = {**params, "kernel": params["kernel"].at[7, 15].set(jnp.nan)}
    specs = jax.tree.map(lambda x: P(), state)
    mapped = jax.shard_map(tx.update, mesh=on, in_specs=(SPECS, specs, SPECS), out_specs=(SPECS, specs))
    updates, state = jax.jit(mapped)(bad, state, params)
    assert state.total_notfinite == 1
    for x in jax.tree.leaves(updates):
        np.testing.assert_array_equal(x, np.zeros(x.shape))
