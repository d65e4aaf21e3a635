"""Matrices as wholes: singular values, axes, batches, stacked layers, factored averages, subspaces, roots."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import by_path, matrix_axes
from gradtx.matrices import orthogonal, roots
from gradtx.matrices.orthogonal import PRESETS
from tests import whole
from tests.optimizers.test_exact import _run, _run_wide
from tests.reference import muon as muon_reference


def normal(*shape, seed=0, dtype=np.float32):
    return np.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def _updates(tx, stream):
    """The updates of one parameter that starts at 0, over a stream of gradients."""
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
        grads = np.asarray(stream, np.float32)[:, None]
        return whole.follow(tx, np.zeros(1, np.float32), grads)[1][:, 0]


newton_schulz = jax.jit(
    gradtx.newton_schulz, static_argnames=("ns_coeffs", "ns_steps", "preconditioning", "eps", "compute_in")
)
PRECONDITIONINGS = ["frobenius", "spectral", "aol", "schatten"]


# ---------------------------------------------------------------- float32


@pytest.mark.parametrize("tx", [gradtx.madgrad(1e-2), gradtx.madgrad(0.05, 0.5, eps=1e-3)], ids=["", "other"])
def test_madgrads_step_is_as_exact_as_the_parameters_it_is_a_difference_of(tx) -> None:
    """Without a penalty, by which float32's parameters enter the gradients and drift."""
    (path, wide), (_, narrow) = _run_wide(tx), _run(tx, np.float32)
    for t in (1, 10, 100, 1000):
        for p, ours, exact in zip(path, narrow, wide, strict=True):
            error = np.max(np.abs(ours[t - 1] - exact[t - 1])) / np.max(np.abs(p[t - 1]))
            assert error <= 5e-7, f"step {t}: {error:.2e}"


# ---------------------------------------------------------------- orthogonalize


SHAPES = [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1)]


@functools.cache
def _orthogonalized():
    """Of every shape, by every preset and preconditioning, in one program."""

    @jax.jit
    def every(xs):
        return {
            c: {p: [gradtx.newton_schulz(x, c, preconditioning=p) for x in xs] for p in PRECONDITIONINGS}
            for c in PRESETS
        }

    return every([normal(*shape) for shape in SHAPES])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preconditioning", PRECONDITIONINGS)
@pytest.mark.parametrize("coefficients", list(PRESETS))
def test_singular_values_come_near_1(shape, preconditioning, coefficients) -> None:
    y = _orthogonalized()[coefficients][preconditioning][SHAPES.index(shape)]
    values = np.linalg.svd(y, compute_uv=False)
    assert y.shape == shape
    assert 0.65 <= values.min() <= values.max() <= 1.25, values  # the polynomial's range: 0.68 to 1.21


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "schatten"])
def test_singular_vectors_stay_and_values_follow_the_polynomial(preconditioning) -> None:
    with jax.enable_x64(True):
        x = normal(5, 8, dtype=np.float64)
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        y = newton_schulz(x, preconditioning=preconditioning, eps=0.0)
    inner = u.T @ np.asarray(y) @ vt.T
    size = {"frobenius": np.sqrt(np.sum(s**2)), "spectral": s[0], "schatten": np.sum(s**4) ** 0.25}
    expected = s / size[preconditioning]
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    np.testing.assert_allclose(inner, np.diag(expected), atol=1e-12)


def test_it_is_u_vt_if_it_converges() -> None:
    """Twelve steps of the polynomial (15 s - 10 s³ + 3 s⁵) / 8, whose slope at 1 is 0."""
    with jax.enable_x64(True):
        x = normal(5, 8, dtype=np.float64)
        u, _, vt = np.linalg.svd(x, full_matrices=False)
        y = newton_schulz(x, (15 / 8, -10 / 8, 3 / 8), 12)
        z = newton_schulz(x, ((15 / 8, -10 / 8, 3 / 8),) * 12, 1)
    np.testing.assert_allclose(y, u @ vt, atol=1e-12)
    np.testing.assert_array_equal(z, y)


def test_a_complex_matrix_becomes_unitary() -> None:
    x = normal(4, 6) + 1j * normal(4, 6, seed=1)
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    with jax.numpy_dtype_promotion("standard"):
        y = newton_schulz(x, (15 / 8, -10 / 8, 3 / 8), 12)
    np.testing.assert_allclose(y, u @ vt, atol=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e30])
@pytest.mark.parametrize("preconditioning", PRECONDITIONINGS)
def test_no_size_overflows_or_vanishes(size, preconditioning) -> None:
    make = functools.partial(newton_schulz, preconditioning=preconditioning, eps=0.0)
    np.testing.assert_allclose(make(normal(3, 4) * size), make(normal(3, 4)), rtol=1e-4, atol=1e-5)
    assert not np.any(make(np.zeros((3, 4), np.float32)))


