"""What needs no learning rate, or reads the loss: where it starts, its numbers, that it learns."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import gradtx
from gradtx import tree
from gradtx.layouts.over_buffers import packed
from gradtx.tree import sums
from tests import whole
from tests.optimizers.test_exact import CASES as ALL
from tests.optimizers.test_exact import _compiled, _gradients, _start, _train, extra
from tests.reference.case import Case

SGD = gradtx.sgd(0.1, 0.9)
MADE = {
    "cocob": gradtx.cocob(),
    "dadapt_adamw": gradtx.dadapt_adamw(),
    "dog": gradtx.dog(),
    "dowg": gradtx.dowg(),
    "ldog": gradtx.scale_by_distance_over_gradients(global_scale=-1.0),
    "mechanize": gradtx.mechanize(SGD),
    "mechanize-stored": gradtx.mechanize(SGD, store_delta=True),
    "momo": gradtx.momo(),
    "momo_adam": gradtx.momo_adam(),
    "polyak_sgd": gradtx.polyak_sgd(),
    "prodigy": gradtx.prodigy(),
}
every = pytest.mark.parametrize("name", MADE)
PARAMS = {
    "kernel": jnp.asarray([[1.0, -2.0, 0.5, 0.0], [0.25, 3.0, -1.0, 2.0]]),
    "bias": jnp.asarray([0.5, 0.25, 0.0, -1.0], jnp.bfloat16),
    "absent": None,
}


def given(tx, value=1.0):
    return {name: np.float32(value) for name in extra(tx)}


def loss(params):
    return sum(jnp.sum(jnp.square(p.astype(jnp.float32))) for p in jax.tree.leaves(params))


def train(tx, params, steps, f=loss):
    """The parameters and the state after some steps on f."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(f)(params)
        more = {"value": value} if extra(tx) else {}
        updates, state = tx.update(grads, state, params, **more)
        return (gradtx.apply_updates(params, updates), state), value

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=steps))(params)


# ---------------------------------------------------------------- where it starts


@every
def test_init_is_abstract(name: str) -> None:
    """Optax's issue 548: of shapes alone, the state's shapes."""
    tx = MADE[name]
    shapes = jax.eval_shape(lambda: PARAMS)
    abstract = jax.eval_shape(tx.init, shapes)
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, whole.init(tx, PARAMS))


@pytest.mark.parametrize("name", ["cocob", "dog", "dowg", "ldog", "mechanize", "prodigy"])
def test_a_start_of_shapes_is_refused_by_name(name: str) -> None:
    shapes = jax.eval_shape(lambda: PARAMS)
    with pytest.raises(ValueError, match=r"copy of the parameters.*'bias' is a shape.*eval_shape"):
        MADE[name].init(shapes)


@every
def test_state_is_born_where_it_belongs(name: str) -> None:
    """Sharded like the parameters by out_shardings, on 8 devices, and it stays there."""
    tx = MADE[name]
    mesh = Mesh(np.asarray(jax.devices()), ("d",))
    params = {"w": np.arange(64, dtype=np.float32).reshape(8, 8) / 64, "b": np.ones(8, np.float32)}
    split, everywhere = NamedSharding(mesh, PartitionSpec("d")), NamedSharding(mesh, PartitionSpec())
    params = jax.device_put(params, split)
    abstract = jax.eval_shape(tx.init, params)
    places = jax.tree.map(lambda x: split if x.shape in ((8, 8), (8,)) else everywhere, abstract)
    state = jax.jit(tx.init, out_shardings=places)(params)
    for leaf, place in zip(jax.tree.leaves(state), jax.tree.leaves(places), strict=True):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim)
    alone = jax.device_get(params)
    alone_state = whole.init(tx, alone)
    step, step_alone = _step(tx, place=(split, places)), _step(tx)
    for _ in range(3):
        params, state = step(params, state)
        alone, alone_state = step_alone(alone, alone_state)
    assert params["w"].sharding.is_equivalent_to(split, 2)
    chex.assert_trees_all_close(jax.device_get(params), jax.device_get(alone), rtol=1e-5, atol=1e-6)


