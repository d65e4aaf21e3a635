"""The compiled step: what it computes, what it donates, and that mis-ordered donations are found."""

from __future__ import annotations

import gc
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import make_step, make_train_step, needless_copies
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.interop.bridge import as_optax


def params():
    return {
        "w": jnp.asarray(np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30)),
        "b": jnp.asarray(np.ones(30, np.float32)),
    }


def shapes(tx):
    # Larger than the small copies that XLA makes for free, and of two shapes.
    tree = {
        "w": jax.ShapeDtypeStruct((256, 128), jnp.float32),
        "b": jax.ShapeDtypeStruct((512,), jnp.float32),
    }
    return tree, jax.eval_shape(tx.init, tree)


# ---------------------------------------------------------------- make_step


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion", "lamb", "adadelta"])
def test_a_step_is_update_and_apply_updates(name: str) -> None:
    tx = getattr(gradtx, name)(1e-2)
    step = make_step(tx)
    ours, state = params(), tx.init(params())
    theirs, plain = params(), tx.init(params())
    update, apply = jax.jit(tx.update), jax.jit(gradtx.apply_updates)
    for t in range(3):
        grads = jax.tree.map(lambda x, t=t: np.sin(x + np.float32(t)), params())
        ours, state = step(ours, state, grads)
        updates, plain = update(grads, plain, theirs)
        theirs = apply(theirs, updates)
    # Two programs may fuse, and so round, differently: a unit in the last place of 1, twice.
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6, atol=2e-7)
    chex.assert_trees_all_close(state, plain, rtol=1e-6, atol=2e-7)


def test_parameters_and_state_are_donated_and_gradients_are_not() -> None:
    tx = gradtx.adamw(1e-2)
    old, state, grads = params(), tx.init(params()), params()
    make_step(tx)(old, state, grads)
    assert all(x.is_deleted() for x in jax.tree.leaves((old, state)) if x.ndim)
    assert not any(x.is_deleted() for x in jax.tree.leaves(grads))


def test_equal_transformations_share_one_compiled_step() -> None:
    step = make_step(gradtx.adamw(1e-2, weight_decay=0.1))
    assert make_step(gradtx.adamw(0.01).replace(weight_decay=0.1)) is step
    assert make_step(gradtx.adamw(2e-2, weight_decay=0.1)) is not step
    for _ in range(2):
        tx = gradtx.adamw(1e-2, weight_decay=0.1)
        make_step(tx)(params(), tx.init(params()), params())
    assert step._cache_size() == 1


def test_a_transformation_that_cannot_be_hashed_has_a_step_too() -> None:
    class halves:
        """A function without a hash."""

        __hash__ = None

        def __call__(self, update, param):
            return -update / 2

    tx = gradtx.stateless_with_tree_map(halves())
    with pytest.raises(TypeError, match="can't be hashed"):
        hash(tx)
    moved, _ = make_step(tx)(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    np.testing.assert_array_equal(moved, [0.5, 0.5])


class scale_by_value(GradientTransformation):
    """Multiply by the loss, which it needs."""

    def update(self, updates, state: EmptyState, params=None, *, value):
        return jax.tree.map(lambda u: -u * value, updates), state


def test_extra_arguments_are_passed_by_name() -> None:
    tx = scale_by_value()
    moved, _ = make_step(tx)(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2), value=jnp.asarray(3.0))
    np.testing.assert_array_equal(moved, [-2.0, -2.0])


