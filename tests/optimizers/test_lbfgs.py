"""L-BFGS beside the book's loop, the matrix that it stands for, Optax and SciPy, in float64."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import gradtx
from tests import whole


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(8, 8))
HESSIAN = ROOT @ ROOT.T + np.eye(8)


def quadratic(x):
    return x @ jnp.asarray(HESSIAN) @ x / 2 - jnp.sum(x)


def book(theta, gradient, steps, *, rate, memory, scaled):
    """Nocedal & Wright, algorithms 7.4 and 7.5, without a line search."""
    pairs, path, last = [], [], None
    for _ in range(steps):
        g = gradient(theta)
        if last is not None and (g - last[1]) @ (theta - last[0]) > 0:
            pairs = [*pairs, (theta - last[0], g - last[1])][-memory:]
        q, alphas = g, []
        for s, y in reversed(pairs):
            alphas.append(s @ q / (y @ s))
            q = q - alphas[-1] * y
        if scaled:
            q = (
                q * (pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]))
                if pairs
                else q * min(1.0, 1.0 / np.linalg.norm(g))
            )
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + (alpha - y @ q / (y @ s)) * s
        last, theta = (theta, g), theta - rate * q
        path.append(theta)
    return np.stack(path)


def follow(tx, f, start, steps, library=gradtx, conj=False, reuse=False):
    """Parameters after each step of one program, the last state, and how often the step was traced."""
    traces = []
    take = library.value_and_grad_from_state(f)

    def step(carry, _):
        params, state = carry
        traces.append(1)
        value, grad = take(params, state=state) if reuse else jax.value_and_grad(f)(params)
        extra = {"value": value, "grad": grad, "value_fn": f}
        updates, state = tx.update(jnp.conj(grad) if conj else grad, state, params, **extra)
        params = library.apply_updates(params, updates)
        return (params, state), params

    run = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), length=steps))
    (_, state), path = run(start)
    return np.asarray(path), state, len(traces)


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("memory", [1, 3, 10])
def test_follows_the_book_for_60_steps(memory: int, scaled: bool) -> None:
    """The ring has gone round 60 / memory times."""
    start = RNG.normal(size=8)
    rate = 0.3 if scaled else 0.05
    tx = gradtx.lbfgs(rate, memory_size=memory, scale_init_precond=scaled, linesearch=None)
    with jax.enable_x64(True):
        path, _, _ = follow(tx, quadratic, start, 60)
    expected = book(start, lambda x: HESSIAN @ x - 1, 60, rate=rate, memory=memory, scaled=scaled)
    # 60 steps of a recursion that divides by differences: each loses some digits.
    np.testing.assert_allclose(path, expected, rtol=1e-8)
    np.testing.assert_allclose(path[:10], expected[:10], rtol=1e-12)


def test_the_direction_is_the_product_with_the_books_matrix() -> None:
    """Equation 7.19: H ← VᵀHV + ρ s sᵀ with V = I - ρ y sᵀ, from γ I on."""
    tx = gradtx.scale_by_lbfgs(memory_size=4)
    points = RNG.normal(size=(7, 8))
    with jax.enable_x64(True):
        state = whole.init(tx, np.zeros(8))
        for x in points:
            direction, state = whole.update(tx, HESSIAN @ x, state, x)
    pairs = [(b - a, HESSIAN @ (b - a)) for a, b in itertools.pairwise(points[2:])]
    s, y = pairs[-1]
    inverse = (s @ y) / (y @ y) * np.eye(8)
    for s, y in pairs:
        v = np.eye(8) - np.outer(y, s) / (y @ s)
        inverse = v.T @ inverse @ v + np.outer(s, s) / (y @ s)
    np.testing.assert_allclose(direction, inverse @ HESSIAN @ points[-1], rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"memory_size": 2}, {"scale_init_precond": False}], ids=str)
def test_agrees_with_optax(options) -> None:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        ours, _, _ = follow(gradtx.lbfgs(**options), rosenbrock, np.zeros(6), 30, reuse=True)
        theirs, _, _ = follow(optax.lbfgs(**options), rosenbrock, np.zeros(6), 30, optax, reuse=True)
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-10)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # each difference of near points loses digits


def test_finds_the_minimum_in_as_many_steps_as_scipy() -> None:
    """PAINS 29."""
    start = np.asarray([-1.2, 1.0] * 5)
    with jax.enable_x64(True):
        path, state, traces = follow(gradtx.lbfgs(), rosenbrock, start, 100, reuse=True)
    peer = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-8, "maxcor": 10},
    )  # fmt: skip
    assert peer.success
    np.testing.assert_allclose(path[-1], np.ones(10), atol=1e-9)
    reached = (
        int(np.argmax(np.abs(np.asarray([scipy.optimize.rosen_der(x) for x in path])).max(1) < 1e-8)) + 1
    )
    assert 1 < reached <= 1.25 * peer.nit, (reached, peer.nit)
    assert traces == 1
    assert float(state[-1].value) < 1e-20


def test_equal_optimizers_share_one_compile() -> None:
    """PAINS 29: many calls, each with an optimizer of its own, are traced once."""
    traces = []

    @functools.partial(jax.jit, static_argnames=("tx", "f"))
    def solve(tx, f, x):
        traces.append(1)
        take = gradtx.value_and_grad_from_state(f)

        def step(carry, _):
            params, state = carry
            value, grad = take(params, state=state)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=f)
            return (gradtx.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (x, tx.init(x)), length=40)[0][0]

    for i in range(5):
        found = solve(gradtx.lbfgs(memory_size=5), rosenbrock, np.full(3, 0.1 * i, np.float32))
        np.testing.assert_allclose(found, np.ones(3), rtol=1e-3)
    assert len(traces) == 1


def test_pairs_without_positive_curvature_are_left_out_where_optax_takes_them_in() -> None:
    """On a hill Optax's direction, behind the sign, points up."""

    def hill(x):
        return -jnp.sum(jnp.cosh(x))

    x = [np.asarray(v, np.float32) for v in ([0.3, -0.2], [0.4, -0.3])]
    slope = jax.jit(jax.grad(hill))
    downhill = {}
    for library in (gradtx, optax):
        tx = library.scale_by_lbfgs()
        with jax.numpy_dtype_promotion("standard"):
            state = whole.init(tx, x[0])
            for point in x:
                grad = slope(point)
                direction, state = whole.update(tx, grad, state, point)
        downhill[library.__name__] = bool(np.vdot(direction, grad) > 0)
    assert downhill == {"gradtx": True, "optax": False}


