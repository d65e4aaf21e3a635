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
    chex.assert_trees_all_close(found, jax.jit(fun)(W, X), rtol=1e-6)


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
    whole = jax.jit(jax.grad(loss))(W, x)
    parts = jax.jit(jax.grad(gradtx.microbatch(loss, 1, 2)))(W, x)
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
    with pytest.raises(ValueError, match=r"microbatch_size=3\): the batch's size, 8, is not divisible by it"):
        gradtx.microbatch(fun, 1, 3)(W, X)
    with pytest.raises(ValueError, match=r"must be of one size; they are of \[3, 8\]"):
        gradtx.microbatch(fun, (0, 1), 1)(W, X)
    with pytest.raises(TypeError, match="Did you mean 'mean'"):
        gradtx.microbatch(fun, 1, 2, "maen")(W, X)
    with pytest.raises(TypeError, match="a mean is of floating-point numbers, not of int32"):
        gradtx.microbatch(lambda x: x, 0, 2, "mean")(jnp.arange(8))
    np.testing.assert_array_equal(gradtx.microbatch(lambda x: x, 0, 2)(jnp.arange(8)), [6, 22])


def test_what_is_not_there_or_too_much_is_refused() -> None:
    def parts(**options):
        return gradtx.microbatch(fun, **{"argnums": 1, "microbatch_size": 2, "accumulator": "sum", **options})

    with pytest.raises(ValueError, match=r"num_real_microbatches=5\): there are 4 micro-batches of 2 rows"):
        parts(num_real_microbatches=5)(W, X)
    with pytest.raises(ValueError, match=r"microbatch_size=0\): expected a whole number of rows, at least 1"):
        parts(microbatch_size=0)(W, X)
    with pytest.raises(TypeError, match="the argument at position 2 has a batch axis; 2 are given"):
        parts(argnums=2)(W, X)
    with pytest.raises(TypeError, match="the argument 'y' has a batch axis and is not given by name"):
        parts(argnames="y")(W, X)
    with pytest.raises(ValueError, match=r"in_axes=\(0, 1\)\): expected one batch axis for all, or one for"):
        parts(in_axes=(0, 1))
    with pytest.raises(ValueError, match=r"an argument of shape \(8, 3\) has no batch axis 2"):
        parts(in_axes=2)(W, X)
    with pytest.raises(TypeError, match="'concat' puts rows together, and a result has no axis of rows"):
        gradtx.microbatch(jnp.sum, 0, 2, "concat")(X)
    # As an array it is known when the program runs: what is beyond the batch is not taken a second time.
    assert float(gradtx.microbatch(jnp.sum, 0, 2, num_real_microbatches=jnp.asarray(9))(X)) == 276


def test_an_axis_may_be_counted_from_the_end() -> None:
    found = gradtx.microbatch(lambda x: jnp.sum(x, 1), 0, 2, in_axes=-1)(X.T)
    np.testing.assert_allclose(found, X.sum(0), rtol=1e-6)


def test_explicit_sharding() -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.arange(32.0 * 3).reshape(32, 3), jax.P("data"))
        for kind, run in (("concat", lambda x: jnp.tanh(x[:, 0])), ("sum", lambda x: jnp.sum(x, 0))):
            found = jax.jit(gradtx.microbatch(run, 0, 8, kind))(x)
            assert jax.typeof(found).sharding.spec == jax.typeof(run(x)).sharding.spec
            np.testing.assert_allclose(found, run(x), rtol=1e-6)
        assert jax.typeof(gradtx.reshape_batch_axis(x, 8)).sharding.spec == jax.P(None, "data", None)


# ---------------------------------------------------------------- row by row


def row(x, y):
    return {"dot": x @ y, "both": x + y}


@pytest.mark.parametrize("size", [None, 1, 4, 8])
def test_micro_vmap_is_vmap(size: int | None) -> None:
    y = jnp.flip(X)
    found = jax.jit(gradtx.micro_vmap(row, microbatch_size=size))(X, y)
    chex.assert_trees_all_close(found, jax.vmap(row)(X, y), rtol=1e-6)
    # Axes of their own, an argument without one, and one by name.
    run = gradtx.micro_vmap(lambda w, x, *, y: row(x * w, y), (None, -1), microbatch_size=size)
    found = jax.jit(run)(W, X.T, y=y)
    chex.assert_trees_all_close(found, jax.vmap(row)(X * W[None], y), rtol=1e-6)


@pytest.mark.parametrize("size", [None, 2, 8])
@pytest.mark.parametrize("kind", ["SUM", "MEAN", "RUNNING_MEAN", "CONCAT"])
def test_micro_vmap_agrees_with_optax(kind: str, size: int | None) -> None:
    options = {"microbatch_size": size, "accumulator": optax.microbatching.AccumulationType[kind]}
    ours = jax.jit(gradtx.micro_vmap(row, (0, 0), **options))(X, X**2)
    with jax.numpy_dtype_promotion("standard"):
        theirs = jax.jit(optax.microbatching.micro_vmap(row, (0, 0), **options))(X, X**2)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(ours, theirs)