def test_eps_leaves_short_what_is_smaller() -> None:
    tiny = newton_schulz(normal(3, 4) * 1e-14)
    assert np.max(np.abs(tiny)) < 1e-3  # 1e-14 / 1e-8, and five slopes of 3.44
    assert np.max(np.abs(newton_schulz(normal(3, 4) * 1e-14, eps=0.0))) > 0.1


def test_products_in_bfloat16_are_rough_and_come_back_in_the_updates_dtype() -> None:
    tx = gradtx.orthogonalize(compute_in="bfloat16")
    fine, rough = (
        whole.update(t, {"w": normal(6, 8)}, t.init({}))[0]["w"] for t in (gradtx.orthogonalize(), tx)
    )
    assert rough.dtype == jnp.float32
    assert 1e-4 < np.max(np.abs(np.asarray(fine) - rough)) < 0.1


def test_the_dual_norm_is_that_of_each_matrix() -> None:
    x = normal(3, 5, 4)
    plain, adaptive = (
        np.asarray(whole.update(gradtx.orthogonalize(adaptive=a), x, gradtx.EmptyState())[0])
        for a in (False, True)
    )
    for i in range(3):
        np.testing.assert_allclose(adaptive[i], np.sum(x[i] * plain[i]) * plain[i], rtol=1e-5)


@pytest.mark.parametrize("bad", [(1.0, 2.0), ((1.0, 2.0, 3.0), (1.0,)), 3.0, "fast", ()])
def test_coefficients_are_triples_or_a_preset(bad) -> None:
    with pytest.raises(ValueError, match="ns_coeffs"):
        gradtx.muon(0.1, bad)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="must be one of 'frobenius'"):
        gradtx.muon(0.1, preconditioning="none")
    with pytest.raises(ValueError, match="at least 0"):
        gradtx.orthogonalize(ns_steps=-1)
    with pytest.raises(ValueError, match="must be one of 'std'"):
        gradtx.galore(0.1, proj_type="left")
    with pytest.raises(ValueError, match="rank must be at least 1"):
        gradtx.galore(0.1, 0)


# ---------------------------------------------------------------- axes


X = {"a": normal(3, 4, 5), "b": normal(4, 6, seed=1), "c": normal(7, seed=2)}


def _orthogonal(rule, tree=X):
    tx = gradtx.orthogonalize(weight_dimension_numbers=rule)
    return jax.tree.map(np.asarray, whole.update(tx, tree, tx.init(tree))[0])


def test_axes_in_front_are_a_batch() -> None:
    made = _orthogonal(None)
    for i in range(3):
        np.testing.assert_allclose(made["a"][i], newton_schulz(X["a"][i]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made["c"], X["c"])


@pytest.mark.parametrize(
    ("rows", "columns"), [(0, (1, 2)), ((0, 1), 2), (2, 0), (-1, -3), ((2, 0), 1), ((0,), (2,))]
)
def test_axes_are_gathered_into_rows_and_columns(rows, columns) -> None:
    made = _orthogonal({"a": matrix_axes(rows, columns), "b": None, "c": None})["a"]
    own = [tuple(np.atleast_1d(a) % 3) for a in (rows, columns)]
    batch = tuple(a for a in range(3) if a not in own[0] + own[1])
    order = (*batch, *own[0], *own[1])
    x = X["a"].transpose(order)
    sizes = [int(np.prod([X["a"].shape[a] for a in axes])) for axes in own]
    flat = x.reshape(*(X["a"].shape[a] for a in batch), *sizes)
    expected = np.asarray(newton_schulz(flat)).reshape(x.shape).transpose(np.argsort(order))
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "rule",
    [
        {"a": matrix_axes(0, (1, 2)), "b": None, "c": None},
        {"a": optax.contrib.MuonDimensionNumbers(0, (1, 2)), "b": None, "c": None},
        by_path(("a", matrix_axes(0, [1, 2])), (".*", None)),
        lambda tree: {"a": optax.contrib.GaLoreDimensionNumbers(0, (1, 2)), "b": None, "c": None},
    ],
    ids=["tree", "optax", "path", "function"],
)
def test_a_rule_is_a_tree_a_path_or_a_function(rule) -> None:
    made = _orthogonal(rule)
    expected = np.asarray(newton_schulz(X["a"].reshape(3, 20))).reshape(3, 4, 5)
    np.testing.assert_allclose(made["a"], expected, rtol=1e-6)
    np.testing.assert_array_equal(made["b"], X["b"])


def test_a_pattern_selects_batches_and_one_rule_serves_all() -> None:
    made = _orthogonal("a")
    np.testing.assert_allclose(made["a"], _orthogonal(None)["a"], rtol=1e-6)
    np.testing.assert_array_equal(made["b"], X["b"])
    np.testing.assert_allclose(_orthogonal(matrix_axes(1, 0))["b"], _orthogonal(None)["b"], atol=1e-5)


def test_a_prefix_of_a_tree_speaks_of_what_is_below() -> None:
    tree = {"blocks": {"w": X["b"], "v": X["b"]}, "head": X["b"]}
    made = _orthogonal({"blocks": matrix_axes(), "head": None}, tree)
    np.testing.assert_array_equal(made["head"], X["b"])
    assert not np.allclose(made["blocks"]["v"], X["b"])