def test_a_gradient_that_is_no_number_leaves_no_trace() -> None:
    tx, x = gradtx.scale_by_lbfgs(memory_size=3), np.asarray([0.3, -0.2, 0.5], np.float32)
    state = whole.init(tx, x)
    for i in range(8):
        grad = x * np.asarray([1.0, 2.0, 3.0], np.float32) * np.float32(np.nan if i == 4 else 1.0)
        direction, state = whole.update(tx, grad, state, x)
        assert np.all(np.isfinite(direction)) == (i != 4)
        x = x - np.float32(0.1) * np.nan_to_num(direction)
    state = jax.device_get(state)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert state.pairs == 5  # eight gradients, less the pairs at both sides of the poison, and the first
    assert state.step == 8


def test_standing_still_takes_no_pair_in() -> None:
    tx, x = gradtx.scale_by_lbfgs(memory_size=3), np.ones(3, np.float32)
    state = whole.init(tx, x)
    for _ in range(3):
        direction, state = whole.update(tx, 2 * x, state, x)
    assert int(state.pairs) == 0
    np.testing.assert_allclose(direction, x / np.sqrt(3.0), rtol=1e-6)
    small, _ = whole.update(tx, x / 8, whole.init(tx, x), x)  # of norm below 1
    np.testing.assert_allclose(small, x / 8, rtol=1e-6)


def test_complex_parameters_are_pairs_of_real_ones() -> None:
    matrix = np.asarray([[1, -2], [3, 4], [-4 + 2j, 5 - 3j], [-2 - 2j, 6]])

    def f(z):
        return jnp.sum(jnp.abs(matrix.astype(z.dtype) @ z - 1) ** 1.5)

    def of_pair(x):
        return f(jax.lax.complex(x[0], x[1]))

    with jax.enable_x64(True):
        z = np.asarray([1 - 1j, 1j])
        of_z, state, _ = follow(gradtx.lbfgs(), f, z, 12, conj=True)
        of_x, _, _ = follow(gradtx.lbfgs(), of_pair, np.stack([z.real, z.imag]), 12)
    np.testing.assert_allclose(np.stack([of_z.real, of_z.imag], 1), of_x, rtol=1e-6, atol=1e-9)
    assert state[0].weights_memory.dtype == np.float64


def test_the_state_is_a_ring_of_fixed_shapes_at_least_float32() -> None:
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3)}
    state = jax.eval_shape(gradtx.scale_by_lbfgs(memory_size=4).init, params)
    assert state.diff_params_memory["w"].shape == (4, 2, 3)
    assert state.diff_params_memory["w"].dtype == state.weights_memory.dtype == jnp.float32
    assert state.step.dtype == state.pairs.dtype == jnp.int32


def test_a_rate_is_read_by_name_and_scheduled() -> None:
    """PAINS 13."""
    tx = gradtx.lbfgs(gradtx.linear_schedule(1.0, 0.5, 2), linesearch=None)
    x = np.asarray([1.0, 2.0], np.float32)
    state = whole.init(tx, x)
    _, state = whole.update(tx, x, state, x)
    _, state = whole.update(tx, x, state, x)
    (name,) = state.scheduled
    assert name.endswith("learning_rate")
    assert float(state.scheduled[name]) == 0.75
    assert optax.tree.get(state, "learning_rate") is not None or name != "learning_rate"


def test_wrong_memories_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lbfgs\(memory_size=0\): memory_size must be at least 1"):
        gradtx.lbfgs(memory_size=0)
    with pytest.raises(TypeError, match="linesearch must be a gradient transformation"):
        gradtx.lbfgs(linesearch="zoom")
    assert gradtx.lbfgs(linesearch=None).expand() == gradtx.chain(gradtx.scale_by_lbfgs(), gradtx.scale(-1.0))


def test_parameters_of_a_weak_type_are_remembered_in_a_strong_one() -> None:
    """`jnp.full(shape, 0.1)` is weakly typed, and a state that becomes so is traced a second time."""
    tx, params = gradtx.scale_by_lbfgs(), {"w": jnp.full(2, 0.1)}
    assert jax.typeof(params["w"]).weak_type
    state = tx.init(params)
    _, after = jax.eval_shape(tx.update, params, state, params)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