def test_rows_are_counted_in_whole_numbers_and_added_in_float32() -> None:
    """As `jnp.sum` and `jnp.mean` do; and a narrow sum is rounded once, not once a micro-batch."""

    def total(x, kind="sum", size=64):
        return gradtx.micro_vmap(lambda x: x, accumulator=kind, microbatch_size=size)(x)

    right = total(jnp.ones(256, bool))
    assert right == 256
    assert right.dtype == jnp.int32
    assert float(total(jnp.arange(256) < 64, "mean")) == 0.25
    ones = jnp.ones(512, jnp.bfloat16)
    for kind, expected in (("sum", 512), ("mean", 1), ("running_mean", 1)):
        found = total(ones, kind, size=1)
        assert found.dtype == jnp.bfloat16
        assert float(found) == expected
    # 257, the sum of the first micro-batch, is none of bfloat16's numbers.
    assert float(total(jnp.asarray([256, 1, 1, 0], jnp.bfloat16), size=2)) == 258
    sums = {"microbatch_size": 1, "accumulator": optax.microbatching.AccumulationType.SUM}
    assert float(optax.microbatching.micro_vmap(lambda x: x, **sums)(ones)) == 256


def test_vmap_with_arguments_of_its_own() -> None:
    def total(x):
        return x / jax.lax.psum(x, "rows")

    def named(fun, in_axes, out_axes):
        return jax.vmap(fun, in_axes, out_axes, axis_name="rows")

    found = gradtx.micro_vmap(total, vmap_fn=named, microbatch_size=8)(X[:, 1])
    np.testing.assert_allclose(found, X[:, 1] / X[:, 1].sum(), rtol=1e-6)


def test_a_fold_over_rows_says_how_they_become_one() -> None:
    init, update, finalize, aggregate = (
        lambda like: jnp.full(like.shape, -jnp.inf, like.dtype),
        lambda m, x, i: jnp.maximum(m, x),
        lambda m: m,
        lambda rows: jnp.max(rows, 0),
    )
    for kind in (gradtx.Accumulator, optax.microbatching.Accumulator):
        largest = kind(init, update, finalize, aggregate)
        for size in (None, 2):
            found = gradtx.micro_vmap(jnp.sum, accumulator=largest, microbatch_size=size)(X)
            assert float(found) == 21 + 22 + 23
    with pytest.raises(TypeError, match=r"(?s)micro_vmap: Accumulator.* has no aggregate"):
        gradtx.micro_vmap(jnp.sum, accumulator=gradtx.Accumulator(init, update, finalize))(X)


def test_micro_vmap_refuses_what_it_does_not_understand() -> None:
    with pytest.raises(TypeError, match=r"in_axes=\(0,\)\): expected an axis or None for each of the 2"):
        gradtx.micro_vmap(row, (0,))(X, X)
    with pytest.raises(ValueError, match=r"in_axes=\(None, None\)\): no argument has a batch axis"):
        gradtx.micro_vmap(row, (None, None))(X, X)
    with pytest.raises(NotImplementedError, match=r"out_axes=1\): expected 0"):
        gradtx.micro_vmap(row, out_axes=1)
    with pytest.raises(ValueError, match=r"micro_vmap\(microbatch_size=3\): the batch's size, 8, is not"):
        gradtx.micro_vmap(row, microbatch_size=3)(X, X)
    with pytest.raises(TypeError, match=r"micro_vmap: expected an accumulator .* Did you mean 'concat'"):
        gradtx.micro_vmap(row, accumulator="concta")(X, X)


def loss(w, x, y):
    assert x.ndim == 2, "a batch, of one row or of many"
    return jnp.mean((x @ w - y) ** 2)


@pytest.mark.parametrize("size", [None, 2, 8])
def test_micro_grad_is_the_gradient_of_the_whole_batch(size: int | None) -> None:
    y = X[:, 0] + 1
    run = gradtx.micro_grad(loss, batch_argnums=(1, 2), microbatch_size=size, accumulator="mean")
    grads, each = jax.jit(run)(W, X, y)
    np.testing.assert_allclose(grads, jax.grad(loss)(W, X, y), rtol=1e-5)
    np.testing.assert_allclose(each.values, (X @ W - y) ** 2, rtol=1e-5)
    assert each.aux is None
    assert each.metrics is None


