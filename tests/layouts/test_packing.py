"""Packed parameters: buffers instead of leaves, and the same numbers."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import chain, packed, packing
from gradtx.layouts.rebuilt import rebuilt

SHAPES = {"dense": {"kernel": (3, 4), "bias": (4,)}, "norm": {"scale": (5,)}, "gain": ()}


def tree(seed: int, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s), dtype), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
    )


PARAMS = tree(0)
LAYOUT = packing(PARAMS)


def train(tx, params, gradients):
    @jax.jit
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gradtx.apply_updates(params, updates), state

    state = tx.init(params)
    for grads in gradients:
        params, state = step(params, state, grads)
    return params


OPTIMIZERS = {
    "adamw": gradtx.adamw(1e-2),
    "lion": gradtx.lion(1e-2),
    "global clip": chain(gradtx.clip_by_global_norm(0.5), gradtx.sgd(0.1, 0.9)),
    "schedule": gradtx.adam(gradtx.linear_schedule(1e-2, 0.0, 5)),
    "lamb": gradtx.lamb(1e-2, weight_decay=0.1),
    "masked decay": gradtx.adamw(1e-2, weight_decay=0.1, mask="kernel$"),
    "masked": gradtx.masked(gradtx.adam(1e-2), "kernel|scale"),
    "partition": gradtx.partition(
        {"a": gradtx.adam(1e-2), "b": gradtx.freeze()}, gradtx.by_path(("dense", "a"), ("", "b"))
    ),
    "foreign": chain(optax.clip_by_block_rms(0.1), gradtx.sgd(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_packed_takes_the_steps_that_the_leaves_take(name: str) -> None:
    tx, gradients = OPTIMIZERS[name], [tree(seed) for seed in (1, 2, 3)]
    by_leaf = train(tx, PARAMS, gradients)
    flat = train(packed(tx, LAYOUT), LAYOUT.pack(PARAMS), [LAYOUT.pack(g) for g in gradients])
    # A norm of all leaves is summed in another order.
    chex.assert_trees_all_close(LAYOUT.unpack(flat), by_leaf, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adamw", "lion", "global clip", "schedule"])
def test_what_asks_for_no_leaf_is_packed_without_being_told(name: str) -> None:
    assert packed(OPTIMIZERS[name], LAYOUT).expand() == rebuilt(OPTIMIZERS[name], lambda part: part)


def test_only_what_asks_for_leaves_sees_them() -> None:
    shown = repr(packed(gradtx.lamb(1e-2, weight_decay=0.1, mask="kernel$"), LAYOUT).expand())
    assert shown.count("unpacked(") == 2  # the masked decay and the trust ratio
    assert "inner=ema" not in shown


def test_a_state_by_leaf_goes_with_what_is_unpacked() -> None:
    state = packed(OPTIMIZERS["masked"], LAYOUT).init(LAYOUT.pack(PARAMS))
    assert [x.shape for x in jax.tree.leaves(state) if x.ndim] == [(3, 4), (5,)] * 2


def test_unpack_is_the_inverse_of_pack_in_every_dtype() -> None:
    mixed = PARAMS | {"half": jnp.ones((2, 2), jnp.bfloat16), "complex": jnp.ones(2, jnp.complex64)}
    layout = packing(mixed)
    flat = layout.pack(mixed)
    assert {k: (v.shape, v.dtype) for k, v in flat.items()} == {
        "float32": ((22,), jnp.float32),
        "bfloat16": ((4,), jnp.bfloat16),
        "complex64": ((2,), jnp.complex64),
    }
    chex.assert_trees_all_equal(layout.unpack(flat), mixed)


def test_labels_give_each_group_its_buffers_and_masks_name_them() -> None:
    layout = packing(PARAMS, gradtx.by_path(("kernel$", "kernels"), ("", "rest")))
    flat = layout.pack(PARAMS)
    assert jax.tree.map(jnp.shape, flat) == {"kernels": {"float32": (12,)}, "rest": {"float32": (10,)}}
    tx, gradients = gradtx.adamw(1e-2, weight_decay=0.5), [tree(seed) for seed in (1, 2)]
    by_leaf = train(tx.replace(mask="kernel$"), PARAMS, gradients)
    by_buffer = train(tx.replace(mask="kernels"), flat, [layout.pack(g) for g in gradients])
    chex.assert_trees_all_close(layout.unpack(by_buffer), by_leaf, rtol=1e-6)


def test_a_gradient_by_the_buffers_is_one_concatenation_and_no_padding() -> None:
    def loss(flat):
        return sum(jnp.sum(x**3) for x in jax.tree.leaves(LAYOUT.unpack(flat)))

    flat = LAYOUT.pack(PARAMS)
    operations = [e.primitive.name for e in jax.make_jaxpr(jax.grad(loss))(flat).eqns]
    assert operations.count("concatenate") == 1
    assert not {"pad", "scatter-add", "add_any", "dynamic_update_slice"} & set(operations)
    chex.assert_trees_all_close(jax.grad(loss)(flat), jax.tree.map(lambda x: 3 * x**2, flat), rtol=1e-6)


def test_it_is_forward_differentiable_too() -> None:
    flat = LAYOUT.pack(PARAMS)
    value, tangent = jax.jvp(LAYOUT.unpack, (flat,), (flat,))
    chex.assert_trees_all_equal(value, tangent)


def test_a_thousand_leaves_are_three_arrays_in_a_step() -> None:
    many = {f"leaf{i}": jax.ShapeDtypeStruct((8, 4), jnp.float32) for i in range(1000)}
    layout = packing(many)
    flat = jax.eval_shape(layout.pack, many)
    step = gradtx.make_step(gradtx.adamw(1e-3))
    state = jax.eval_shape(gradtx.adamw(1e-3).init, flat)
    compiled = step.lower(flat, state, flat).compile()
    cost = gradtx.traffic(compiled)
    assert cost.kernels <= 4
    assert cost.temporary < 100  # a few numbers
    assert not gradtx.needless_copies(step, flat, state, flat)


def test_it_is_a_value() -> None:
    again = packing(jax.eval_shape(lambda: PARAMS))
    assert again == LAYOUT
    assert hash(again) == hash(LAYOUT)
    assert eval(repr(LAYOUT), vars(gradtx)) == LAYOUT
    assert gradtx.from_json(gradtx.to_json(LAYOUT)) == LAYOUT
    assert packing({"a": jnp.ones(3)}) != packing({"a": jnp.ones(4)})


def test_what_does_not_fit_is_refused_with_its_path() -> None:
    flat = LAYOUT.pack(PARAMS)
    with pytest.raises(ValueError, match=r"at 'dense/kernel': shape \(4, 3\) against shape \(3, 4\)"):
        LAYOUT.pack(PARAMS | {"dense": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(4)}})
    with pytest.raises(ValueError, match=r"at 'float32': shape \(3,\) against shape \(22,\)"):
        LAYOUT.unpack({"float32": flat["float32"][:3]})
    with pytest.raises(ValueError, match=r"differ in dtype: .*bfloat16"):
        LAYOUT.pack(PARAMS | {"gain": jnp.ones((), jnp.bfloat16)})
    with pytest.raises(ValueError, match=r"'n' is int32: expected floating-point"):
        packing({"n": jnp.arange(3)})
    with pytest.raises(ValueError, match="nothing to pack at 'gain', but at 'dense/bias'"):
        LAYOUT.pack(PARAMS | {"gain": None})
    with pytest.raises(ValueError, match="no rule matches the leaf at 'dense/bias'"):
        packing(PARAMS, gradtx.by_path(("kernel$", "k")))
    with pytest.raises(TypeError, match="layout must be a packing"):
        packed(gradtx.sgd(0.1), PARAMS)
    with pytest.raises(ValueError, match="expected arrays, or their dtypes and shapes"):
        packing({"a": "three"})