def test_axes_that_do_not_fit_are_refused_with_the_leafs_path() -> None:
    for axes in (matrix_axes(0, 0), matrix_axes(0, 3), matrix_axes((), 1), matrix_axes((0, 1), -2)):
        with pytest.raises(ValueError, match=r"orthogonalize: the leaf at 'a' has shape \(3, 4, 5\)"):
            _orthogonal({"a": axes, "b": None, "c": None})
    with pytest.raises(ValueError, match="'c' has shape"):
        _orthogonal("c")
    with pytest.raises(ValueError, match="matches no leaf"):
        _orthogonal("kernel")
    with pytest.raises(TypeError, match="must be a whole number"):
        matrix_axes(0.5)
    with pytest.raises(TypeError, match="must be matrix_axes"):
        gradtx.orthogonalize(weight_dimension_numbers={"a": True})
    with pytest.raises(ValueError, match="regular expression"):
        gradtx.muon(0.1, muon_weight_dimension_numbers="(")


@pytest.mark.parametrize(
    "rule",
    [
        matrix_axes(0, (1, 2)),
        {"a": matrix_axes(), "b": None},
        by_path(("a", matrix_axes()), (".*", None)),
        "a",
    ],
)
def test_rules_are_values(rule) -> None:
    tx = gradtx.muon(0.1, muon_weight_dimension_numbers=rule)
    assert gradtx.from_json(gradtx.to_json(tx)) == tx
    assert eval(repr(tx), vars(gradtx)) == tx
    assert hash(tx) == hash(gradtx.muon(0.1, muon_weight_dimension_numbers=rule))
    assert tx != gradtx.muon(0.1)


def test_muon_takes_the_matrices_and_adamw_the_rest() -> None:
    params = {"embed": normal(6, 4), "w": normal(4, 8, seed=1), "bias": normal(8, seed=2)}
    rule = by_path(("embed|bias", None), (".*", matrix_axes()))
    for rule_, adam in ((None, {"bias"}), (rule, {"bias", "embed"})):
        tx = gradtx.muon(0.1, muon_weight_dimension_numbers=rule_)
        state = whole.init(tx, params)
        updates, _ = whole.update(tx, params, state, params)
        nadam = gradtx.nadam(0.1)
        expected, _ = whole.update(nadam, params, whole.init(nadam, params))
        for name, u in updates.items():
            assert np.allclose(u, expected[name], rtol=1e-5) == (name in adam)
        kept = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
        assert kept == sum(p.size * (2 if name in adam else 1) for name, p in params.items())


def test_without_a_rule_what_has_three_axes_is_no_matrix_to_muon() -> None:
    state = jax.eval_shape(gradtx.muon(0.1).init, {"w": normal(3, 4, 6)})
    assert sum(x.size for x in jax.tree.leaves(state) if x.ndim) == 2 * 3 * 4 * 6


def test_muons_shape_factor_is_by_rows_and_columns() -> None:
    wide, tall = {"w": normal(2, 8)}, {"w": normal(8, 2)}
    one = gradtx.scale_by_shape()
    np.testing.assert_allclose(one.update(wide, one.init(wide))[0]["w"], 2 * wide["w"], rtol=1e-6)
    np.testing.assert_allclose(one.update(tall, one.init(tall))[0]["w"], tall["w"], rtol=1e-6)
    even = gradtx.scale_by_shape(consistent_rms=0.2)
    for x in (wide, tall):
        np.testing.assert_allclose(even.update(x, even.init(x))[0]["w"], 0.2 * 8**0.5 * x["w"], rtol=1e-6)


def test_muon_leaves_the_bias_that_optax_corrects() -> None:
    """After G₁ and G₂ with β = ½, of which M is ¼ G₁ + ½ G₂, the authors have ½ M + ½ G₂."""
    g1, g2 = np.asarray(normal(3, 4), float), np.asarray(normal(3, 4, seed=1), float)
    theirs = 0.5 * (0.25 * g1 + 0.5 * g2) / (1 - 0.5**3) + 0.5 * g2 / (1 - 0.5**2)
    for corrected, look in ((False, 0.125 * g1 + 0.75 * g2), (True, theirs)):
        tx = gradtx.scale_by_muon(beta=0.5, bias_correction=corrected)
        grads = np.stack([g1, g2]).astype(np.float32)
        made = whole.follow(tx, np.zeros((3, 4), np.float32), grads)[1]
        expected = muon_reference.orthogonalized(look)
        np.testing.assert_allclose(made[-1], expected, atol=1e-5)


# ---------------------------------------------------------------- stacked layers


