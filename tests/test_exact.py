"""Every optimizer against the paper's loop in float64, against float64 in float32, against Optax.

The cases are found in `tests/reference/`; see `case.py` there for what one is.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests import reference
from tests.reference.case import Case


def _cases() -> list[Case]:
    found = []
    for module in pkgutil.iter_modules(reference.__path__):
        if module.name != "case":
            found += importlib.import_module(f"tests.reference.{module.name}").CASES
    return found


CASES = _cases()


@pytest.fixture(scope="module", params=CASES, ids=lambda c: c.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Of the module, so that a case's tests follow each other and share its float64 path."""
    return request.param


SHAPES = [(40, 25), (7,), ()]  # 1008 entries: enough for a median


@functools.cache
def _start() -> list[np.ndarray]:
    """Parameters that float32 holds exactly, so that both precisions start at the same place."""
    rng = np.random.default_rng(1)
    return [rng.normal(size=s).astype(np.float32).astype(float) for s in SHAPES]


@functools.cache
def _gradients() -> list[np.ndarray]:
    """Noise around a mean, over six decades: as in training, and hard for float32. Axis 0 is time."""
    rng = np.random.default_rng(2)
    made = []
    for shape in SHAPES:
        size, mean = 10.0 ** rng.uniform(-6, 0, size=shape), rng.normal(size=shape)
        made.append((size * (mean + rng.normal(size=(1000, *shape)))).astype(np.float32).astype(float))
    return made


def _run(tx, dtype):
    """Parameters and updates after each of 1000 steps of one compiled scan."""
    params, gradients = jax.tree.map(lambda x: jnp.asarray(x, dtype), (_start(), _gradients()))

    @jax.jit
    def train(params, gradients):
        def step(carry, grads):
            params, state = carry
            updates, state = tx.update(grads, state, params)
            params = gradtx.apply_updates(params, updates)
            return (params, state), (params, updates)

        return jax.lax.scan(step, (params, tx.init(params)), gradients)[1]

    return jax.tree.map(np.asarray, train(params, gradients))


@functools.lru_cache(maxsize=1)
def _run_wide(tx):
    with jax.enable_x64(True):
        return _run(tx, np.float64)


def test_float64_follows_the_paper_for_60_steps(case: Case) -> None:
    expected = case.loop(_start(), lambda _, t: [g[t - 1] for g in _gradients()], 60)
    path, _ = _run_wide(case.ours)
    for i in range(len(SHAPES)):
        np.testing.assert_allclose(
            path[i][:60],
            np.stack([p[i] for p in expected]).astype(float),
            rtol=case.float64_rtol,
            atol=1e-14,  # sixty roundings of a parameter of size 1 that passes through 0
        )


def test_float32_is_as_near_to_float64_as_float32_can_be(case: Case) -> None:
    """The median relative error of the update, at steps 1, 10, 100 and 1000, is at most 5e-7.

    Or the norm of the error, relative to the leaf's, at most what the case says.
    """
    if case.relative and not case.leaf_rtol:
        pytest.skip(case.relative)  # the case says which measure holds instead, and tests it
    _, wide = _run_wide(case.ours)
    _, narrow = _run(case.ours, np.float32)
    for t in (1, 10, 100, 1000):
        if case.leaf_rtol:
            for u, exact in zip(narrow, wide, strict=True):
                error = np.linalg.norm(u[t - 1].astype(float) - exact[t - 1]) / np.linalg.norm(exact[t - 1])
                assert error <= case.leaf_rtol, f"step {t}: {error:.2e}"
            continue
        ours = np.concatenate([u[t - 1].ravel() for u in narrow]).astype(np.float64)
        exact = np.concatenate([u[t - 1].ravel() for u in wide])
        size = np.where(exact == 0, np.finfo(float).tiny, np.abs(exact))  # 0 is right only as 0
        error = np.median(np.abs(ours - exact) / size)
        assert error <= 5e-7, f"step {t}: {error:.2e}"  # about four float32 roundings


def test_agrees_with_optax_for_30_jitted_steps(case: Case) -> None:
    """On a tree with a matrix, a vector, a scalar and an empty leaf."""
    if case.optax is None:
        assert case.not_optax, f"{case.name} names neither a peer in Optax nor a reason"
        return
    names = ("matrix", "vector", "scalar")

    def tree(leaves):
        arrays = dict(zip(names, (jnp.asarray(x, jnp.float32) for x in leaves), strict=True))
        every = arrays | {"empty": jnp.zeros((0, 3))}
        return {name: every[name] for name in case.optax_leaves}

    @jax.jit
    def both(params, mine, peers, theirs, grads):
        updates, mine = case.ours.update(grads, mine, params)
        # Optax promotes here and there, which our own code must not.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            peer_updates, theirs = case.optax.update(grads, theirs, peers)
        moved = gradtx.apply_updates(params, updates), optax.apply_updates(peers, peer_updates)
        return moved[0], mine, moved[1], theirs, updates, peer_updates

    params = peers = tree(_start())
    mine, theirs = case.ours.init(params), case.optax.init(peers)
    scales: dict[tuple, float] = {}
    for t in range(30):
        grads = tree(g[t] for g in _gradients())
        params, mine, peers, theirs, ours, optaxs = both(params, mine, peers, theirs, grads)
        for path, theirs_at in jax.tree_util.tree_leaves_with_path(optaxs):
            # Entries where terms cancel (a decay against a step) are held to the leaf's own scale,
            # which is its largest update so far.
            scale = float(jnp.max(jnp.abs(theirs_at), initial=scales.get(path, 0.0)))
            scales[path] = scale
            chex.assert_trees_all_close(
                ours[path[0].key], theirs_at, rtol=case.optax_rtol, atol=case.optax_rtol * scale
            )
