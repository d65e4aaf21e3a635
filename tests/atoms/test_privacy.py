"""Gradients of single examples: clipped, added up, with noise; and refused where they do not belong."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests import whole

B = 6
PARAMS = {"kernel": np.float32([[1.0, -2.0, 0.5], [0.5, 3.0, -1.0]]), "bias": np.float32([0.5, 0.25, 1.0])}


def examples(seed: int = 0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    sizes = np.logspace(-2, 2, B)  # some far below, some far above a clip at 1
    return {
        n: (rng.normal(size=(B, *p.shape)) * sizes.reshape(B, *(1,) * p.ndim)).astype(dtype)
        for n, p in sorted(PARAMS.items())
    }


clipped = jax.jit(gradtx.per_example_global_norm_clip)
clipped_by_leaf = jax.jit(gradtx.per_example_layer_norm_clip, static_argnums=2)


def by_hand(grads, clip: float):
    """Abadi et al. 2016, algorithm 1: the sum of clipped gradients, in float64."""
    total = {n: np.zeros(g.shape[1:]) for n, g in grads.items()}
    above = 0
    for i in range(B):
        one = {n: np.asarray(g[i], np.float64) for n, g in grads.items()}
        norm = np.sqrt(sum(np.sum(x**2) for x in one.values()))
        above += norm > clip
        total = {n: t + one[n] / max(1, norm / clip) for n, t in total.items()}
    return total, above


@pytest.mark.parametrize("clip", [0.5, 1e3])
def test_each_example_is_clipped_by_its_own_norm(clip: float) -> None:
    grads = examples()
    total, above = clipped(grads, clip)
    expected, count = by_hand(grads, clip)
    chex.assert_trees_all_close(total, expected, rtol=1e-6, atol=1e-6 * clip)  # a few float32 roundings
    assert int(above) == count
    assert above.dtype == jnp.int32
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs, peers = jax.jit(optax.per_example_global_norm_clip)(grads, clip)
    chex.assert_trees_all_close(total, theirs, rtol=2e-5, atol=1e-6 * clip)
    assert int(above) == int(peers)


def test_no_sum_of_clipped_gradients_is_longer_than_the_clips() -> None:
    """The promise that the noise is measured by, also where squares overflow."""
    huge = jax.tree.map(lambda g: g * np.float32(1e25), examples())
    total, above = clipped(huge, 1.0)
    assert int(above) == B
    one = jax.device_get(clipped({n: g[:1] for n, g in huge.items()}, 1.0)[0])
    assert np.sqrt(sum(np.sum(x.astype(float) ** 2) for x in one.values())) == pytest.approx(1)
    assert np.all(np.isfinite(total["kernel"]))


def test_the_extremes_of_a_clip_are_those_that_optax_documents() -> None:
    grads = [np.int32([[0, 0, 0], [0, 3, 4], [4, 0, 3], [3, 4, 0]])]
    for clip, total, above in ((np.inf, 7.0, 0), (0.0, 0.0, 3), (1.25, 1.75, 3)):
        sums, count = clipped(grads, clip)
        np.testing.assert_allclose(sums[0], total, rtol=1e-6)
        assert int(count) == above


@pytest.mark.parametrize("uniform", [True, False])
def test_leaves_share_the_clip(uniform: bool) -> None:
    grads = examples()
    total, above = clipped_by_leaf(grads, 1.0, uniform)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs, peers = jax.jit(optax.per_example_layer_norm_clip, static_argnums=2)(grads, 1.0, uniform)
    chex.assert_trees_all_close(total, theirs, rtol=2e-5, atol=1e-6)
    chex.assert_trees_all_equal(above, peers)
    share = (1 / 2 if uniform else 6 / 9) ** 0.5
    alone, _ = clipped(grads["kernel"], share)
    chex.assert_trees_all_equal(total["kernel"], alone)


def test_narrow_gradients_are_added_up_wide() -> None:
    """In bfloat16 256 ones and then ones stay 256."""
    total, _ = clipped({"w": np.ones((1000, 2), jnp.bfloat16)}, np.inf)
    assert total["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(total["w"], 1000)


def test_a_poison_is_seen() -> None:
    """What is not finite can't be clipped; it is not hidden."""
    for poison in (np.nan, np.inf):
        grads = examples()
        grads["bias"][2, 1] = poison
        total, _ = clipped(grads, 1.0)
        assert np.isnan(total["bias"][1])


# ---------------------------------------------------------------- the noise