def test_an_optax_transformation_is_taken_as_it_is() -> None:
    tx = optax.sgd(0.5)
    moved, _ = make_step(tx)(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    np.testing.assert_array_equal(moved, [0.5, 0.5])


@pytest.mark.parametrize("make", [make_step, lambda tx: make_train_step(lambda p: p.sum(), tx)])
def test_what_is_no_transformation_is_refused(make) -> None:
    with pytest.raises(TypeError, match=r"tx must be a gradient transformation.*Call it: adamw"):
        make(gradtx.adamw)


# ---------------------------------------------------------------- make_train_step


def loss(params, x, y):
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def batch():
    x = np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(np.ones((8, 30), np.float32))


def wide_promotion():
    return jax.numpy_rank_promotion("allow")


def test_a_train_step_is_gradient_update_and_apply_updates() -> None:
    tx = gradtx.adamw(1e-2)
    with wide_promotion():
        value, grads = jax.value_and_grad(loss)(params(), *batch())
        expected, _ = make_step(tx)(params(), tx.init(params()), grads)
        moved, state, got = make_train_step(loss, tx)(params(), tx.init(params()), *batch())
        for _ in range(20):
            moved, state, after = make_train_step(loss, tx)(moved, state, *batch())
    np.testing.assert_allclose(got, value, rtol=1e-6)
    assert after < value
    assert make_train_step(loss, gradtx.adamw(1e-2)) is make_train_step(loss, tx)
    with wide_promotion():
        moved, _, _ = make_train_step(loss, tx)(params(), tx.init(params()), *batch())
    chex.assert_trees_all_close(moved, expected, rtol=1e-5)


def test_a_train_step_donates_parameters_and_state_and_keeps_the_batch() -> None:
    tx = gradtx.adamw(1e-2)
    old, state, data = params(), tx.init(params()), batch()
    with wide_promotion():
        make_train_step(loss, tx)(old, state, *data)
    assert all(x.is_deleted() for x in jax.tree.leaves((old, state)) if x.ndim)
    assert not any(x.is_deleted() for x in data)


def test_more_than_the_loss_is_returned_beside_it() -> None:
    tx = gradtx.sgd(0.1)
    step = make_train_step(lambda p: (p.sum(), {"twice": 2 * p}), tx, has_aux=True)
    moved, _, (value, aux) = step(jnp.ones(2), tx.init(jnp.ones(2)))
    assert value == 2
    np.testing.assert_array_equal(aux["twice"], [2, 2])
    np.testing.assert_allclose(moved, [0.9, 0.9])


class reads_all(GradientTransformation):
    """Descend by what a line search is given: f(p - g), f(p) and the gradient."""

    def update(self, updates, state: EmptyState, params=None, *, value, grad, value_fn):
        ahead = value_fn(gradtx.apply_updates(params, jax.tree.map(jnp.negative, grad)))
        return jax.tree.map(lambda u: u * (ahead - value), updates), state


@pytest.mark.parametrize("has_aux", [False, True])
def test_the_optimizer_gets_what_it_reads_of_the_loss(has_aux: bool) -> None:
    def square(p):
        value = jnp.sum(p * p) / 2
        return (value, p) if has_aux else value

    tx = gradtx.chain(reads_all(), gradtx.scale(1.0))
    moved, _, _ = make_train_step(square, tx, has_aux)(jnp.ones(2), tx.init(jnp.ones(2)))
    np.testing.assert_allclose(moved, [0.0, 0.0], atol=1e-7)  # f falls from 1 to 0: p + 1 · (0 - 1)


# ---------------------------------------------------------------- needless copies


def ordered(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gradtx.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def misordered(tx):
    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return gradtx.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(1, 2))


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion", "lamb", "amsgrad", "adadelta"])
def test_the_right_order_copies_nothing(name: str) -> None:
    tx = getattr(gradtx, name)(1e-2)
    tree, state = shapes(tx)
    for step in (make_step(tx), ordered(tx)):
        report = needless_copies(step, tree, state, tree)
        assert not report, report
        assert report.where == ()
        assert str(report) == "Nothing is copied needlessly."


def test_a_mis_ordered_donation_is_found_with_its_bytes_and_its_arguments() -> None:
    """DESIGN 7: XLA for CPU makes four copies per leaf, 32 bytes per parameter, and keeps two."""
    tx = gradtx.adamw(1e-2)
    tree, state = shapes(tx)
    size = sum(x.size for x in tree.values())
    report = needless_copies(misordered(tx), tree, state, tree)
    assert report
    assert report.moved == 32 * size
    assert report.temporary == pytest.approx(8 * size, rel=0.01)
    assert len(report.where) == 8
    text = str(report)
    assert "131 kB  params/w: saved before output/1/0" in text
    assert "copied into the memory of params/b" in text
    assert "state/0/denominator/1/mean/w" in text
    assert "donate_argnums=(0, 1)" in text
    assert text.index("/w") < text.index("/b")


def test_what_is_returned_unchanged_and_not_donated_is_named() -> None:
    tree, _ = shapes(gradtx.sgd(1.0))

    def step(params, grads):
        return {"w": params["w"] - grads["w"], "b": params["b"]}

    report = needless_copies(jax.jit(step), tree, tree)
    assert report.where == ("  2.05 kB  output/b: params/b, returned unchanged and not donated",)
    assert not needless_copies(jax.jit(step, donate_argnums=0), tree, tree)


def test_a_long_report_is_cut() -> None:
    tx = gradtx.adamw(1e-2)
    tree = {f"leaf{i:02}": jax.ShapeDtypeStruct((64, 64), jnp.float32) for i in range(5)}
    report = needless_copies(misordered(tx), tree, jax.eval_shape(tx.init, tree), tree)
    assert len(report.where) == 20
    assert "... and 8 more" in str(report)


def test_arrays_serve_as_well_as_shapes_and_are_not_consumed() -> None:
    tx = gradtx.adamw(1e-2)
    old, state = params(), tx.init(params())
    assert not needless_copies(make_step(tx), old, state, old)
    assert not any(x.is_deleted() for x in jax.tree.leaves((old, state)))


def test_a_train_step_copies_no_matrix() -> None:
    tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-2))
    with wide_promotion():
        report = needless_copies(make_train_step(loss, tx), params(), tx.init(params()), *batch())
    assert report.moved <= 2 * 4 * 30, report  # XLA for CPU saves the bias, which the loss reads as well