def _step(tx, place=None):
    def step(params, state):
        updates, state = tx.update(jax.tree.map(lambda p: 2 * p, params), state, params, **given(tx))
        return gradtx.apply_updates(params, updates), state

    return jax.jit(step, out_shardings=place)


@functools.cache
def _donating(tx):
    return gradtx.make_step(tx)


@pytest.mark.parametrize("how", ["eager", "jitted"])
@every
def test_parameters_and_state_are_donated_together(name: str, how: str) -> None:
    tx = MADE[name]
    params = jax.tree.map(jnp.copy, PARAMS)
    state = (jax.jit(tx.init) if how == "jitted" else tx.init)(params)
    places = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((params, state)) if x.size]
    assert len(set(places)) == len(places)
    step, grads = _donating(tx), jax.tree.map(lambda p: 2 * np.asarray(p), PARAMS)
    for _ in range(3):
        params, state = step(params, state, grads, **given(tx))
    assert np.all(np.isfinite(params["kernel"]))


# ---------------------------------------------------------------- numbers


@every
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_nothing_at_first_and_zero_parameters_are_finite(name: str, dtype: str) -> None:
    tx, params = MADE[name], {"w": jnp.zeros((2, 3), dtype), "none": None}
    state = tx.init(params)
    # One by one: at one shape all of them have few operations between them.
    for size in (0.0, 0.0, 1.0, 0.0, 0.5):
        grads = {"w": np.full((2, 3), size, jnp.dtype(dtype)), "none": None}
        updates, state = tx.update(grads, state, params, **given(tx))
        assert updates["w"].dtype == params["w"].dtype
        params = gradtx.apply_updates(params, updates)
        for leaf in jax.tree.leaves((params, state)):
            assert np.all(np.isfinite(np.asarray(leaf, np.float32)))
    assert np.any(np.asarray(params["w"], np.float32) != 0) or dtype != "float32"


@every
def test_packed_parameters_give_the_same(name: str) -> None:
    tx = MADE[name]
    params = {"w": np.asarray(PARAMS["kernel"]), "b": np.ones(3, np.float32), "s": np.float32(0.5)}
    layout = gradtx.packing(params)
    pack, unpack = jax.jit(layout.pack), jax.jit(layout.unpack)
    flat, ours = packed(tx, layout), tx
    state, expected = flat.init(pack(params)), ours.init(params)
    for t in range(3):
        grads = jax.tree.map(lambda p, t=t: np.float32(2 * p + t), params)
        updates, state = flat.update(pack(grads), state, pack(params), **given(tx))
        wanted, expected = ours.update(grads, expected, params, **given(tx))
        chex.assert_trees_all_close(unpack(updates), wanted, rtol=1e-5, atol=1e-9)
    if name not in ("ldog",):  # which asks for leaves
        assert "unpacked" not in repr(flat.expand())


MINE = [case for case in ALL if "test_parameter_free" in case.relative]
ESTIMATES = [case for case in MINE if case.name.startswith(("dadapt", "prodigy"))]
CASES = [c for c in MINE if c not in ESTIMATES and ("-" not in c.name or c.name == "mechanize-stored")]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_float32_is_near_to_float64_at_the_same_parameters(case: Case) -> None:
    """The norm of the difference of a leaf's updates, by the size of what they are differences of.

    A step multiplies all entries by one number, which is a quotient of sums over all of them, or leads
    from one place to another: a few roundings of those sums, or of the places, are what there can be.
    """
    before, narrow = whole.together(_runs, _names(case), case.name)
    wide, states = whole.together(_replays_wide, _names(case), case.name)
    places = any(n in case.name for n in ("cocob", "mechanize"))
    for t in (1, 10, 100, 1000):
        for ours, exact, p, first in zip(narrow, wide, before, _start(), strict=True):
            size = np.linalg.norm(exact[t - 1])
            if places:
                size += np.linalg.norm(p[t - 1] - first) + 1e-7 * np.linalg.norm(first)
            if "momo" in case.name:  # the gap, Σ d u, is a difference of a loss and of inner products
                loss, along, mean = (jax.tree.map(lambda x, t=t: x[t - 1], s) for s in states)
                gap = sum(np.sum(d * u[t - 1]) for d, u in zip(mean, wide, strict=True))
                size *= max(1.0, (abs(loss) + 2 * abs(along)) / abs(gap))
            error = np.linalg.norm(ours[t - 1].astype(float) - exact[t - 1]) / size
            assert error <= BOUNDS.get(case.name.split("-")[0], 2e-6), f"step {t}: {error:.1e}"