MAKE = {
    "muon": lambda: gradtx.muon(0.02, weight_decay=0.1, adaptive=True),
    "muon-rms": lambda: gradtx.muon(0.02, consistent_rms=0.2, preconditioning="aol"),
    "adafactor": lambda: gradtx.adafactor(0.01, 3, momentum=0.9, dtype_momentum=None),
    "sm3": lambda: gradtx.sm3(0.1),
    "galore": lambda: gradtx.galore(0.01, 2, 2, weight_decay=0.1),
    "fromage": lambda: gradtx.fromage(0.01),
}


def _layers(seed):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (4, 6), "bias": (6,), "scale": ()}
    return [{n: np.asarray(rng.normal(size=s)) for n, s in shapes.items()} for _ in range(3)]


def _stacked(layers, axis=0):
    return jax.tree.map(lambda *xs: np.stack(xs, axis), *layers)


def _path(tx, trees):
    """Parameters after some steps: the first tree is where they start, the others are gradients."""
    return whole.end(*_run_of(tx, trees))[0]


def _run_of(tx, trees):
    """Where it starts and its gradients, for whole.ends."""
    return tx, trees[0], whole.stack(trees[1:])


@functools.cache
def _per_layer(names):
    """The parameters of the unrolled model and of the stacked one, in one program of all optimizers."""
    head, layers = normal(5, 3, dtype=np.float64), [_layers(seed) for seed in range(6)]
    unrolled = [{"blocks": x, "head": head} for x in layers]
    stacked = [{"blocks": _stacked(x), "head": head} for x in layers]
    runs = [
        _run_of(*run)
        for tx in (MAKE[name]() for name in names)
        for run in ((tx, unrolled), (gradtx.per_layer(tx, "^blocks"), stacked))
    ]
    with jax.enable_x64(True):
        ends = [params for params, _ in whole.ends(runs)]
    return dict(zip(names, zip(ends[::2], ends[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", MAKE)
def test_per_layer_is_what_the_unrolled_model_does(name) -> None:
    unrolled, stacked = whole.together(_per_layer, tuple(MAKE), name)
    expected = {"blocks": _stacked(unrolled["blocks"]), "head": unrolled["head"]}
    chex.assert_trees_all_close(stacked, expected, rtol=1e-12, atol=1e-14)


BATCHED = ("muon", "muon-rms", "galore")


@functools.cache
def _unrolled(names):
    layers = [[{"kernel": x["kernel"]} for x in _layers(seed)] for seed in range(6)]
    with jax.enable_x64(True):
        ends = whole.ends([_run_of(MAKE[name](), layers) for name in names])
    return {name: params for name, (params, _) in zip(names, ends, strict=True)}


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("axis", [0, 2])
def test_a_batch_of_matrices_is_what_the_unrolled_model_does(name, axis) -> None:
    with jax.enable_x64(True):
        tx = MAKE[name]()
        layers = [[{"kernel": x["kernel"]} for x in _layers(seed)] for seed in range(6)]
        unrolled = whole.together(_unrolled, BATCHED, name)
        axes = matrix_axes(1, 2) if axis == 0 else matrix_axes(0, 1)
        field = "weight_dimension_numbers" if name == "galore" else "muon_weight_dimension_numbers"
        rules = (axes, by_path(("kernel", axes)), *(["kernel$"] if axis == 0 else []))
        optimizers = [tx.replace(**{field: rule}) for rule in rules]
        start, grads = _stacked(layers[0], axis), whole.stack([_stacked(x, axis) for x in layers[1:]])

        def path(tx):
            def step(carry, grads):
                params, state = carry
                updates, state = tx.update(grads, state, params)
                return (gradtx.apply_updates(params, updates), state), None

            return jax.lax.scan(step, (start, tx.init(start)), grads)[0][0]

        # Equal parts of one program are compiled once.
        for stacked in jax.jit(lambda: [path(o) for o in optimizers])():
            chex.assert_trees_all_close(stacked, _stacked(unrolled, axis), rtol=1e-12, atol=1e-14)


def test_stacked_vectors_are_no_matrix_to_per_layer() -> None:
    stack = {"kernel": normal(3, 4, 6), "bias": normal(3, 6)}
    state = jax.eval_shape(gradtx.per_layer(gradtx.muon(0.1), ".*").init, stack)
    kept = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
    assert kept == stack["kernel"].size + 2 * stack["bias"].size


@functools.cache
def _equal_leaves(names):
    """The parameters of six leaves together, and of each alone, of all optimizers."""
    trees = [{str(i): normal(4, 6, seed=7 * i + s) for i in range(6)} for s in range(4)]
    txs = [MAKE[name]() for name in names]
    found = [(params, {}) for params, _ in whole.ends([_run_of(tx, trees) for tx in txs])]
    for i in trees[0]:
        every = whole.ends([_run_of(tx, [t[i] for t in trees]) for tx in txs])
        for (_, alone), (params, _) in zip(found, every, strict=True):
            alone[i] = params
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("name", MAKE)
def test_many_equal_leaves_have_the_results_that_each_has(name) -> None:
    """Leaf by leaf tracing: parts of a state that are not there are not there for a leaf either."""
    together, alone = whole.together(_equal_leaves, tuple(MAKE), name)
    assert together.keys() == alone.keys()
    for i in together:
        np.testing.assert_allclose(together[i], alone[i], rtol=1e-4, atol=1e-6)


def test_packed_muon_sees_the_leaves() -> None:
    trees = [{"w": normal(4, 6, seed=s), "b": normal(6, seed=s + 9)} for s in range(4)]
    layout = gradtx.packing(trees[0])
    packed = _path(
        gradtx.packed(gradtx.muon(0.1), layout), jax.jit(lambda: [layout.pack(t) for t in trees])()
    )
    chex.assert_trees_all_close(layout.unpack(packed), _path(gradtx.muon(0.1), trees), rtol=1e-5)


# ---------------------------------------------------------------- factored averages and covers


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 6, 4), (6, 3, 4)])
def test_factored_is_exact_for_squares_of_rank_1(shape) -> None:
    """Over all axes but the two largest the factors may be any."""
    least, most = np.argsort(shape)[-2:]
    rng = np.random.default_rng(0)
    one, two = (rng.uniform(0.1, 2.0, [n if a != other else 1 for a, n in enumerate(shape)])
                for other in (least, most))  # fmt: skip
    with jax.enable_x64(True):
        g = one * two * rng.choice([-1, 1], shape)
        made = [
            _path(
                gradtx.scale_by_factored_rms(factored, min_dim_size_to_factor=2, epsilon=0.0),
                [0 * g, g, 2 * g],
            )
            for factored in (True, False)
        ]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-12)