def test_the_noise_has_the_deviation_that_it_should_in_every_leaf() -> None:
    """σ C / B, each leaf and step its own: bounds of six standard errors of 20,000 draws."""
    params = {"a": np.zeros(20_000, np.float32), "b": np.zeros(20_000, np.float32)}
    tx = gradtx.differentially_private_aggregate(2.0, 1.5, 7)
    grads, state, last = jax.tree.map(lambda p: np.stack([p] * 4), params), tx.init(params), None
    for _ in range(2):
        noise, state = jax.device_get(whole.update(tx, grads, state, params))
        for leaf in noise.values():
            assert np.std(leaf) == pytest.approx(2.0 * 1.5 / 4, rel=0.03)
            assert abs(np.mean(leaf)) < 6 * 0.75 / 20_000**0.5
        assert abs(np.corrcoef(noise["a"], noise["b"])[0, 1]) < 6 / 20_000**0.5
        if last is not None:
            assert abs(np.corrcoef(noise["a"], last["a"])[0, 1]) < 6 / 20_000**0.5
        last = noise
    first, again, other = (
        jax.jit(x.update)(grads, x.init(params), params)[0]["a"] for x in (tx, tx, tx.replace(key=8))
    )
    chex.assert_trees_all_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_without_noise_it_is_gradient_descent_on_the_clipped_mean() -> None:
    tx = gradtx.dpsgd(0.1, 1.0, 0.0, 0, momentum=0.9, nesterov=True)
    plain = gradtx.sgd(0.1, 0.9, nesterov=True)
    with pytest.warns(DeprecationWarning, match="seed"):
        peer = optax.contrib.dpsgd(0.1, 1.0, 0.0, 0, momentum=0.9, nesterov=True)
    stream = [examples(seed) for seed in range(4)]
    means = [jax.tree.map(lambda t: np.float32(t / B), by_hand(grads, 1.0)[0]) for grads in stream]
    params, _ = whole.end(tx, PARAMS, whole.stack(stream))
    mine, _ = whole.end(plain, PARAMS, whole.stack(means))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        peers, _ = whole.end(peer, PARAMS, whole.stack(stream))
    chex.assert_trees_all_close(params, mine, rtol=1e-6)
    chex.assert_trees_all_close(params, peers, rtol=2e-5)


# ---------------------------------------------------------------- where such gradients may go


def test_a_training_step_takes_gradients_by_vmap() -> None:
    def loss(params, x):
        return jnp.sum((x @ params["kernel"].T) ** 2) + jnp.sum(params["bias"] ** 2)

    tx = gradtx.tunable(
        gradtx.chain(gradtx.dpsgd(gradtx.linear_schedule(0.1, 0.0, 9), 1.0, 0.1, 0)), "l2_norm_clip"
    )
    step, state = gradtx.make_step(tx), tx.init(PARAMS)
    grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(PARAMS, np.ones((B, 3), np.float32))
    params, after = step(jax.tree.map(jnp.asarray, PARAMS), state, grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, PARAMS)
    assert float(gradtx.hyperparams(after)["dpsgd.l2_norm_clip"]) == 1.0


def _with(tx):
    return {
        "named_chain": gradtx.named_chain(("private", tx), ("rest", gradtx.trace(0.9))),
        "with_extra_args_support": gradtx.with_extra_args_support(tx),
        "tunable": gradtx.tunable(tx),
    }


@pytest.mark.parametrize("name", ["named_chain", "tunable", "with_extra_args_support"])
def test_what_hands_its_updates_on_takes_them(name: str) -> None:
    tx = _with(gradtx.dpsgd(0.1, 1.0, 0.1, 0))[name]
    updates, _ = whole.update(tx, examples(), tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS)


@pytest.mark.parametrize(
    "around",
    [
        lambda tx: gradtx.accumulate(tx, 2),
        lambda tx: gradtx.apply_if_finite(tx, 2),
        lambda tx: gradtx.chain(gradtx.clip_by_global_norm(1.0), tx),
        lambda tx: gradtx.masked(tx, "kernel"),
    ],
)
def test_what_would_mix_examples_before_the_clip_refuses_them(around) -> None:
    tx = around(gradtx.dpsgd(0.1, 1.0, 0.1, 0))
    with pytest.raises(ValueError, match=r"differs from the parameters' at .*bias.*: shape \(6, 3\) against"):
        tx.update(examples(), tx.init(PARAMS), PARAMS)


def test_gradients_without_examples_are_refused_with_their_path() -> None:
    tx = gradtx.dpsgd(0.1, 1.0, 0.1, 0)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"dpsgd: the leaf at 'kernel' has 2 examples, not 3 as 'bias'"):
        tx.update(PARAMS, state, PARAMS)
    square = {"w": jnp.ones((3, 3))}
    with pytest.raises(ValueError, match=r"dpsgd: the updates' tree differs from the parameters' at 'w'"):
        tx.update(square, tx.init(square), square)
    with pytest.raises(ValueError, match="the leaf at the root has no axis"):
        tx.update(jnp.ones(()), tx.init(jnp.ones(())), jnp.ones(()))
    short = examples() | {"kernel": examples()["kernel"][:2]}
    with pytest.raises(ValueError, match=r"'kernel' has 2 examples"):
        gradtx.per_example_global_norm_clip(short, 1.0)