BOUNDS = {"mechanize": 2e-5}  # Δ is a sum of a thousand steps


@pytest.mark.parametrize("case", ESTIMATES, ids=lambda c: c.name)
def test_float32_is_near_to_float64_but_for_the_estimate(case: Case) -> None:
    """The median relative error of an update, divided by d, is at most 5e-7; that of d, a rounding a growth.

    At the same parameters. What d is grows from what it was: it is a product of as many factors as there
    were steps on which it grew, 35 of D-Adaptation's 1000, each of them rounded.
    """
    (narrow, d), (wide, exact_d) = (
        whole.together(run, _names(case), case.name) for run in (_replays_narrow, _replays_wide)
    )
    for t in (1, 10, 100, 1000):
        growths = np.count_nonzero(np.diff(d[:t]))
        assert abs(d[t - 1] / exact_d[t - 1] - 1) <= (1 + growths) * 2**-23, f"step {t}: d"
        ours, exact = (np.concatenate([np.ravel(u[t - 1]).astype(float) for u in x]) for x in (narrow, wide))
        error = np.median(np.abs(ours / exact * (exact_d[t - 1] / d[t - 1]) - 1))
        assert error <= 5e-7, f"step {t}: {error:.1e}"  # about four float32 roundings


def _replay(tx, grads, before, more):
    """The updates at the parameters of a float32 run, and at its gradients.

    Beside them MoMo's memories after each step, or the estimate of the distance before it.
    """

    def step(state, seen):
        grads, params, more = seen
        updates, after = tx.update(grads, state, params, **more)
        if more:
            return after, (updates, (after[0].loss, after[0].along, after[0].mean))
        return after, (updates, getattr(state[0], "distance", ()))

    return jax.lax.scan(step, tx.init([p[0] for p in before]), (grads, before, more))[1]


def _by_name(names):
    return [next(case for case in MINE if case.name == name) for name in names]


def _curvature(case: Case) -> float:
    # MoMo's losses are given, those of no parameters.
    return case.curvature or (0.0 if "momo" in case.name else 1.0)


@functools.cache
def _runs(names):
    """1000 steps of each case in float32: the parameters before each, and the updates."""
    cases, shared = _by_name(names), jax.tree.map(np.float32, (_start(), _gradients()))

    def run(start, grads, more):
        return [
            _train(case.ours, start, (grads, m), _curvature(case))
            for case, m in zip(cases, more, strict=True)
        ]

    more = [jax.tree.map(np.float32, extra(case.ours)) for case in cases]
    found = jax.device_get(_compiled(run, np.float32)(*shared, more))
    before = [
        [np.concatenate([t[None], p[:-1]]) for t, p in zip(_start(), path, strict=True)] for path, _ in found
    ]
    return {name: (b, updates) for name, b, (_, updates) in zip(names, before, found, strict=True)}


def _replays(names, dtype):
    cases = _by_name(names)
    befores = [whole.together(_runs, _names(case), case.name)[0] for case in cases]
    grads = [
        [
            g.astype(np.float32) + np.float32(_curvature(case)) * p.astype(np.float32)
            for g, p in zip(_gradients(), before, strict=True)
        ]
        for case, before in zip(cases, befores, strict=True)
    ]

    def run(*given):
        return [_replay(case.ours, *seen) for case, *seen in zip(cases, *given, strict=True)]

    with jax.enable_x64(dtype == np.float64):
        given = jax.tree.map(
            lambda x: np.asarray(x, dtype), (grads, befores, [extra(case.ours) for case in cases])
        )
        found = jax.device_get(jax.jit(run)(*given))
    return dict(zip(names, found, strict=True))


