"""Clips: against the papers' loops in float64, against Optax, and what each of them promises."""

from __future__ import annotations

import functools
import importlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.contract.facts import facts
from tests import whole

optaxs = importlib.import_module(optax.adaptive_grad_clip.__module__)

SHAPES = {"matrix": (4, 3), "vector": (5,), "scalar": ()}
SPIKES = {12: 40.0, 13: 1.5, 30: 1e4}  # step: how many times as large its gradient is


def gradients(steps: int = 40) -> list[dict[str, np.ndarray]]:
    """Noise of a slowly growing size, with spikes; exact in float32."""
    rng = np.random.default_rng(3)
    return [
        {
            name: np.float32((1 + t / 20) * SPIKES.get(t, 1.0) * rng.normal(size=shape)).astype(float)
            for name, shape in SHAPES.items()
        }
        for t in range(steps)
    ]


@functools.cache
def compiled(tx, *of):
    """The step of a transformation, of its own for each dtype and shapes: equal ones share it."""
    return jax.jit(tx.update)


def run(tx, stream, params=None, dtype=np.float32):
    """The updates and the last state of one compiled step, made for each gradient."""
    with jax.enable_x64(dtype == np.float64):
        stream = [jax.tree.map(lambda x: np.asarray(x, dtype), g) for g in stream]
        params = jax.tree.map(lambda x: np.asarray(x, dtype), params or stream[0])
        state, path = tx.init(params), []
        step = compiled(tx, dtype, str(jax.tree.map(np.shape, params)))
        for grads in stream:
            updates, state = step(grads, state, params)
            path.append(jax.tree.map(np.asarray, updates))
        assert step._cache_size() == 1  # one trace
    return path, state


def norm(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(x, float))) for x in jax.tree.leaves(tree))))


def assert_follows(tx, expected, stream) -> None:
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 5e-6)):  # sums of squares, forty steps on
        path, _ = run(tx, stream, dtype=dtype)
        for ours, exact in zip(path, expected, strict=True):
            chex.assert_trees_all_close(ours, jax.tree.map(dtype, exact), rtol=rtol)


# ---------------------------------------------------------------- the norm of the step before


def lagged(stream, c: float, bound_leaves: bool) -> list:
    path, before = [], 0.0
    for g in stream:
        factor = min(1.0, c / before) if before else 1.0
        own = {k: min(factor, c / norm(x)) if bound_leaves else factor for k, x in g.items()}
        path.append({k: x * own[k] for k, x in g.items()})
        before = norm(g)
    return path


@pytest.mark.parametrize("bound_leaves", [True, False])
def test_the_lagged_clip_follows_its_formula(bound_leaves: bool) -> None:
    stream = gradients()
    expected = lagged(stream, 7.0, bound_leaves)
    assert 0 < sum(norm(u) == norm(g) for u, g in zip(expected, stream, strict=True)) < 40
    assert_follows(gradtx.clip_by_lagged_norm(7.0, bound_leaves=bound_leaves), expected, stream)


def test_the_lagged_clip_lets_no_leaf_exceed_its_threshold_in_a_spike() -> None:
    stream = gradients()
    for (ours, free), t in zip(
        zip(
            run(gradtx.clip_by_lagged_norm(2.0), stream)[0],
            run(gradtx.clip_by_lagged_norm(2.0, bound_leaves=False), stream)[0],
            strict=True,
        ),
        range(40),
        strict=True,
    ):
        assert max(map(norm, ours.values())) <= 2.0 * (1 + 1e-6)
        assert norm(ours) <= 2.0 * 3**0.5 * (1 + 1e-6)  # three leaves
        if t in (12, 30):
            assert norm(free) > 30.0  # the spike that nobody has seen
        if t - 1 in (12, 30):
            assert norm(ours) < 2.0 / 20  # and the step after it, shortened for nothing


def test_the_lagged_clip_is_the_clip_by_the_global_norm_where_norms_stay() -> None:
    stream = [gradients(1)[0]] * 3
    ours, _ = run(gradtx.clip_by_lagged_norm(0.5), stream)
    expected, _ = run(gradtx.clip_by_global_norm(0.5), stream)
    chex.assert_trees_all_close(ours[1:], expected[1:], rtol=1e-6)
    assert norm(ours[0]) > 0.5  # the first is not


