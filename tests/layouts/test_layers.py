"""Stacked layers: a scanned model is trained as the unrolled one is."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import gradtx
from gradtx import chain, layerwise, per_layer
from gradtx.layouts.rebuilt import rebuilt
from tests import whole
from tests.compiling import AS_BY_DEFAULT

LAYERS, WIDTH, TOKENS = 3, 8, 11


class Block(nn.Module):
    """A transformer's layer: attention and a small network, each behind a norm and a shortcut."""

    @nn.compact
    def __call__(self, x, _=None):
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="attention")(nn.LayerNorm(name="norm1")(x))
        hidden = nn.gelu(nn.Dense(2 * WIDTH, name="up")(nn.LayerNorm(name="norm2")(x)))
        return x + nn.Dense(WIDTH, name="down")(hidden), None


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(TOKENS, WIDTH, name="embed")(tokens)
        stack = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=LAYERS)
        x, _ = stack(name="blocks")(x, None)
        return nn.Dense(TOKENS, name="head")(x)


class Unrolled(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(TOKENS, WIDTH, name="embed")(tokens)
        for i in range(LAYERS):
            x, _ = Block(name=f"blocks{i}")(x)
        return nn.Dense(TOKENS, name="head")(x)


def unroll(params):
    layers = {f"blocks{i}": jax.tree.map(lambda x, i=i: x[i], params["blocks"]) for i in range(LAYERS)}
    return {k: v for k, v in params.items() if k != "blocks"} | layers


BATCH = np.random.default_rng(0).integers(0, TOKENS, (4, 6)).astype(np.int32)


@functools.cache
def gradient(model):
    # The keys' biases move no logit: what Adam follows there is rounding.
    @functools.partial(jax.jit, compiler_options=AS_BY_DEFAULT)
    @jax.grad
    def of_loss(params, tokens):
        logits = model.apply({"params": params}, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    return of_loss


def train(model, params, tx, steps=4):
    state, step = whole.init(tx, params), gradtx.make_step(tx)
    params = jax.tree.map(jnp.asarray, params)
    for _ in range(steps):
        params, state = step(params, state, gradient(model)(params, BATCH))
    return jax.device_get(params)


@pytest.fixture(scope="module")
def start():
    return jax.device_get(jax.jit(Scanned().init)(jax.random.key(0), BATCH[:, :-1])["params"])


LAMB = chain(gradtx.clip_by_global_norm(1.0), gradtx.lamb(1e-2, weight_decay=0.01, mask="kernel$"))


def test_a_scanned_transformer_takes_the_steps_of_the_unrolled_one(start) -> None:
    scanned = train(Scanned(), start, per_layer(LAMB, "^blocks/"))
    unrolled = train(Unrolled(), unroll(start), LAMB)
    # The two programs sum in another order; Adam's first steps amplify that where a gradient is small.
    chex.assert_trees_all_close(unroll(scanned), unrolled, rtol=1e-3, atol=2e-5)
    mixed = train(Scanned(), start, LAMB)
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), unroll(mixed), unrolled)
    assert max(jax.tree.leaves(apart)) > 1e-3, "without per_layer the layers are mixed"


def random(seed, dtype=np.float32, **shapes):
    rng = np.random.default_rng(seed)
    return {k: np.asarray(rng.normal(size=s), dtype) for k, s in shapes.items()}


def by_layer(tree, stacked):
    """Stacked leaves as a tuple of their layers."""
    return {k: tuple(v) if k in stacked else v for k, v in tree.items()}


SHAPES = {"w": (3, 4, 5), "b": (3, 4), "gain": (3,), "w2": (2, 4, 5), "head": (4, 5)}
STACKED = {"w", "b", "gain", "w2"}
RULE = "^(w|b|gain|w2)$"
PARTS = {
    "trust ratio": gradtx.scale_by_trust_ratio(),
    "block clip": gradtx.clip_by_block_rms(0.3),
    "unit clip": gradtx.adaptive_grad_clip(0.1),
    "leaf spikes": gradtx.leafwise_zclip(0.1, warmup_steps=1),
    "stable adamw": gradtx.stable_adamw(0.1),
    "lars": gradtx.lars(0.1, weight_decay=0.1),
    "lamb": gradtx.lamb(0.1),
    "clip and lamb": chain(gradtx.clip_by_global_norm(0.5), gradtx.lamb(0.1)),
    "masked": gradtx.masked(gradtx.clip_by_block_rms(0.3), "^w"),
    "partition": gradtx.partition(
        {"clipped": chain(gradtx.clip_by_block_rms(0.3), gradtx.trace(0.9)), "plain": gradtx.sgd(0.1)},
        gradtx.by_path(("^w", "clipped"), ("", "plain")),
    ),
    "scheduled clip": gradtx.clip_by_block_rms(gradtx.linear_schedule(0.5, 0.1, 3)),
}