def test_a_function_that_is_not_jitted_is_refused() -> None:
    with pytest.raises(TypeError, match=r"made by jax\.jit"):
        needless_copies(lambda p: p, 1.0)


# ---------------------------------------------------------------- tied leaves


def test_tied_leaves_are_named() -> None:
    w = jnp.ones((4, 3))
    tied = {"embed": w, "head": [w]}
    grads = jax.tree.map(jnp.zeros_like, tied)
    tx = gradtx.adam(1e-2)
    words = (
        "the parameters at 'embed' and the parameters at 'head/0' are one array.*one leaf that the loss uses"
    )
    with pytest.raises(ValueError, match=words):
        make_step(tx)(tied, tx.init(tied), grads)
    with pytest.raises(ValueError, match=words):
        make_train_step(lambda p: jnp.sum(p["embed"] * p["head"][0]), tx)(tied, tx.init(tied))


def test_an_array_that_is_given_away_and_read_is_named_too() -> None:
    w, tx = {"w": jnp.ones((4, 3))}, gradtx.adam(1e-2)
    with pytest.raises(ValueError, match="the parameters at 'w' and the gradients at 'w' are one array"):
        make_step(tx)(w, tx.init(w), w)


# ---------------------------------------------------------------- what is remembered


class Big:
    """Stands for 4 MB that a function closes over."""


def _mask_over(big):
    return lambda params: jax.tree.map(lambda _: big is not None, params)


def _used(kind: str, big) -> None:
    held = gradtx.add_decoupled_weight_decay(0.1, mask=_mask_over(big))
    tx, params = gradtx.chain(held, gradtx.sgd(0.1)), {"w": jnp.ones(3)}
    if kind == "make_step":
        make_step(tx)(params, tx.init(params), {"w": jnp.ones(3)})
    elif kind == "make_train_step":
        make_train_step(lambda p: jnp.sum(p["w"]) if big else 0.0, gradtx.sgd(0.1))(
            params, tx.init(params)[1]
        )
    elif kind == "as_optax":
        pair = as_optax(tx)
        pair.update(params, pair.init(params), params)
    elif kind == "report":
        repr(tx), gradtx.explain(tx), gradtx.cite(tx), gradtx.memory_report(tx, params)
    else:
        tx.update(params, tx.init(params), params)


@pytest.mark.parametrize("kind", ["make_step", "make_train_step", "as_optax", "report", "update"])
def test_nothing_keeps_what_a_function_holds(kind: str) -> None:
    alive = []
    for _ in range(3):
        big = Big()
        alive.append(weakref.ref(big))
        _used(kind, big)
    del big
    gc.collect()
    assert [ref() for ref in alive] == [None] * 3


def test_equal_transformations_share_a_step_while_one_is_held() -> None:
    tx = gradtx.adamw(3e-2)
    assert make_step(tx) is make_step(gradtx.adamw(3e-2))
    assert as_optax(tx) is as_optax(gradtx.adamw(3e-2))
    swept = gradtx.sgd(jnp.array([0.1, 0.2]))
    assert make_step(swept) is make_step(swept)