def test_factored_states_are_rows_and_columns() -> None:
    params = {"w": jnp.zeros((3, 8, 5), jnp.bfloat16), "small": jnp.zeros((2, 9)), "b": jnp.zeros(9)}
    state = jax.eval_shape(gradtx.scale_by_factored_rms(min_dim_size_to_factor=3).init, params)
    assert (state.rows["w"].shape, state.columns["w"].shape) == ((3, 5), (3, 8))
    assert state.rows["w"].dtype == jnp.float32
    assert jax.tree.leaves(state.squares["w"]) == []
    assert (state.squares["small"].shape, state.squares["b"].shape) == ((2, 9), (9,))
    ours, theirs = (
        sum(x.size for x in jax.tree.leaves(jax.eval_shape(make(128).init, {"w": jnp.zeros((256, 512))})))
        for make in (
            lambda n: gradtx.scale_by_factored_rms(min_dim_size_to_factor=n),
            lambda n: optax.scale_by_factored_rms(min_dim_size_to_factor=n),
        )
    )
    assert ours == 256 + 512 + 1  # and a counter
    assert theirs == ours + 1  # an empty average has an entry


@pytest.mark.parametrize(
    "tx",
    [
        gradtx.scale_by_factored_rms(min_dim_size_to_factor=2),
        gradtx.scale_by_factored_rms(factored=False),
        gradtx.scale_by_galore(2, 2, proj_type="reverse_std"),
    ],
    ids=["factored", "whole", "subspace"],
)
def test_settings_for_small_leaves_keep_the_laws(tx) -> None:
    gradtx.check_transformation(tx)


@pytest.mark.parametrize("shape", [(6, 4, 5), (4, 6, 5), (5, 5, 5)])
def test_of_more_axes_the_two_largest_are_factored_as_in_optax(shape) -> None:
    trees = [normal(*shape, seed=s) for s in range(5)]
    ours = _path(gradtx.adafactor(0.1, 2), trees)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = _path(optax.adafactor(0.1, 2), trees)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_a_decay_of_your_own_and_an_offset() -> None:
    def capped(step, rate):
        return jnp.minimum(1.0 - (step.astype(float) + 1.0) ** -rate, 0.5)

    trees = [normal(4, 6, seed=s) for s in range(6)]
    settings = {"min_dim_size_to_factor": 2, "decay_rate_fn": capped, "decay_rate": 0.7, "step_offset": -2}
    ours = _path(gradtx.scale_by_factored_rms(**settings), trees)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = _path(optax.scale_by_factored_rms(**settings), trees)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    # Before the offset is reached each average is the last square; Optax has a power of a negative number.
    late = _path(gradtx.scale_by_factored_rms(step_offset=9), [0 * trees[0], trees[0], trees[1]])
    np.testing.assert_allclose(late, np.sign(trees[0]) + np.sign(trees[1]), atol=1e-5)


HALVES = {n: functools.partial(getattr(gradtx, n), 0.01) for n in ("rprop", "acprop", "madgrad")}
HALVES = {f"{d}-{n}": (make, d) for n, make in (MAKE | HALVES).items() for d in ("float16", "bfloat16")}