@functools.cache
def _replays_wide(names):
    return _replays(names, np.float64)


@functools.cache
def _replays_narrow(names):
    return _replays(names, np.float32)


def _names(case: Case) -> tuple[str, ...]:
    """Of the cases in a program with this one."""
    return tuple(c.name for c in (ESTIMATES if case in ESTIMATES else CASES))


# ---------------------------------------------------------------- the loss


def test_a_loss_that_is_missing_is_named_with_who_needs_it() -> None:
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    for part, needs in (
        (gradtx.momo(), "scale_by_momo"),
        (gradtx.momo_adam(), "scale_by_momo"),
        (gradtx.polyak_sgd(), "scale_by_polyak"),
        (gradtx.scale_by_polyak(), "scale_by_polyak"),
    ):
        groups = gradtx.by_path(("kernel", "a"), (".*", "b"))
        for tx in (
            part,
            gradtx.chain(gradtx.clip_by_global_norm(1.0), part),
            gradtx.masked(part, "kernel"),
            gradtx.partition({"a": part, "b": gradtx.sgd(0.1)}, groups),
            gradtx.mechanize(part),
        ):
            state = tx.init(params)
            with pytest.raises(TypeError, match=f"{needs} needs the extra argument 'value'") as caught:
                tx.update(params, state, params)
            assert str(caught.value).startswith(type(tx).__name__)
            updates, _ = tx.update(params, state, params, value=2.0)
            assert np.all(np.isfinite(updates["kernel"]))


def test_a_train_step_passes_the_loss() -> None:
    def loss(params, x):
        return jnp.sum(jnp.square(params["w"] - x))

    for tx in (gradtx.momo(), gradtx.momo_adam(1.0), gradtx.polyak_sgd()):
        params, train_step = {"w": jnp.zeros(3)}, gradtx.make_train_step(loss, tx)
        state = tx.init(params)
        for _ in range(60):
            params, state, value = train_step(params, state, jnp.asarray([1.0, -2.0, 3.0]))
        assert value < 0.1  # of 14


def test_polyaks_step_lands_where_the_linear_model_is_least() -> None:
    """f = |x|: one step from anywhere."""
    for x in (-3.0, 1e-3, 700.0):
        updates, _ = gradtx.scale_by_polyak(max_learning_rate=1e6).update(
            jnp.sign(x), gradtx.EmptyState(), value=abs(x)
        )
        assert x - updates == 0


def test_an_adaptive_bound_finds_how_low_the_loss_gets() -> None:
    params, state = train(
        gradtx.momo(adapt_lower_bound=True), {"w": jnp.ones(4)}, 300, lambda p: loss(p) + 5.0
    )[0]
    assert state[0].lower_bound == pytest.approx(5.0, rel=0.02)
    np.testing.assert_allclose(params["w"], 0, atol=0.05)


# ---------------------------------------------------------------- departures


def _with_optax(f):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return f()


def test_polyaks_scaling_multiplies_where_optaxs_divides() -> None:
    g, options = np.asarray([2.0], np.float32), {"max_learning_rate": 10.0, "scaling": 0.5}
    ours = gradtx.polyak_sgd(**options)
    theirs = optax.polyak_sgd(**options)
    mine, _ = whole.update(ours, g, ours.init(g), g, value=1.0)
    peer, _ = _with_optax(lambda: whole.update(theirs, g, theirs.init(g), g, value=1.0))
    np.testing.assert_allclose(mine, -0.5 * (1.0 / 4.0) * 2.0)
    np.testing.assert_allclose(peer, -(1.0 / 4.0) * 2.0 / 0.5)


