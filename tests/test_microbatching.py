"""A batch in parts: what comes out is what the whole batch gives, at the memory of a part."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

X = jnp.arange(24.0).reshape(8, 3)
W = jnp.asarray([0.5, -1.0, 2.0])


def fun(w, x, *, scale=1.0):
    y = x @ w * scale
    return {"rows": y, "total": jnp.sum(y**2), "grad": jax.grad(lambda v: jnp.mean((x @ v) ** 2))(w)}


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_sums_means_and_rows_are_those_of_the_whole_batch(size: int) -> None:
    kinds = {"rows": "concat", "total": "sum", "grad": "mean"}
    found = jax.jit(gradtx.microbatch(fun, 1, size, kinds))(W, X)
    chex.assert_trees_all_close(found, fun(W, X), rtol=1e-6)


@pytest.mark.parametrize("kind", ["SUM", "MEAN", "RUNNING_MEAN", "CONCAT"])
def test_agrees_with_optax_in_its_own_words(kind: str) -> None:
    kind = optax.microbatching.AccumulationType[kind]
    ours = gradtx.microbatch(lambda w, x: x @ w, 1, 2, kind)(W, X)
    with jax.numpy_dtype_promotion("standard"):
        theirs = optax.microbatch(lambda w, x: x @ w, 1, 2, kind)(W, X)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)


def test_the_parts_are_interleaved_as_in_optax() -> None:
    """Rows i, i + n, ...: a batch that is divided between devices stays divided."""
    seen = gradtx.microbatch(lambda x: x[:, 0], 0, 2, "sum")(jnp.arange(8.0)[:, None])
    np.testing.assert_array_equal(seen, [0 + 1 + 2 + 3, 4 + 5 + 6 + 7])
    theirs = optax.microbatch(lambda x: x[:, 0], 0, 2)(jnp.arange(8.0)[:, None])
    np.testing.assert_array_equal(seen, theirs)


def test_a_divided_batch_stays_divided() -> None:
    """Each of eight devices takes its rows of every micro-batch: none is sent to another."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x = jax.device_put(jnp.arange(32.0 * 3).reshape(32, 3), rows)
    step = jax.jit(gradtx.microbatch(lambda w, x: jnp.tanh(x @ w), 1, 8, "concat"), out_shardings=rows)
    text = step.lower(W, x).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    np.testing.assert_allclose(step(W, x), jnp.tanh(x @ W), rtol=1e-5)


def test_arguments_by_name_and_other_axes() -> None:
    def apply(x, *, weights):
        return jnp.sum(x["a"] * weights[:, None])

    batch = {"a": X.T}
    found = gradtx.microbatch(lambda b, *, weights: apply({"a": b["a"].T}, weights=weights), 0, 4,
                              argnames="weights", in_axes=(1, 0))(batch, weights=X[:, 0])  # fmt: skip
    assert float(found) == pytest.approx(float(apply({"a": X}, weights=X[:, 0])), rel=1e-6)


def test_narrow_sums_do_not_stall_where_optaxs_do() -> None:
    """512 ones in bfloat16: 256 and one more is 256."""
    ones = jnp.ones((512, 1), jnp.bfloat16)
    for kind, right in (("sum", 512.0), ("mean", 1.0), ("running_mean", 1.0)):
        found = gradtx.microbatch(lambda x: x[0, 0], 0, 1, kind)(ones)
        assert found.dtype == jnp.bfloat16
        assert float(found) == right
    assert float(optax.microbatch(lambda x: x[0, 0], 0, 1)(ones)) == 256


def test_it_may_stop_early_without_another_compilation() -> None:
    @jax.jit
    @chex.assert_max_traces(1)
    def run(x, count):
        parts = gradtx.microbatch(lambda x: jnp.mean(x), 0, 2, "running_mean", num_real_microbatches=count)
        return parts(x)

    assert float(run(X, 4)) == pytest.approx(float(jnp.mean(X)))
    assert float(run(X, 1)) == pytest.approx(float(jnp.mean(X[::4])))


def test_a_fold_of_ones_own() -> None:
    largest = gradtx.Accumulator(
        lambda like: jnp.full(like.shape, -jnp.inf, like.dtype),
        lambda m, x, i: jnp.maximum(m, x),
        lambda m: m,
    )
    assert float(gradtx.microbatch(jnp.max, 0, 2, largest)(X)) == 23


def test_it_can_be_differentiated_and_needs_less_memory() -> None:
    def loss(w, x):
        return jnp.sum(jnp.tanh(x[:, None] * w[None]) ** 2)

    x = X[:, 0] / 20
    whole = jax.grad(loss)(W, x)
    parts = jax.grad(gradtx.microbatch(loss, 1, 2))(W, x)
    chex.assert_trees_all_close(parts, whole, rtol=1e-5)

    wide, rows = jnp.ones((64, 64)), jnp.ones((4096, 64))

    def net(w, x):
        return jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w))

    def temporary(f):
        return jax.jit(f).lower(wide, rows).compile().memory_analysis().temp_size_in_bytes

    grad = jax.grad(net)
    assert temporary(gradtx.microbatch(grad, 1, 256)) < temporary(grad) / 3


def test_what_does_not_fit_is_refused() -> None:
    assert gradtx.microbatch(fun, 1, None) is fun
    with pytest.raises(ValueError, match=r"microbatch_size=3\): it does not divide the batch's size, 8"):
        gradtx.microbatch(fun, 1, 3)(W, X)
    with pytest.raises(ValueError, match=r"must be of one size; they are of \[3, 8\]"):
        gradtx.microbatch(fun, (0, 1), 1)(W, X)
    with pytest.raises(TypeError, match="Did you mean 'mean'"):
        gradtx.microbatch(fun, 1, 2, "maen")(W, X)
    with pytest.raises(TypeError, match="a mean is of floating-point numbers, not of int32"):
        gradtx.microbatch(lambda x: x, 0, 2, "mean")(jnp.arange(8))
    np.testing.assert_array_equal(gradtx.microbatch(lambda x: x, 0, 2)(jnp.arange(8)), [6, 22])
