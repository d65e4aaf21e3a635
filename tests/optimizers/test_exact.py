"""Every optimizer against the paper's loop in float64, against float64 in float32, against Optax.

The cases are found in `tests/reference/`; see `case.py` there for what one is.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

import jax
import numpy as np
import optax
import pytest

import gradtx
from gradtx.contract.facts import facts
from gradtx.contract.reach import Reach
from tests import reference, whole
from tests.compiling import AS_BY_DEFAULT
from tests.reference.case import Case, in_float64


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


SHAPES = [(40, 25), (7,), ()]  # 1000 entries and more: enough for a median


def _leaves(case: Case) -> int | None:
    """How many of the leaves a case is run on, or all: one says all of what treats each entry by itself."""
    alone = facts(case.ours).reach == Reach.ENTRY and not facts(case.ours).names_leaves
    return 1 if alone else None


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


@functools.cache
def _losses() -> np.ndarray:
    """A loss that falls, by the step."""
    rng, t = np.random.default_rng(3), np.arange(1000)
    return ((0.5 + 2 / (1 + t)) * rng.uniform(0.5, 1.5, size=1000)).astype(np.float32).astype(float)


def extra(tx) -> dict[str, np.ndarray]:
    """The extra arguments that a transformation needs, by the step."""
    given = {"value": _losses()}
    return {name: given[name] for name in facts(tx).extras.needed}


def _train(tx, params, given, curvature=0.0, apply_updates=gradtx.apply_updates):
    """Parameters and updates after each step of one scan."""

    def step(carry, now):
        params, state = carry
        grads = jax.tree.map(lambda g, p: g + curvature * p, now[0], params) if curvature else now[0]
        updates, state = tx.update(grads, state, params, **now[1])
        params = apply_updates(params, updates)
        return (params, state), (params, updates)

    return jax.lax.scan(step, (params, tx.init(params)), given)[1]


def _compiled(function, dtype):
    """What float32 can hold is asked of the programs that users have."""
    return jax.jit(function, compiler_options=AS_BY_DEFAULT if dtype == np.float32 else None)


def _run(tx, dtype, curvature=0.0, leaves=None):
    """Parameters and updates after each of 1000 steps of one compiled scan."""
    given = jax.tree.map(
        lambda x: np.asarray(x, dtype), (_start()[:leaves], _gradients()[:leaves], extra(tx))
    )
    train = _compiled(lambda params, *given: _train(tx, params, given, curvature), dtype)
    return jax.tree.map(np.asarray, train(*given))


@functools.lru_cache(maxsize=1)
def _run_wide(tx, curvature=0.0, leaves=None):
    with jax.enable_x64(True):
        return _run(tx, np.float64, curvature, leaves)


NEAR_OPTAX = 2e-5
PLACES = {case.name: i for i, case in enumerate(CASES)}


def _together(run, case: Case):
    """What `run` says of a case, asked with its neighbours."""
    return whole.together(run, tuple(PLACES.values()), PLACES[case.name], at_once=12)


def _given(dtype, steps):
    """Parameters, gradients and losses; the last leaf has no entries."""
    start = [*_start(), np.zeros((0, 3))]
    grads = [*(g[:steps] for g in _gradients()), np.zeros((steps, 0, 3))]
    return jax.tree.map(lambda x: np.asarray(x, dtype), (start, grads, {"value": _losses()[:steps]}))


def _read(case: Case, start, grads, extras):
    """Those of them that an optimizer gets: without entries is a leaf where it is compared with Optax's."""
    chosen = [*range(_leaves(case) or len(SHAPES))] + [len(SHAPES)] * ("empty" in _peer_leaves(case))
    extras = {name: extras[name] for name in extra(case.ours)}
    return [start[i] for i in chosen], ([grads[i] for i in chosen], extras)


def _peer_leaves(case: Case) -> tuple[str, ...]:
    return case.optax_leaves if case.optax else ()


@functools.lru_cache(maxsize=1)
def _wide(places: tuple[int, ...]):
    """In float64, of each case: parameters of the first 60 steps, updates of 1000."""
    cases = [CASES[i] for i in places]

    def train(*given):
        return [_train(case.ours, *_read(case, *given), case.curvature) for case in cases]

    with jax.enable_x64(True):
        found = jax.device_get(_compiled(train, np.float64)(*_given(np.float64, 1000)))
    return {i: ([p[:60].copy() for p in path], u) for i, (path, u) in zip(places, found, strict=True)}


@functools.lru_cache(maxsize=1)
def _narrow(places: tuple[int, ...]):
    """In float32, of each case of which a test reads them: updates of 1000 steps."""
    cases = {i: CASES[i] for i in places}
    cases = {i: c for i, c in cases.items() if not _skips(c) or (c.optax and c.optax_dtype == "float32")}

    def train(*given):
        return [_train(case.ours, *_read(case, *given), case.curvature)[1] for case in cases.values()]

    found = jax.device_get(_compiled(train, np.float32)(*_given(np.float32, 1000))) if cases else []
    return dict(zip(cases, found, strict=True))


def _skips(case: Case) -> bool:
    return bool(case.relative and not case.leaf_rtol)


def _precisions(case: Case) -> list[str]:
    """In which it is compared with Optax's: also in float64, where that is further off in float32."""
    return list(dict.fromkeys([case.optax_dtype, *["float64"] * (case.optax_rtol > NEAR_OPTAX)]))