def test_small_gradients_still_step_where_optaxs_do_not() -> None:
    """‖g‖² = 1e-18, below float64's ε."""
    g = np.asarray([1e-9], np.float32)
    for make, peer in (
        (gradtx.polyak_sgd, optax.polyak_sgd),
        (gradtx.momo, optax.contrib.momo),
    ):
        ours, theirs = make(), peer()
        mine, _ = whole.update(ours, g, ours.init(g), g, value=1.0)
        other, _ = _with_optax(lambda t=theirs: whole.update(t, g, t.init(g), g, value=1.0))
        np.testing.assert_allclose(mine, -1e-9, rtol=1e-6)
        np.testing.assert_array_equal(other, 0)


def test_momos_step_shrinks_with_the_parameters_where_optaxs_does_not() -> None:
    """From θ = 1 with g = 1, f = 1, λ = 1 and w = 0.5, where τ is 1."""
    p = np.ones(1, np.float32)
    ours, theirs = gradtx.momo(weight_decay=0.5), optax.contrib.momo(weight_decay=0.5)
    mine, _ = whole.update(ours, p, ours.init(p), p, value=1.0)
    peer, _ = _with_optax(lambda: whole.update(theirs, p, theirs.init(p), p, value=1.0))
    np.testing.assert_allclose(p + mine, (1 - 1.0) / 1.5, atol=1e-7)
    np.testing.assert_allclose(p + peer, 1 / 1.5 - 1.0, rtol=1e-6)


@pytest.mark.parametrize("name", ["dadapt_adamw", "prodigy"])
def test_a_first_gradient_of_zeros_leaves_the_estimate_where_optaxs_becomes_nan(name: str) -> None:
    ours, theirs = MADE[name], getattr(optax.contrib, name)()
    p, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    _, mine = whole.update(ours, zeros, whole.init(ours, p), p)
    _, peer = _with_optax(lambda: whole.update(theirs, zeros, whole.init(theirs, p), p))
    assert np.asarray(mine[0].distance) == np.float32(1e-6)
    assert np.isnan(peer.estim_lr)


def test_prodigys_eps_is_multiplied_by_the_estimate_of_its_gradient() -> None:
    """At the second step d has grown from 1 to d₂: v = d₁² g², and the root of it is compared with d₁ ε."""
    options = {"betas": (0.0, 0.0), "beta3": 0.0, "eps": 1.0, "estim_lr0": 1.0}
    grads = [np.asarray([1.0], np.float32), np.asarray([0.01], np.float32)]
    ours, theirs = gradtx.prodigy(**options, bias_correction=False), optax.contrib.prodigy(**options)
    ends = []
    for tx in (ours, theirs):
        p, path = np.asarray([0.0], np.float32), []
        state = whole.init(tx, p)
        for g in grads:
            u, state = _with_optax(lambda tx=tx, g=g, s=state, p=p: whole.update(tx, g, s, p))
            path.append(float(u[0]))
            p = p - 5.0  # far, so that the estimate is 5
        ends.append(path)
    np.testing.assert_allclose(ends[0], [-0.5, -0.01 / (0.01 + 1.0)], rtol=1e-5)
    np.testing.assert_allclose(ends[1], [-0.5, -0.01 / (0.01 + 5.0)], rtol=1e-5)


def test_normalize_leaves_zeros_where_optax_makes_nan() -> None:
    g = {"a": np.asarray([3.0, 0.0], np.float32), "b": np.float32(4.0)}
    ours, theirs = gradtx.normalize(), optax.contrib.normalize()
    mine, _ = whole.update(ours, g, ours.init(g))
    peer, _ = whole.update(theirs, g, theirs.init(g))
    chex.assert_trees_all_close(mine, peer, rtol=1e-6)
    chex.assert_trees_all_close(mine, {"a": np.asarray([0.6, 0.0]), "b": np.asarray(0.8)}, rtol=1e-6)
    zeros = jax.tree.map(np.zeros_like, g)
    chex.assert_trees_all_equal(whole.update(ours, zeros, ours.init(g))[0], zeros)
    assert np.isnan(whole.update(theirs, zeros, theirs.init(g))[0]["b"])