@pytest.mark.parametrize("size", [None, 2, 8])
@pytest.mark.parametrize("keep", [True, False])
def test_micro_grad_agrees_with_optax(size: int | None, keep: bool) -> None:
    def fun(w, x, more, y):
        error = jnp.atleast_2d(x) @ w["a"] * w["b"] - y
        return jnp.mean(error**2), {"error": error * more}

    w, y = {"a": W, "b": jnp.float32(0.5)}, X[:, 0]

    def run(library, kinds):
        grads = library.micro_grad(
            fun,
            has_aux=True,
            batch_argnums=(1, 3),
            keep_batch_dim=keep,
            microbatch_size=size,
            accumulator=kinds,
            transform_fn=lambda g: (g, jax.tree.map(jnp.square, g)),
            metrics_fn=lambda g: jnp.linalg.norm(g["a"]),
        )
        return jax.jit(grads)(w, X, jnp.float32(2.0), y)

    kinds = optax.microbatching.AccumulationType
    with jax.numpy_dtype_promotion("standard"):
        theirs = run(optax.microbatching, (kinds.SUM, kinds.MEAN))
    ours = run(gradtx, ("sum", "mean"))
    chex.assert_trees_all_close(tuple(ours[1]), tuple(theirs[1]), rtol=1e-5)
    chex.assert_trees_all_close(ours[0], theirs[0], rtol=1e-5)


def test_clipping_each_row_is_what_private_learning_does() -> None:
    def clipped(grads):
        return gradtx.clip_by_global_norm(20.0).update(grads, gradtx.EmptyState())[0]

    y = X[:, 0]
    run = gradtx.micro_grad(loss, batch_argnums=(1, 2), microbatch_size=2, transform_fn=clipped)
    rows = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(W, X[:, None], y[:, None])
    whole, above = gradtx.per_example_global_norm_clip(rows, 20.0)
    assert 0 < int(above) < 8
    np.testing.assert_allclose(jax.jit(run)(W, X, y)[0], whole, rtol=1e-5)


def test_micro_grad_takes_arguments_after_the_batch_and_by_name() -> None:
    """Optax's refuses arguments that come after the last with a batch axis."""

    def fun(w, x, scale, *, weight):
        return scale * weight * jnp.sum(x @ w)

    weight = jnp.arange(8.0)
    grads, each = gradtx.micro_grad(fun, microbatch_size=4)(W, X, 2.0, weight=weight)
    np.testing.assert_allclose(grads, 2 * weight @ X, rtol=1e-6)
    assert each.values.shape == (8,)
    with pytest.raises(
        TypeError, match="micro_grad: the argument at position 3 has a batch axis; 2 are given"
    ):
        gradtx.micro_grad(loss, batch_argnums=3)(W, X)


def test_rows_that_are_not_run_count_for_nothing() -> None:
    def run(count):
        return gradtx.micro_grad(
            lambda c, x: c * x.sum(),
            microbatch_size=4,
            num_real_microbatches=count,
            accumulator="running_mean",
        )(2.0, jnp.arange(16.0))

    for count in (3, jnp.asarray(3)):
        grads, each = run(count)
        rows = np.arange(16) % 4 < 3
        assert float(grads) == pytest.approx(np.arange(16.0)[rows].mean())
        np.testing.assert_array_equal(each.values, 2 * np.arange(16) * rows)


def test_rows_gradients_exist_for_one_micro_batch_at_a_time() -> None:
    w, rows = jnp.ones((64, 64)), jnp.ones((512, 64))

    def net(w, x):
        return jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w))

    def temporary(size):
        run = gradtx.micro_grad(net, microbatch_size=size, transform_fn=jnp.square)
        return jax.jit(run).lower(w, rows).compile().memory_analysis().temp_size_in_bytes

    assert temporary(16) < temporary(None) / 8


def test_the_batch_axis_as_two() -> None:
    tree = {"x": X, "y": jnp.arange(8)}
    found = gradtx.reshape_batch_axis(tree, 2)
    np.testing.assert_array_equal(found["y"], [[0, 4], [1, 5], [2, 6], [3, 7]])
    chex.assert_trees_all_equal(found, optax.microbatching.reshape_batch_axis(tree, 2))
    chex.assert_trees_all_equal(
        gradtx.reshape_batch_axis(X.T, 4, 1), optax.microbatching.reshape_batch_axis(X.T, 4, 1)
    )
    chex.assert_trees_all_equal(gradtx.reshape_batch_axis(X.T, 4, -1), gradtx.reshape_batch_axis(X.T, 4, 1))
    with pytest.raises(
        ValueError, match=r"microbatch_size=3\): the batch's size of 'x', 8, is not divisible"
    ):
        gradtx.reshape_batch_axis(tree, 3)
    with pytest.raises(ValueError, match=r"the leaf at 'y' of shape \(8,\) has no batch axis 1"):
        gradtx.reshape_batch_axis(tree, 3, 1)