@pytest.mark.parametrize("name", PARTS)
def test_equals_the_unstacked_result(name: str) -> None:
    tx = PARTS[name]
    stacked_tx = per_layer(tx, RULE)
    with jax.enable_x64(True):
        params = random(0, np.float64, **SHAPES)
        apart = by_layer(params, STACKED)
        # One by one: the layers have few operations between them, and a program would unroll them.
        state, by_leaf = stacked_tx.init(params), tx.init(apart)
        for seed in (1, 2):
            grads = random(seed, np.float64, **SHAPES)
            updates, state = stacked_tx.update(grads, state, params)
            expected, by_leaf = tx.update(by_layer(grads, STACKED), by_leaf, apart)
            # The same sums, in another order; in float64, because two steps of momentum may cancel.
            chex.assert_trees_all_close(by_layer(jax.device_get(updates), STACKED), expected, rtol=1e-12)


class factored(gradtx.GradientTransformation):
    """Keeps the mean of each row's squares: a state that is smaller than its leaf."""

    reach = gradtx.Reach.LEAF

    def init(self, params):
        return {"rows": jax.tree.map(lambda p: jnp.zeros(p.shape[:1]), params)}

    def update(self, updates, state, params=None):
        rows = jax.tree.map(
            lambda r, u: r + jnp.mean(u**2, axis=tuple(range(1, u.ndim))), state["rows"], updates
        )
        scaled = jax.tree.map(
            lambda u, r: u / jnp.sqrt(r).reshape(r.shape + (1,) * (u.ndim - 1)), updates, rows
        )
        return scaled, {"rows": rows}


def test_a_state_of_another_shape_is_kept_by_layer() -> None:
    params = random(0, w=(3, 4, 5), head=(4, 5))
    tx, apart = per_layer(factored(), "^w$"), by_layer(params, {"w"})
    state, by_leaf = tx.init(params), factored().init(apart)
    assert state["rows"]["w"].shape == (3, 4)
    assert state["rows"]["head"].shape == (4,)
    for seed in (1, 2):
        grads = random(seed, w=(3, 4, 5), head=(4, 5))
        updates, state = whole.update(tx, grads, state, params)
        expected, by_leaf = whole.update(factored(), by_layer(grads, {"w"}), by_leaf, apart)
        chex.assert_trees_all_close(by_layer(updates, {"w"}), expected, rtol=1e-6)


def test_layers_may_lie_along_another_axis_and_along_two() -> None:
    grads = random(1, w=(4, 3, 5))
    tx = per_layer(gradtx.clip_by_block_rms(0.3), "w", axis=1)
    updates, _ = whole.update(tx, grads, tx.init(grads))
    each = [whole.update(gradtx.clip_by_block_rms(0.3), grads["w"][:, i], ())[0] for i in range(3)]
    chex.assert_trees_all_close(updates["w"], np.stack(each, 1), rtol=1e-6)
    twice = per_layer(per_layer(gradtx.clip_by_block_rms(0.3), "w"), "w")
    updates, _ = whole.update(twice, grads, twice.init(grads))
    rows = np.sqrt(np.mean(grads["w"] ** 2, -1, keepdims=True))
    chex.assert_trees_all_close(updates["w"], grads["w"] / np.maximum(1, rows / 0.3), rtol=1e-6)


def test_only_what_asks_for_a_whole_leaf_is_mapped() -> None:
    expansion = per_layer(LAMB, "^blocks/").expand()
    assert repr(expansion).count("layerwise(") == 1
    assert per_layer(gradtx.adamw(1e-3), "^blocks/").expand() == rebuilt(
        gradtx.adamw(1e-3), lambda part: part
    )


def test_counters_are_shared_by_the_layers() -> None:
    tx = per_layer(gradtx.clip_by_block_rms(gradtx.linear_schedule(0.5, 0.1, 3)), "w")
    state = tx.init({"w": jnp.ones((3, 4))})
    assert [x.shape for x in jax.tree.leaves(state)] == [(), ()]  # a counter, and the current threshold


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layerwise: foreign reads leaves as wholes"):
        per_layer(optax.scale_by_trust_ratio(), "w")
    tx = per_layer(gradtx.clip_by_block_rms(0.3), "w")
    with pytest.raises(ValueError, match=r"'w' is said to be stacked along axis 0, but has shape \(\)"):
        tx.init({"w": jnp.ones(())})
    with pytest.raises(ValueError, match="the pattern 'v' matches no leaf"):
        layerwise(gradtx.clip_by_block_rms(0.3), "v").init({"w": jnp.ones(3)})