# ---------------------------------------------------------------- it learns


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("cocob", 1500), ("dadapt_adamw", 1500), ("dog", 3000), ("dowg", 1500), ("ldog", 3000),
        ("mechanize", 3000), ("prodigy", 1500),
    ],
)  # fmt: skip
def test_one_setting_solves_a_problem_of_any_size(name: str, steps: int) -> None:
    """Least squares whose solution is 1e-2, 1 or 1e2 away: the loss falls below a thousandth of its start.

    The median of the last fifth of the steps: at a rate that stays, Adam's steps leave the solution for a
    few dozen steps now and then (D-Adaptation's here, and Optax's the same).
    """
    data = np.random.default_rng(0).normal(size=(3, 64, 5)).astype(np.float32)

    def losses(scale, x):
        goal = scale * np.asarray([1.0, -2.0, 3.0, -0.5, 0.1], np.float32)

        def squares(params):
            return jnp.mean(jnp.square(x @ params["w"] + params["b"] - x @ goal))

        start = {"w": jnp.zeros(5), "b": jnp.zeros(())}
        return train(MADE[name], start, steps, squares)[1]

    each = jax.vmap(jax.vmap(losses, (0, None)), (None, 0))
    values = np.asarray(jax.jit(each)(np.asarray([1e-2, 1.0, 1e2], np.float32), data))
    np.testing.assert_array_less(np.median(values[..., -steps // 5 :], axis=-1), 1e-3 * values[..., 0])


def test_mechanic_finds_the_factor_of_a_rate_that_is_far_off() -> None:
    for rate in (1e-4, 1.0, 1e2):
        tx = gradtx.mechanize(gradtx.sgd(rate), store_delta=True)
        _, values = train(tx, {"w": jnp.ones(4)}, 1500)
        assert values[-1] < 1e-2 * values[0], rate


def test_noisy_descent_is_descent_with_noise() -> None:
    assert gradtx.noisy_sgd(0.1, 0.5, 0.3, 7).expand() == gradtx.chain(
        gradtx.add_noise(0.5, 0.3, 7), gradtx.scale_by_learning_rate(0.1)
    )
    quiet, still = gradtx.noisy_sgd(0.1, eta=0.0), gradtx.sgd(0.1)
    g = {"w": PARAMS["kernel"]}
    made, expected = (whole.update(tx, g, tx.init(g))[0] for tx in (quiet, still))
    chex.assert_trees_all_equal(made, expected)
    assert gradtx.noisy_sgd(0.1, key=jax.random.key(3)) == gradtx.noisy_sgd(0.1, key=(0, 3))


# ---------------------------------------------------------------- changing numbers


def test_betas_are_a_pair_of_decays() -> None:
    for make in (gradtx.prodigy, gradtx.dadapt_adamw):
        with pytest.raises(TypeError, match=r"betas must be a pair of decays"):
            make(betas=0.9)
        with pytest.raises(ValueError, match=r"betas\[1\] must be in \[0, 1\)"):
            make(betas=(0.9, 1.0))
        assert make(betas=[0.8, 0.9]) == make(betas=(0.8, 0.9))
        assert gradtx.from_json(gradtx.to_json(make(betas=(0.8, 0.9)))) == make(betas=(0.8, 0.9))
        tx = make(betas=(gradtx.linear_schedule(0.8, 0.9, 5), 0.99))
        params = {"w": jnp.ones(3)}
        _, state = tx.update(params, tx.init(params), params)
        assert [*gradtx.hyperparams(state)] == [f"{make.__name__}.betas[0]"]


DECAYS = np.random.default_rng(5).uniform(0.5, 0.95, size=(3, 20))


def _decay(i: int, t: int):
    """β of step t, and the product of those so far."""
    return DECAYS[i][t - 1], np.prod(DECAYS[i][:t])


def _prodigy(theta, grads, values):
    """tests/reference/prodigy.py for one leaf, with the decays of each step."""
    start, d, r, s, m, v, path = theta, 1e-6, 0.0, 0.0, 0.0, 0.0, []
    for t, g in enumerate(grads, 1):
        (b1, all1), (b2, all2), (b3, _) = (_decay(i, t) for i in range(3))
        old, eta = d, d * np.sqrt(1 - all2) / (1 - all1)
        r = b3 * r + d / 1e-6 * eta * np.sum(g * (start - theta))
        s = b3 * s + d / 1e-6 * eta * g
        m, v = b1 * m + (1 - b1) * d * g, b2 * v + (1 - b2) * (d * g) ** 2
        d = max(d, r / np.sum(np.abs(s)))
        theta = theta - eta * m / (np.sqrt(v) + old * 1e-8)
        path.append(theta)
    return path


def _dadapt(theta, grads, values):
    """tests/reference/dadapt_adamw.py for one leaf, with the decays of each step."""
    d, r, s, m, v, path = 1e-6, 0.0, 0.0, 0.0, 0.0, []
    for t, g in enumerate(grads, 1):
        (b1, all1), (b2, all2) = (_decay(i, t) for i in range(2))
        eta, b = d * np.sqrt(1 - all2) / (1 - all1), np.sqrt(b2)
        r = b * r + (1 - b) * eta * np.sum(g * s / (np.sqrt(v) + 1e-8))
        s, m, v = b * s + (1 - b) * eta * g, b1 * m + (1 - b1) * eta * g, b2 * v + (1 - b2) * g**2
        d = max(d, r / ((1 - b) * np.sum(np.abs(s))))
        theta = theta - m / (np.sqrt(v) + 1e-8)
        path.append(theta)
    return path


def _momo(theta, grads, values, adam=False):
    """tests/reference/momo.py for one leaf, with the decays of each step."""
    loss, along, m, v, path = 0.0, 0.0, 0.0, 0.0, []
    for t, (g, f) in enumerate(zip(grads, values, strict=True), 1):
        (b1, all1), (b2, all2) = (_decay(i, t) for i in range(2))
        b1, rho = (b1, 1 - all1) if adam else (b1 if t > 1 else 0.0, 1.0)
        loss, along = b1 * loss + (1 - b1) * f, b1 * along + (1 - b1) * np.sum(g * theta)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        root = np.sqrt(v / (1 - all2)) + 1e-8 if adam else 1.0
        gap = max(loss + np.sum(m * theta) - along, 0)
        theta = theta - min((0.01 if adam else 1.0) / rho, gap / np.sum(m * m / root)) * m / root
        path.append(theta)
    return path


def test_decays_may_change_at_every_step() -> None:
    def table(i):
        return lambda step: jnp.asarray(DECAYS[i], float)[step]

    made = (
        (gradtx.prodigy(betas=(table(0), table(1)), beta3=table(2)), _prodigy),
        (gradtx.dadapt_adamw(betas=(table(0), table(1))), _dadapt),
        (gradtx.momo(beta=table(0)), _momo),
        (gradtx.momo_adam(b1=table(0), b2=table(1)), lambda *x: _momo(*x, adam=True)),
    )
    rng = np.random.default_rng(6)
    theta, grads, values = rng.normal(size=7), rng.normal(size=(20, 7)), rng.uniform(0.5, 2, size=20)
    for tx, loop in made:
        with jax.enable_x64(True):
            more = {"value": values} if extra(tx) else {}
            path = whole.follow(tx, theta, grads, **more)[0]
        np.testing.assert_allclose(path, loop(theta, grads, values), rtol=1e-9, atol=1e-11)


def test_a_first_step_is_what_it_is_said_to_be() -> None:
    with pytest.raises(
        ValueError, match=r"init_step\[0\] must be one of 'distance', 'heuristic', 'learning_rate'"
    ):
        gradtx.dog(init_step=("distances", 1e-3))
    with pytest.raises(ValueError, match=r"init_step\[1\] must be in \(0, inf\)"):
        gradtx.scale_by_dog(("distance", 0.0))
    with pytest.raises(TypeError, match="must be a pair"):
        gradtx.dog(init_step=1e-6)


# ---------------------------------------------------------------- helpers


@pytest.mark.parametrize("shape", [(8, 5), (8,), (), (0, 3)])
def test_sums_that_a_gpu_makes_at_once_are_those_of_one_by_one(shape) -> None:
    """Which form is compiled depends on the platform; here both are, also over arrays that are divided."""
    x, y = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)

    def both(f):
        return jax.jit(lambda x, y: (f(x, y), jax.grad(lambda x: f(x, y)[0])(x)))(x, y)

    (ours, slope), (theirs, expected) = both(sums._at_once), both(sums._one_by_one)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(slope, expected)
    if shape[:1] == (8,):
        split = NamedSharding(Mesh(np.asarray(jax.devices()), ("d",)), PartitionSpec("d"))
        divided = jax.jit(sums._at_once)(*jax.device_put((x, y), split))
        np.testing.assert_allclose(divided, theirs, rtol=1e-5, atol=1e-6)


def test_several_totals_are_each_the_total_of_its_function() -> None:
    some = {"a": jnp.asarray([[1.0, -2.0]]), "b": jnp.asarray([1 + 2j]), "c": jnp.asarray(0.5), "d": None}
    found = tree.totals((lambda x, y: jnp.abs(y), tree.inner), some, some)
    expected = tree.total(jnp.abs, some), tree.dot(some, some)
    chex.assert_trees_all_equal(found, expected)
    assert [x.dtype for x in found] == [jnp.float32] * 2
    assert [float(x) for x in tree.totals((tree.inner, tree.inner), {}, {})] == [0.0, 0.0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _safe_norms(library, axis, x):
    """And root mean squares, with their derivatives."""

    def total(keepdims, x):
        norms = library.safe_norm(x, 0.1, axis=axis, keepdims=keepdims)
        return norms.sum(), norms

    norms = [jax.value_and_grad(lambda x, k=k: total(k, x), has_aux=True)(x) for k in (False, True)]
    return norms, jax.value_and_grad(lambda x: library.safe_root_mean_squares(x, 0.1))(x)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("size", [0.0, 1e-3, 2.0])
def test_safe_norms_are_optaxs_with_their_derivatives(shape, axis, size) -> None:
    x = np.float32(size) * np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    ours, theirs = _safe_norms(gradtx, axis, x), _with_optax(lambda: _safe_norms(optax, axis, x))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)


def test_safe_norms_take_other_orders_and_narrow_numbers() -> None:
    x = np.asarray([[3.0, -4.0], [0.0, 12.0]], np.float32)
    orders = (1, 2, np.inf, "fro", "nuc")
    for order, ours in zip(
        orders, jax.jit(lambda x: [gradtx.safe_norm(x, 0.1, o) for o in orders])(x), strict=True
    ):
        np.testing.assert_allclose(ours, np.linalg.norm(x, order), rtol=1e-6)
    narrow = np.full(4, 300.0, np.float16)  # whose squares are infinite
    size, rms, bad = jax.jit(
        lambda x, y: (
            gradtx.safe_norm(x, 0.1),
            gradtx.safe_root_mean_squares(x, 0.1),
            gradtx.safe_norm(y, 0.1),
        )
    )(narrow, np.asarray([np.nan], np.float32))
    assert size.dtype == jnp.float16
    assert (float(size), float(rms)) == (600.0, 300.0)
    assert np.isnan(bad)


def test_momo_sees_complex_parameters_as_their_two_parts() -> None:
    """Of gradients whose entries have been conjugated, as gradients of complex parameters must be."""
    rng = np.random.default_rng(5)

    def normal(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    def parts(z):
        return {"re": z.real.copy(), "im": z.imag.copy()}

    start, grads, tx = normal(4, 3), normal(3, 4, 3), gradtx.momo(0.5)
    values = np.asarray([3.0, 2.0, 1.5], np.float32)
    updates = whole.follow(tx, start, grads, value=values)[1]
    both = whole.follow(tx, parts(start), parts(grads), value=values)[1]
    np.testing.assert_allclose(updates, np.asarray(both["re"]) + 1j * np.asarray(both["im"]), rtol=1e-5)