@functools.cache
def _halves(names):
    """Of each optimizer the parameters, the updates and the states, in one program."""
    txs, given = [], []
    for name in names:
        make, dtype = HALVES[name][0], jnp.dtype(HALVES[name][1])
        params = {"w": np.ones((8, 8), dtype), "b": np.zeros(8, dtype)}
        sizes = np.asarray([1e-4, 0.0, 1e-7, 1.0, 0.0], dtype)
        grads = {"w": np.tile(sizes[:, None, None], (1, 8, 8)), "b": np.tile(sizes[:, None], (1, 8))}
        txs, given = [*txs, make()], [*given, (params, grads)]

    @jax.jit
    def step(carry, grads):
        made = [tx.update(g, state, p) for tx, (p, state), g in zip(txs, carry, grads, strict=True)]
        moved = [gradtx.apply_updates(p, u) for (p, _), (u, _) in zip(carry, made, strict=True)]
        return [(p, s) for p, (_, s) in zip(moved, made, strict=True)], [u for u, _ in made]

    start = jax.jit(lambda every: [(p, tx.init(p)) for tx, p in zip(txs, every, strict=True)])
    carry, path = start([p for p, _ in given]), []
    for t in range(5):
        carry, updates = step(carry, [jax.tree.map(lambda x, t=t: x[t], grads) for _, grads in given])
        path.append(jax.device_get((carry, updates)))
    return {n: [(carry[i], updates[i]) for carry, updates in path] for i, n in enumerate(names)}


@pytest.mark.parametrize("name", HALVES)
def test_small_gradients_in_half_precision_stay_finite(name) -> None:
    path = whole.together(_halves, tuple(HALVES), name)
    assert len(path) == 5
    for leaf in jax.tree.leaves(path):
        assert np.all(np.isfinite(np.asarray(leaf, np.float32)))
    dtype = jnp.dtype(HALVES[name][1])
    assert {x.dtype for x in jax.tree.leaves([updates for _, updates in path])} == {dtype}


def test_sm3_bounds_adagrads_sums_from_above() -> None:
    grads = np.stack([normal(4, 5, 3, seed=seed) for seed in range(5)])
    _, made, state = whole.follow(gradtx.divide_by_cover_root(eps=0.0), np.zeros_like(grads[0]), grads)
    total = 0.0
    for g, out in zip(grads, np.asarray(made), strict=True):
        total = total + g**2
        assert np.all(np.abs(out) <= np.abs(g) / np.sqrt(total) * (1 + 1e-6))
    (rows, columns, rest) = (np.asarray(x)[-1] for x in state.largest)
    assert (rows.shape, columns.shape, rest.shape) == ((4,), (5,), (3,))
    assert np.all(rows >= total.max(axis=(1, 2)) * (1 - 1e-6))


def test_sm3_on_vectors_and_scalars_is_adagrad() -> None:
    trees = [{"v": normal(4, seed=s), "s": normal(seed=s + 5)} for s in range(5)]
    adagrad = gradtx.chain(gradtx.adagrad(0.1, 0.0, 0.0))
    sm3 = gradtx.chain(gradtx.scale_by_sm3(None, eps=0.0), gradtx.scale_by_learning_rate(0.1))
    chex.assert_trees_all_close(_path(sm3, trees), _path(adagrad, trees), rtol=1e-6)
    zeros = jax.tree.map(np.zeros_like, trees[0])
    assert not np.any(_path(sm3, [zeros, zeros])["v"])  # 0 / 0 is 0


# ---------------------------------------------------------------- subspaces


def test_galore_keeps_its_state_in_the_subspace() -> None:
    params = {"wide": jnp.zeros((6, 20)), "tall": jnp.zeros((20, 6)), "bias": jnp.zeros(6)}
    for side, (basis, low) in {"std": ((6, 3), (3, 20)), "reverse_std": ((20, 3), (6, 3))}.items():
        state = jax.eval_shape(gradtx.scale_by_galore(3, proj_type=side).init, params)
        mean = state.inner.numerator[0].mean
        assert state.basis["wide"].shape == state.basis["tall"].shape == basis
        assert mean["wide"].shape == low
        assert mean["tall"].shape == low[::-1]
        assert mean["bias"].shape == (6,)


def test_an_update_lies_in_the_span_of_the_leading_singular_vectors() -> None:
    g = {"w": normal(6, 20)}
    tx = gradtx.scale_by_galore(2, 3, base_optimizer=gradtx.identity())
    u = np.linalg.svd(g["w"])[0][:, :2]
    _, out, states = whole.follow(
        tx, g, whole.stack([g, *({"w": normal(6, 20, seed=t)} for t in range(2, 6))])
    )
    np.testing.assert_allclose(out["w"][0], u @ u.T @ g["w"], atol=1e-5)
    kept, *later = np.asarray(states.basis["w"])
    for t, basis in enumerate(later, 2):
        assert np.array_equal(basis, kept) == (t < 4)  # made anew at every third step
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-6)


def test_a_full_basis_with_a_linear_inner_is_the_inner() -> None:
    trees = [normal(4, 6, seed=s) for s in range(5)]
    whole = gradtx.scale_by_galore(99, 2, base_optimizer=gradtx.identity())
    np.testing.assert_allclose(_path(whole, trees), _path(gradtx.identity(), trees), atol=1e-5)