def _of_peers(dtype: str, places: tuple[int, ...]):
    """Of Optax's that are compared in a precision: updates of 30 steps, by the name of the leaf."""
    cases = {i: CASES[i] for i in places}
    cases = {i: c for i, c in cases.items() if c.optax and dtype in _precisions(c)}

    def of(case, start, grads, extras):
        names = _names(case)
        params, (grads, extras) = _read(case, start, grads, extras)
        params, grads = (dict(zip(names, x, strict=True)) for x in (params, grads))
        params, grads = ({n: x for n, x in y.items() if n in case.optax_leaves} for y in (params, grads))
        return _train(case.optax, params, (grads, extras), case.curvature, optax.apply_updates)[1]

    def train(*given):
        # Optax promotes here and there, which our own code must not.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return [of(case, *given) for case in cases.values()]

    with jax.enable_x64(dtype == "float64"):
        found = jax.device_get(jax.jit(train)(*_given(dtype, 30)))
    return dict(zip(cases, found, strict=True))


PEERS = {
    dtype: functools.lru_cache(maxsize=1)(functools.partial(_of_peers, dtype))
    for dtype in ("float32", "float64")
}


def _names(case: Case) -> list[str]:
    """Of the leaves of a run."""
    return ["matrix", "vector", "scalar"][: _leaves(case)] + ["empty"] * ("empty" in _peer_leaves(case))


def _follow(case: Case, loop, seed: int | None = None) -> list[np.ndarray]:
    """60 steps of a loop whose parameters are kept in float64, as those that it is compared with are.

    With a seed, at gradients whose last digits are one up or down.
    """
    rng = np.random.default_rng(seed)

    def gradient(theta, t):
        theta[:] = [np.asarray(p, float) for p in theta]
        grads = [g[t - 1] + case.curvature * p for g, p in zip(_gradients(), theta, strict=False)]
        if seed is None:
            return grads
        return [g * (1 + np.finfo(float).eps * rng.choice([-1, 1], size=g.shape)) for g in grads]

    reads = {name: lambda t, x=x: x[t - 1] for name, x in extra(case.ours).items()}
    path = loop(_start()[: _leaves(case)], gradient, 60, **reads)
    return [np.stack(leaf) for leaf in zip(*path, strict=True)]


def _farthest(path: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """How far a leaf has been from where it should be, up to each step."""
    distance = np.abs(path - exact).reshape(len(exact), -1).max(axis=1)
    return np.maximum.accumulate(distance).reshape(-1, *[1] * (exact.ndim - 1))


def test_float64_follows_the_paper_for_60_steps(case: Case) -> None:
    """Within 1e-12; or where float64 does not carry the loop itself so far, nearly as well as it does."""
    expected = _follow(case, case.loop)
    runs = [_follow(case, in_float64(case.loop), seed) for seed in range(4)] if case.sensitive else []
    path, _ = _together(_wide, case)
    within = [1e-12 * np.abs(x) + 1e-14 for x in expected]  # 1e-14: roundings of what passes through 0
    for i, (ours, exact) in enumerate(zip(path[: len(expected)], expected, strict=True)):
        lost = np.max([_farthest(run[i], exact) for run in runs], axis=0, initial=0.0)
        # 8, because XLA adds up in a row, which of 1000 numbers rounds 5.8 times as much as NumPy's sums.
        excess = np.max(np.abs(ours - exact) / (within[i] + 8 * lost))
        assert excess <= 1, f"leaf {i}: {excess:.2f} times what is allowed"
        assert np.all(lost <= 1e-11 * max(1.0, np.max(np.abs(exact)))), f"leaf {i}: float64 loses too much"
    if runs:
        missed = (np.abs(run[i] - expected[i]) > within[i] for run in runs for i in range(len(expected)))
        assert any(map(np.any, missed)), "float64 carries the loop: it is not sensitive any more"


def test_float32_is_as_near_to_float64_as_float32_can_be(case: Case) -> None:
    """The median relative error of the update, at steps 1, 10, 100 and 1000, is at most 5e-7.

    Or the norm of the error, relative to the leaf's, at most what the case says.
    """
    if _skips(case):
        pytest.skip(case.relative)  # the case says which measure holds instead, and tests it
    filled = slice(_leaves(case) or len(SHAPES))
    wide, narrow = _together(_wide, case)[1][filled], _together(_narrow, case)[filled]
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
    """On a matrix and an empty leaf, and a vector and a scalar where leaves are more than their entries."""
    if case.optax is None:
        assert case.not_optax, f"{case.name} names neither a peer in Optax nor a reason"
        return
    for dtype in _precisions(case):
        ours = _together(_narrow, case) if dtype == "float32" else _together(_wide, case)[1]
        found = dict(zip(_names(case), ours, strict=True))
        rtol = case.optax_rtol if dtype == case.optax_dtype else NEAR_OPTAX
        for name, theirs in _together(PEERS[dtype], case).items():
            got = found[name][:30]
            assert (got.shape, got.dtype) == (theirs.shape, theirs.dtype)
            # Entries where terms cancel (a decay against a step) are held to the leaf's own scale,
            # which is its largest update so far.
            size = np.abs(theirs)
            scale = np.maximum.accumulate(size.reshape(30, -1).max(axis=1, initial=0.0))
            scale = scale.reshape(30, *[1] * (theirs.ndim - 1))
            near = np.abs(got - theirs) <= rtol * (size + scale)
            assert np.all(near), f"{dtype}, {name}, from step {1 + np.min(np.argwhere(~near)[:, 0])} on"
