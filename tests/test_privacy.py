"""Gradients of single examples: clipped, added up, with noise; and refused where they do not belong."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

B = 6
PARAMS = {"kernel": jnp.asarray([[1.0, -2.0, 0.5], [0.5, 3.0, -1.0]]), "bias": jnp.asarray([0.5, 0.25, 1.0])}


def examples(seed: int = 0, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 2)
    sizes = jnp.logspace(-2, 2, B)  # some far below, some far above a clip at 1
    return {
        n: (jax.random.normal(k, (B, *p.shape)) * sizes.reshape(B, *(1,) * p.ndim)).astype(dtype)
        for k, (n, p) in zip(keys, sorted(PARAMS.items()), strict=True)
    }


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
    total, above = gradtx.per_example_global_norm_clip(grads, clip)
    expected, count = by_hand(grads, clip)
    chex.assert_trees_all_close(total, expected, rtol=1e-6, atol=1e-6 * clip)  # a few float32 roundings
    assert above == count
    assert above.dtype == jnp.int32
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs, peers = optax.per_example_global_norm_clip(grads, clip)
    chex.assert_trees_all_close(total, theirs, rtol=2e-5, atol=1e-6 * clip)
    assert above == peers


def test_no_sum_of_clipped_gradients_is_longer_than_the_clips() -> None:
    """The promise that the noise is measured by, also where squares overflow."""
    huge = jax.tree.map(lambda g: g * 1e25, examples())
    total, above = gradtx.per_example_global_norm_clip(huge, 1.0)
    assert above == B
    one = {n: g[:1] for n, g in huge.items()}
    assert float(gradtx.tree.global_norm(gradtx.per_example_global_norm_clip(one, 1.0)[0])) == pytest.approx(
        1
    )
    assert np.all(np.isfinite(total["kernel"]))


def test_the_extremes_of_a_clip_are_those_that_optax_documents() -> None:
    grads = [jnp.array([[0, 0, 0], [0, 3, 4], [4, 0, 3], [3, 4, 0]])]
    for clip, total, above in ((jnp.inf, 7.0, 0), (0.0, 0.0, 3), (1.25, 1.75, 3)):
        sums, count = gradtx.per_example_global_norm_clip(grads, clip)
        np.testing.assert_allclose(sums[0], total, rtol=1e-6)
        assert count == above


@pytest.mark.parametrize("uniform", [True, False])
def test_leaves_share_the_clip(uniform: bool) -> None:
    grads = examples()
    total, above = gradtx.per_example_layer_norm_clip(grads, 1.0, uniform)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs, peers = optax.per_example_layer_norm_clip(grads, 1.0, uniform)
    chex.assert_trees_all_close(total, theirs, rtol=2e-5, atol=1e-6)
    chex.assert_trees_all_equal(above, peers)
    share = (1 / 2 if uniform else 6 / 9) ** 0.5
    alone, _ = gradtx.per_example_global_norm_clip(grads["kernel"], share)
    chex.assert_trees_all_equal(total["kernel"], alone)


def test_narrow_gradients_are_added_up_wide() -> None:
    """In bfloat16 256 ones and then ones stay 256."""
    total, _ = gradtx.per_example_global_norm_clip({"w": jnp.ones((1000, 2), jnp.bfloat16)}, jnp.inf)
    assert total["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(total["w"], 1000)


def test_a_poison_is_seen() -> None:
    """What is not finite can't be clipped; it is not hidden."""
    for poison in (jnp.nan, jnp.inf):
        grads = examples() | {"bias": examples()["bias"].at[2, 1].set(poison)}
        total, _ = gradtx.per_example_global_norm_clip(grads, 1.0)
        assert np.isnan(total["bias"][1])


# ---------------------------------------------------------------- the noise


def test_the_noise_has_the_deviation_that_it_should_in_every_leaf() -> None:
    """σ C / B, each leaf and step its own: bounds of six standard errors of 20,000 draws."""
    params = {"a": jnp.zeros(20_000), "b": jnp.zeros(20_000)}
    tx = gradtx.differentially_private_aggregate(2.0, 1.5, 7)
    grads, state, last = jax.tree.map(lambda p: jnp.zeros((4, *p.shape)), params), tx.init(params), None
    update = jax.jit(tx.update)
    for _ in range(2):
        noise, state = update(grads, state, params)
        for leaf in noise.values():
            assert float(jnp.std(leaf)) == pytest.approx(2.0 * 1.5 / 4, rel=0.03)
            assert abs(float(jnp.mean(leaf))) < 6 * 0.75 / 20_000**0.5
        assert abs(np.corrcoef(noise["a"], noise["b"])[0, 1]) < 6 / 20_000**0.5
        if last is not None:
            assert abs(np.corrcoef(noise["a"], last["a"])[0, 1]) < 6 / 20_000**0.5
        last = noise
    first, again, other = (
        jax.jit(x.update)(grads, x.init(params), params)[0]["a"] for x in (tx, tx, tx.replace(key=8))
    )
    chex.assert_trees_all_equal(first, again)
    assert not jnp.allclose(first, other, atol=1e-3)


def test_without_noise_it_is_gradient_descent_on_the_clipped_mean() -> None:
    tx = gradtx.dpsgd(0.1, 1.0, 0.0, 0, momentum=0.9, nesterov=True)
    plain = gradtx.sgd(0.1, 0.9, nesterov=True)
    state, reference, params, mine = tx.init(PARAMS), plain.init(PARAMS), PARAMS, PARAMS
    with pytest.warns(DeprecationWarning, match="seed"):
        peer = optax.contrib.dpsgd(0.1, 1.0, 0.0, 0, momentum=0.9, nesterov=True)
    theirs, peers = peer.init(PARAMS), PARAMS
    step = jax.jit(tx.update)
    for seed in range(4):
        updates, state = step(examples(seed), state, params)
        params = gradtx.apply_updates(params, updates)
        mean = jax.tree.map(lambda t: jnp.asarray(t / B, jnp.float32), by_hand(examples(seed), 1.0)[0])
        updates, reference = plain.update(mean, reference, mine)
        mine = gradtx.apply_updates(mine, updates)
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            updates, theirs = peer.update(examples(seed), theirs, peers)
            peers = optax.apply_updates(peers, updates)
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
    grads = jax.vmap(jax.grad(loss), (None, 0))(PARAMS, jnp.ones((B, 3)))
    params, after = step(jax.tree.map(jnp.copy, PARAMS), state, grads)
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
    updates, _ = tx.update(examples(), tx.init(PARAMS), PARAMS)
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
    with pytest.raises(
        ValueError, match=r"dpsgd: the leaf at \['kernel'\] has 2 examples, not 3 as \['bias'\]"
    ):
        tx.update(PARAMS, state, PARAMS)
    square = {"w": jnp.ones((3, 3))}
    with pytest.raises(ValueError, match=r"dpsgd: the updates' tree differs from the parameters' at \['w'\]"):
        tx.update(square, tx.init(square), square)
    with pytest.raises(ValueError, match="the leaf at the root has no axis"):
        tx.update(jnp.ones(()), tx.init(jnp.ones(())), jnp.ones(()))
    short = examples() | {"kernel": examples()["kernel"][:2]}
    with pytest.raises(ValueError, match=r"\['kernel'\] has 2 examples"):
        gradtx.per_example_global_norm_clip(short, 1.0)