def test_the_inner_transformation_is_given_no_parameters() -> None:
    tx = gradtx.scale_by_galore(base_optimizer=gradtx.scale_by_trust_ratio())
    with pytest.raises(ValueError, match="scale_by_trust_ratio needs the parameters"):
        tx.update({"w": normal(3, 4)}, tx.init({"w": normal(3, 4)}), {"w": normal(3, 4)})


def test_a_batch_has_a_basis_each() -> None:
    tx = gradtx.scale_by_galore(2, weight_dimension_numbers="w")
    assert tx.init({"w": normal(3, 4, 6)}).basis["w"].shape == (3, 4, 2)
    empty = tx.init({"w": jnp.zeros((3, 0, 6))})
    assert tx.update({"w": jnp.zeros((3, 0, 6))}, empty)[0]["w"].shape == (3, 0, 6)


# ---------------------------------------------------------------- Rprop, ACProp, MADGRAD, Fromage


def test_rprop_steps_at_once_where_optax_steps_one_update_late() -> None:
    stream = [1.0, 1.0, 2.0, -1.0, -1.0, -1.0, 0.0, 1.0]
    ours = _updates(gradtx.rprop(0.1), stream)
    sizes = [0.1, 0.12, 0.144, 0.0, 0.072, 0.0864, 0.0, 0.0864]
    np.testing.assert_allclose(ours, -np.sign(stream) * sizes, rtol=1e-6)
    late = _updates(optax.rprop(0.1), stream)
    np.testing.assert_allclose(late[1:3], ours[:2], rtol=1e-6)
    assert late[0] == 0
    np.testing.assert_allclose(late[5:7], ours[4:6], rtol=1e-6)


def test_rprop_takes_a_step_back_on_request() -> None:
    made = _updates(gradtx.rprop(0.1, backtrack=True), [1.0, 1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(made, [-0.1, -0.12, 0.12, 0.06, 0.072], rtol=1e-6)


def test_rprop_sees_signs_of_gradients_whose_products_vanish() -> None:
    made = _updates(gradtx.rprop(1e-6), [1e-30, 1e-30, 1e-36])
    np.testing.assert_allclose(made, [-1e-6, -1.2e-6, -1.44e-6], rtol=1e-5)


def test_rprop_starts_at_a_schedules_first_value() -> None:
    made = _updates(gradtx.rprop(gradtx.linear_schedule(0.1, 0.01, 1)), [1.0, 1.0])
    np.testing.assert_allclose(made, [-0.1, -0.12], rtol=1e-6)


def test_acprops_steps_are_1_over_b1_as_long_as_optaxs() -> None:
    """(g - mₜ) = β₁ (g - mₜ₋₁). Both make the first step by the gradient itself."""
    stream = np.random.default_rng(0).normal(size=9)
    ours = _updates(gradtx.acprop(0.1, 0.8, 0.9), stream)
    theirs = _updates(optax.contrib.acprop(0.1, 0.8, 0.9), stream)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1:], theirs[1:] / 0.8, rtol=2e-5)


def test_madgrad_without_eps_leaves_what_has_no_gradient() -> None:
    params = {"w": np.array([1.0, 2.0], np.float32)}
    tx = gradtx.madgrad(0.1, eps=0.0)
    updates, _ = whole.update(tx, {"w": np.array([0.0, 1.0], np.float32)}, tx.init(params), params)
    assert float(updates["w"][0]) == 0
    assert np.isfinite(float(updates["w"][1]))


def test_fromage_keeps_the_length_if_the_step_is_at_right_angles() -> None:
    params, grads = np.array([3.0, 4.0], np.float32), np.array([-4.0, 3.0], np.float32)
    after = _path(gradtx.fromage(0.3), [params, grads]).astype(float)
    np.testing.assert_allclose(np.hypot(*after), 5.0, rtol=1e-6)
    angle = np.arctan2(after[1], after[0]) - np.arctan2(4, 3)
    np.testing.assert_allclose(angle, -np.arctan(0.3), rtol=1e-5)


@pytest.mark.parametrize("make", ["scale_by_param_block_norm", "scale_by_param_block_rms"])
def test_updates_grow_with_their_parameters_as_in_optax(make) -> None:
    params = {
        "w": normal(3, 4),
        "tiny": np.full(5, 1e-6, np.float32),
        "zero": np.zeros((2, 2), np.float32),
        "none": np.zeros((0, 2), np.float32),
    }
    grads = jax.tree.map(lambda p: p + 1, params)
    for least in (1e-3, 0.5):
        ours, theirs = (getattr(lib, make)(least) for lib in (gradtx, optax))
        mine = whole.update(ours, grads, ours.init(params), params)[0]
        with jax.numpy_dtype_promotion("standard"):
            other = whole.update(theirs, grads, theirs.init(params), params)[0]
        chex.assert_trees_all_close(mine, other, rtol=1e-6)


# ---------------------------------------------------------------- roots