def test_the_lagged_clip_neither_overflows_nor_vanishes() -> None:
    """In float32, whose squares end at 1e38 and 1e-38."""
    for size in (1e-25, 1e25):
        stream = [{"a": np.full(4, size), "b": np.full(4, size)}] * 2
        (_, second), state = run(gradtx.clip_by_lagged_norm(size / 10), stream)
        np.testing.assert_allclose(norm(second) / size, 0.1, rtol=1e-5)
        np.testing.assert_allclose(state.norms["a"], 2 * size, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_lagged_clip_remembers_finite_norms_only(bad: float) -> None:
    good = {"a": np.array([3.0, 4.0]), "b": np.array([1.0])}
    broken = {"a": np.array([bad, 1.0]), "b": np.array([2.0])}
    path, state = run(gradtx.clip_by_lagged_norm(100.0), [good, broken])
    assert np.isnan(path[1]["a"][0])
    assert path[1]["a"][1] == 0 if bad == np.inf else np.isnan(path[1]["a"][1])
    assert path[1]["b"] == 2.0  # the other leaf
    assert (state.norms["a"], state.norms["b"]) == (5.0, 2.0)


# ---------------------------------------------------------------- ZClip


def zclip_loop(norms, z=2.5, decay=0.97, eps=1e-6, warmup_steps=25) -> list:
    """The authors' code: a buffer of the first norms, then averages of the shortened ones."""
    buffer, mean, var, shortened = [], None, None, []
    for n in norms:
        if len(buffer) < warmup_steps:
            buffer.append(n)
            mean, var, kept = np.mean(buffer), np.var(buffer), n
        else:
            score = (n - mean) / (np.sqrt(var) + eps)
            kept = mean + z * np.sqrt(var) / (score / z) if score > z else n
            mean = decay * mean + (1 - decay) * kept
            var = decay * var + (1 - decay) * (kept - mean) ** 2
        shortened.append(kept)
    return shortened


SETTINGS = [{}, {"z_threshold": 1.0, "decay": 0.8, "eps": 0.1, "warmup_steps": 12}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_zclip_follows_the_authors_loop(settings: dict) -> None:
    stream = gradients()
    norms = [norm(g) for g in stream]
    named = {("z" if k == "z_threshold" else k): v for k, v in settings.items()}
    kept = zclip_loop(norms, **named)
    assert sum(k < n for k, n in zip(kept, norms, strict=True)) >= 1
    expected = [
        jax.tree.map(lambda x, k=k, n=n: x * (k / n), g) for g, k, n in zip(stream, kept, norms, strict=True)
    ]
    assert_follows(gradtx.zclip(**settings), expected, stream)


@pytest.mark.parametrize("settings", SETTINGS)
def test_leafwise_zclip_is_zclip_of_each_leaf_alone(settings: dict) -> None:
    stream = gradients()
    path, _ = run(gradtx.leafwise_zclip(**settings), stream)
    for name in SHAPES:
        alone, _ = run(gradtx.zclip(**settings), [{name: g[name]} for g in stream])
        chex.assert_trees_all_close([{name: u[name]} for u in path], alone, rtol=1e-6)


@pytest.mark.parametrize("tx", [gradtx.zclip(), gradtx.leafwise_zclip()])
def test_zclip_shortens_the_more_the_further_out(tx) -> None:
    """Reciprocal: at twice the threshold, what is left above the mean is half of it."""
    usual = [{"a": np.array([1.0 + 0.1 * (-1) ** t])} for t in range(30)]
    # Norms of 1 ± 0.1: a deviation of 0.1, within what five averaged steps change.
    left = [norm(run(tx, [*usual, {"a": np.array([1 + z * 0.1])}])[0][-1]) for z in (2.0, 5.0, 10.0, 1e6)]
    assert left[0] == np.float32(1.2)  # below the threshold, bit by bit
    np.testing.assert_allclose(left[1:], [1.125, 1.0625, 1.0], atol=0.004)


@pytest.mark.parametrize("tx", [gradtx.zclip(warmup_steps=2), gradtx.leafwise_zclip(warmup_steps=2)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_zclip_takes_no_statistics_of_what_is_not_finite(tx, bad: float) -> None:
    stream = [{"a": np.array([1.0, 1.0]) * (1 + t % 2)} for t in range(6)]
    broken = {"a": np.array([bad, 1.0])}
    for place in (0, 1, 4):  # before, in and after the first steps
        path, state = run(tx, [*stream[:place], broken, *stream[place:]])
        expected, kept = run(tx, stream)
        chex.assert_trees_all_equal(state, kept)
        chex.assert_trees_all_equal(path[-1], expected[-1])
        assert not np.isfinite(path[place]["a"][0])


def test_a_zclip_of_zeros_is_zeros() -> None:
    for tx in (gradtx.zclip(warmup_steps=1), gradtx.leafwise_zclip(warmup_steps=1)):
        path, _ = run(tx, [{"a": np.zeros(2)}] * 3)
        assert all(norm(u) == 0 for u in path)


@pytest.mark.parametrize("tx", [gradtx.zclip, gradtx.leafwise_zclip])
def test_zclip_can_be_differentiated_by_its_numbers(tx) -> None:
    """Also where the deviation is 0, whose root has no derivative."""

    def total(decay):
        made, stream = tx(decay=decay, warmup_steps=2), np.float32([[1, 1], [1, 1], [3, 3], [9, 9]])

        def step(state, grads):
            return made.update(grads, state)[::-1]

        return jnp.sum(jax.lax.scan(step, made.init(stream[0]), stream)[1])

    assert np.isfinite(jax.jit(jax.grad(total))(0.9))


def test_zclip_needs_a_step_to_look_at() -> None:
    with pytest.raises(ValueError, match="warmup_steps must be at least 1"):
        gradtx.zclip(warmup_steps=0)


# ---------------------------------------------------------------- adaptive gradient clipping

UNITS = {  # shape: the axes of a unit
    (): (), (6,): (0,), (1, 6): (0, 1), (4, 3): (0,), (2, 3, 4): (0,),
    (2, 2, 3, 4): (0, 1, 2), (2, 1, 2, 3, 4): (0, 1, 2, 3),
}  # fmt: skip


def agc_trees(seed: int = 0):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-3, 1, size=len(UNITS))
    params = {str(s): rng.normal(size=s) * size for s, size in zip(UNITS, sizes, strict=True)}
    return params, {str(s): rng.normal(size=s) * 0.05 for s in UNITS}


@pytest.mark.parametrize("eps", [1e-3, 0.5])
def test_adaptive_clipping_follows_the_paper(eps: float) -> None:
    params, grads = agc_trees()
    expected = {}
    for shape, axes in UNITS.items():
        g, w = grads[str(shape)], params[str(shape)]
        size, most = (np.sqrt(np.sum(x**2, axis=axes, keepdims=True)) for x in (g, w))
        most = 0.02 * np.maximum(most, eps)
        expected[str(shape)] = np.where(size > most, most / size * g, g)
    clipped = [np.any(expected[k] != grads[k]) for k in grads]
    assert 0 < sum(clipped) < len(clipped)
    (ours,), _ = run(gradtx.adaptive_grad_clip(0.02, eps), [grads], params, np.float64)
    chex.assert_trees_all_close(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_adaptive_clipping_is_optaxs(axis) -> None:
    params, grads = agc_trees()
    if axis is not None:
        params, grads = ({k: x[k] for k in ("(4, 3)", "(2, 3, 4)")} for x in (params, grads))
    (ours,), _ = run(gradtx.adaptive_grad_clip(0.02, axis=axis), [grads], params)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (theirs,), _ = run(optax.adaptive_grad_clip(0.02, axis=axis), [grads], params)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    assert norm(ours) < norm(grads)


def test_unitwise_norms_and_clips_are_optaxs() -> None:
    params, grads = (jax.tree.map(lambda x: np.asarray(x, np.float32), t) for t in agc_trees())

    def both(norm, clip):
        sizes, most = jax.tree.map(norm, grads), jax.tree.map(norm, params)
        return sizes, jax.tree.map(clip, sizes, most, grads)

    ours = jax.jit(lambda: both(gradtx.unitwise_norm, gradtx.unitwise_clip))()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = jax.jit(lambda: both(optaxs.unitwise_norm, optaxs.unitwise_clip))()
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    chex.assert_trees_all_equal_shapes(ours[0], grads)


def test_adaptive_clipping_leaves_what_is_below_and_a_nan_in_its_unit() -> None:
    params = {"w": np.ones((2, 3), np.float32), "zero": np.zeros((2, 2), np.float32)}
    grads = {"w": np.float32([[0.1, np.nan, 9.0], [0.1, 0.2, 0.3]]), "zero": np.float32([[0, 1], [0, 1]])}

    def clipped(tx):
        return jax.device_get(whole.update(tx, grads, gradtx.EmptyState(), params)[0])

    updates = clipped(gradtx.adaptive_grad_clip(0.2))
    np.testing.assert_array_equal(updates["w"][:, 0], grads["w"][:, 0])  # bit by bit
    assert np.all(np.isnan(updates["w"][:, 1]))
    np.testing.assert_allclose(norm(updates["w"][:, 2]), 0.2 * 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(norm(updates["zero"]), 0.2 * 1e-3, rtol=1e-6)  # λ ε: zeros can grow
    updates = clipped(gradtx.adaptive_grad_clip(0.2, eps=0.0))
    assert norm(updates["zero"]) == 0  # and without ε they stay; no 0 / 0


def test_adaptive_clipping_can_be_differentiated_where_a_unit_may_not_grow() -> None:
    zeros, ones = {"w": np.zeros((2, 2), np.float32)}, {"w": np.ones((2, 2), np.float32)}

    def total(clipping, grads):
        tx = gradtx.adaptive_grad_clip(clipping, eps=0.0)
        return jnp.sum(tx.update(grads, gradtx.EmptyState(), zeros)[0]["w"])

    slopes = jax.jit(jax.grad(total, (0, 1)))
    by_clipping, by_grads = slopes(0.1, ones)
    assert float(by_clipping) == 0
    np.testing.assert_array_equal(by_grads["w"], 0)
    assert float(slopes(0.1, zeros)[0]) == 0


def test_adaptive_clipping_asks_for_the_axes_of_what_it_does_not_know() -> None:
    six = {"w": np.ones((2,) * 6, np.float32)}
    with pytest.raises(ValueError, match=r"has 6 axes, expected at most 5\. Say with `axis`"):
        gradtx.adaptive_grad_clip(0.1).update(six, gradtx.EmptyState(), six)
    updates, _ = whole.update(gradtx.adaptive_grad_clip(0.1, axis=(0, 1)), six, gradtx.EmptyState(), six)
    np.testing.assert_allclose(updates["w"], 0.1, rtol=1e-6)


# ---------------------------------------------------------------- StableAdamW


def test_where_nothing_outgrows_its_denominator_stable_adamw_is_adamw() -> None:
    stream = gradients()
    ours = gradtx.stable_adamw(0.1, threshold=1e3)
    adamw = gradtx.adamw(0.1, b2=0.99, eps=1e-6, weight_decay=0.01)
    chex.assert_trees_all_close(run(ours, stream)[0], run(adamw, stream)[0], rtol=1e-6)


def test_a_spike_shortens_the_step_of_its_leaf_alone() -> None:
    """g = 1 at every step, then 100: v̂ = 1 + 9999 (1 - β₂) / (1 - β₂ᵗ), and r = 100 / sqrt(v̂)."""
    usual, spike = {"a": np.ones(3), "b": np.ones(3)}, {"a": np.full(3, 100.0), "b": np.ones(3)}
    ours = run(gradtx.stable_adamw(1.0, weight_decay=0.0), [usual] * 99 + [spike])[0][-1]
    plain = run(gradtx.adam(1.0, b2=0.99, eps=1e-6), [usual] * 99 + [spike])[0][-1]
    size = 100 / np.sqrt(1 + 9999 * 0.01 / (1 - 0.99**100))
    assert size > 7
    np.testing.assert_allclose(ours["a"], plain["a"] / size, rtol=1e-5)
    np.testing.assert_allclose(ours["b"], plain["b"], rtol=1e-6)


# ---------------------------------------------------------------- all of them

LINE = gradtx.linear_schedule(2.0, 0.5, 8)
CLIPS = {
    "clip_by_global_norm": (gradtx.clip_by_global_norm, "max_norm", False),
    "clip_by_lagged_norm": (gradtx.clip_by_lagged_norm, "max_norm", False),
    "zclip": (lambda **kw: gradtx.zclip(**kw, warmup_steps=3), "z_threshold", False),
    "leafwise_zclip": (lambda **kw: gradtx.leafwise_zclip(**kw, warmup_steps=3), "z_threshold", True),
    "clip_by_block_rms": (gradtx.clip_by_block_rms, "threshold", True),
    "adaptive_grad_clip": (gradtx.adaptive_grad_clip, "clipping", True),
    "stable_adamw": (lambda **kw: gradtx.stable_adamw(0.1, **kw), "threshold", True),
}
every_clip = pytest.mark.parametrize(("make", "name", "alone"), CLIPS.values(), ids=CLIPS)


@every_clip
def test_what_needs_its_leaf_alone_says_so(make, name: str, alone: bool) -> None:
    assert facts(make(**{name: 0.1})).leafwise == alone


@every_clip
def test_a_schedule_in_the_threshold_is_its_value_at_each_step(make, name: str, alone: bool) -> None:
    stream = [jax.tree.map(np.float32, g) for g in gradients(8)]
    path, _ = run(make(**{name: LINE}), stream)

    @jax.jit
    def update(threshold, grads, state):
        return make(**{name: threshold}).update(grads, state, stream[0])

    state = make(**{name: float(LINE(0))}).init(stream[0])
    for t, grads in enumerate(stream):
        updates, state = update(float(LINE(t)), grads, state)
        chex.assert_trees_all_close(path[t], updates, rtol=2e-6)


@every_clip
def test_a_run_that_is_resumed_goes_on_bit_by_bit(make, name: str, alone: bool) -> None:
    stream = gradients(20)
    tx = make(**{name: 1.5})
    path, state = run(tx, stream, stream[0])
    _, half = run(tx, stream[:10], stream[0])
    half = jax.tree.map(lambda x: np.asarray(x).copy(), half)  # as from a file
    params = jax.tree.map(np.float32, stream[0])
    step = compiled(tx, np.float32, str(jax.tree.map(np.shape, params)))
    for t in range(10, 20):
        updates, half = step(jax.tree.map(np.float32, stream[t]), half, params)
        chex.assert_trees_all_equal(jax.tree.map(np.asarray, updates), path[t])
    chex.assert_trees_all_equal(half, state)


@every_clip
def test_thresholds_can_be_swept(make, name: str, alone: bool) -> None:
    stream = [jax.tree.map(np.float32, g) for g in gradients(14)]
    later = whole.stack(stream)

    @jax.jit
    def last(threshold):
        tx = make(**{name: threshold})

        def step(state, grads):
            return tx.update(grads, state, stream[0])[::-1]

        return jax.tree.map(lambda u: u[-1], jax.lax.scan(step, tx.init(stream[0]), later)[1])

    values = np.float32([0.3, 3.0])
    together = jax.device_get(jax.vmap(last)(values))
    for i, value in enumerate(values):
        chex.assert_trees_all_close(jax.tree.map(lambda u, i=i: u[i], together), last(value), rtol=1e-5)


@pytest.mark.parametrize("name", ["clip_by_lagged_norm", "zclip", "leafwise_zclip", "adaptive_grad_clip"])
def test_below_the_threshold_updates_pass_bit_by_bit(name: str) -> None:
    make, number, _ = CLIPS[name]
    stream = [g for t, g in enumerate(gradients()) if t not in SPIKES]
    path, _ = run(make(**{number: 1e3}), stream)
    for ours, grads in zip(path, stream, strict=True):
        chex.assert_trees_all_equal(ours, jax.tree.map(np.float32, grads))


def test_a_root_mean_square_of_nothing_is_zero() -> None:
    assert gradtx.numerics.rms(jnp.ones((0, 3))) == 0.0
    np.testing.assert_allclose(gradtx.numerics.rms(jnp.array([3.0, 4.0])), 12.5**0.5, rtol=1e-6)