def _positive(n, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return (q * np.logspace(-3, 1, n)) @ q.T


def _root(a, p, ridge):
    values, vectors = np.linalg.eigh(a)
    return (vectors * (values + ridge * values.max()) ** (-1 / p)) @ vectors.T


POWERS = {1: True, 2: True, 3: False, 4: True, 6: False, 8: True}  # and whether Optax has the root


@functools.cache
def _roots():
    """Every root in float64 and in float32, and Optax's: a program for each of the three."""

    def every(a, root=gradtx.matrix_inverse_pth_root, powers=tuple(POWERS), **options):
        return jax.device_get(jax.jit(lambda a: {p: root(a, p, **options) for p in powers})(a))

    a = _positive(7)
    with jax.enable_x64(True):
        wide = every(a, error_tolerance=1e-13)
    with jax.numpy_dtype_promotion("standard"):
        theirs = every(
            a.astype(np.float32), optax.matrix_inverse_pth_root, [p for p, known in POWERS.items() if known]
        )
    return wide, every(a.astype(np.float32)), theirs


@pytest.mark.parametrize("p", POWERS)
def test_an_inverse_root_is_that_of_the_eigenvalues(p) -> None:
    expected = _root(_positive(7), p, 1e-6)
    wide, narrow, theirs = _roots()
    root, error = wide[p]
    assert error <= 1e-12
    np.testing.assert_allclose(root, expected, rtol=1e-8, atol=1e-9)  # λ is known to 1e-6
    root, _ = narrow[p]
    np.testing.assert_allclose(root, expected, rtol=1e-2, atol=1e-2 * np.abs(root).max())
    if POWERS[p]:
        np.testing.assert_allclose(root, theirs[p][0], atol=1e-2 * np.abs(root).max())


inverse_root = jax.jit(gradtx.matrix_inverse_pth_root, static_argnames=("p", "num_iters", "error_tolerance"))


def test_an_inverse_root_doubles_its_digits_at_each_step() -> None:
    """Of a ratio of 10⁴ between eigenvalues: eleven steps of at most (3/2)² to reach 1, and a few more."""
    with jax.enable_x64(True):
        _, error = inverse_root(_positive(7), 2, 20, error_tolerance=1e-13)
        assert error <= 1e-10


def test_an_inverse_root_of_one_number_and_what_is_refused() -> None:
    root, _ = inverse_root(np.full((1, 1), 16.0, np.float32), 4)
    np.testing.assert_allclose(root, [[0.5]], rtol=1e-5)
    square = functools.partial(gradtx.matrix_inverse_pth_root, p=2)
    assert jax.eval_shape(square, jnp.eye(3, dtype=jnp.bfloat16))[0].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="p must be a whole number"):
        gradtx.matrix_inverse_pth_root(jnp.eye(2), 0)
    with pytest.raises(ValueError, match="must be square"):
        gradtx.matrix_inverse_pth_root(jnp.ones((2, 3)), 2)


def test_power_iteration_finds_the_dominant_eigenvalue() -> None:
    a = _positive(6)
    find = jax.jit(gradtx.power_iteration)
    value, vector = find(a.astype(np.float32))
    np.testing.assert_allclose(value, 10.0, rtol=1e-6)
    np.testing.assert_allclose(a @ vector, 10.0 * np.asarray(vector), atol=1e-4)
    np.testing.assert_allclose(find(-a.astype(np.float32))[0], -10.0, rtol=1e-6)
    theirs, _ = jax.jit(optax.power_iteration)(a.astype(np.float32))
    np.testing.assert_allclose(value, theirs, rtol=1e-6)


def test_power_iteration_takes_a_function_of_a_tree() -> None:
    def times(v):
        return {"a": 3.0 * v["a"], "b": 2.0 * v["b"]}

    value, vector = gradtx.power_iteration(times, v0={"a": jnp.ones(2), "b": jnp.ones(3)}, num_iters=50)
    np.testing.assert_allclose(value, 3.0, rtol=1e-6)
    np.testing.assert_allclose(vector["a"], np.full(2, 0.5**0.5), rtol=1e-5)
    with pytest.raises(ValueError, match="v0 is needed"):
        gradtx.power_iteration(times)


def test_power_iteration_of_zeros_is_0() -> None:
    value, vector = gradtx.power_iteration(jnp.zeros((3, 3)))
    assert float(value) == 0
    assert np.all(np.isfinite(vector))


def test_a_loop_that_is_called_by_itself_is_compiled_once() -> None:
    """A function that is made at each call would be compiled at each."""
    a = _positive(3).astype(np.float32)
    of_matrix, root, steps = roots._of_matrix, roots._inverse_root, orthogonal._steps
    for program in (of_matrix, root, steps):
        program.clear_cache()
    for size in (1.0, 2.0, 3.0):
        x = jnp.asarray(np.float32(size) * a)
        gradtx.power_iteration(x)
        gradtx.matrix_inverse_pth_root(x, 2)
        gradtx.newton_schulz(x)
    assert [program._cache_size() for program in (of_matrix, root, steps)] == [1, 1, 1]
