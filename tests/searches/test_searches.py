"""Line searches beside their book's loops in float64 and beside Optax, and what they ask of the objective."""

from __future__ import annotations

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import chain, scale_by_backtracking_linesearch, scale_by_zoom_linesearch, sgd
from gradtx.contract.facts import facts

# ---------------------------------------------------------------- the books' loops


def backtracking(
    phi, slope, guess, *, steps, slope_rtol=1e-4, decrease_factor=0.8, increase_factor=1.5,
    max_learning_rate=1.0, atol=0.0, rtol=0.0,
):  # fmt: skip
    """Nocedal & Wright, algorithm 3.1."""
    step = min(guess * increase_factor, max_learning_rate)
    for tries in range(steps + 1):
        if tries:
            step *= decrease_factor
        if phi(step) <= (1 + rtol) * phi(0.0) + slope_rtol * step * slope + atol:
            break
    return step


def zoom_search(
    phi, derivative, guess, *, steps, increase_factor=2.0, slope_rtol=1e-4, curv_rtol=0.9,
    approx_dec_rtol=1e-6, stepsize_precision=1e-5, max_learning_rate=math.inf, tol=0.0,
):  # fmt: skip
    """Nocedal & Wright, algorithms 3.5 and 3.6; the approximate condition is Hager & Zhang's."""
    start, fall = phi(0.0), derivative(0.0)
    safe = None

    def descent(a):
        error = phi(a) - start - slope_rtol * a * fall
        if approx_dec_rtol is not None:
            slopes = derivative(a) - (2 * slope_rtol - 1) * fall
            error = min(error, max(slopes, phi(a) - start - approx_dec_rtol * abs(start)))
        return max(error, 0.0)

    def good(a):
        return descent(a) <= tol and abs(derivative(a)) - curv_rtol * abs(fall) <= tol

    # Algorithm 3.5
    last, step = 0.0, min(guess, max_learning_rate)
    for tries in range(1, steps + 1):
        if descent(step) <= tol:
            safe = step
        if good(step):
            return step
        if descent(step) > 0 or (tries > 1 and phi(step) >= phi(last)):
            low, high = last, step
            break
        if derivative(step) >= 0:
            low, high = step, last
            break
        if step >= max_learning_rate:
            return step
        last, step = step, min(increase_factor * step, max_learning_rate)
    else:
        return safe or last

    # Algorithm 3.6
    third = low
    for _ in range(tries, steps):
        short = abs(high - low) <= stepsize_precision
        step = between(phi, derivative, low, high, third)
        if descent(step) <= tol and phi(step) < (start if safe is None else phi(safe)):
            safe = step
        if good(step):
            return step
        if short and safe is not None:
            break
        if descent(step) > 0 or phi(step) >= phi(low):
            third, high = high, step
        elif derivative(step) * (high - low) >= 0:
            third, high, low = high, low, step
        else:
            third, low = low, step
    return step if safe is None else safe


def between(phi, derivative, low, high, third):
    """The least of the cubic through three points; else of the parabola through two; else the middle."""
    b, c = high - low, third - low
    left, right, width = min(low, high), max(low, high), abs(b)
    if c != 0:
        rows = np.array([[b**3, b**2], [c**3, c**2]])
        cubed, squared = np.linalg.solve(
            rows, [phi(low + x) - phi(low) - derivative(low) * x for x in (b, c)]
        )
        under = squared**2 - 3 * cubed * derivative(low)
        if under >= 0 and cubed != 0:
            step = low + (-squared + math.sqrt(under)) / (3 * cubed)
            if left + 0.2 * width < step < right - 0.2 * width:
                return step
    step = low - derivative(low) * b**2 / (2 * (phi(high) - phi(low) - derivative(low) * b))
    if left + 0.1 * width < step < right - 0.1 * width:
        return step
    return (low + high) / 2


# ---------------------------------------------------------------- objectives


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def steep(x):
    return jnp.sum(jnp.exp(3 * x)) + jnp.sum(x**4)


def wavy(x):
    return jnp.sum(x**2 / 10 - jnp.cos(3 * x))


OBJECTIVES = {"rosenbrock": rosenbrock, "steep": steep, "wavy": wavy}
START = np.asarray([-1.2, 1.0, 0.5, -0.3])


@functools.cache
def _descent(make, objective, steps, library, fixed):
    """Steepest descent by a search that is made of what is fixed and of numbers, in one program.

    The objective is one of a table's, by its number, if it is none itself.
    """

    def run(params, which, down, numbers):
        tx = library.chain(library.sgd(down), make(**dict(fixed), **numbers))

        def f(x):
            return objective(x) if objective else jax.lax.switch(which, list(OBJECTIVES.values()), x)

        def step(carry, _):
            params, state = carry
            value, grad = jax.value_and_grad(f)(params)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=f)
            params = library.apply_updates(params, updates)
            return (params, state), (params, state[-1])

        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[1]

    return jax.jit(run)


def descend(make, f, steps, start=START, library=gradtx, down=1.0, **options):
    """Parameters, and the search's state, after each step of steepest descent on f, or on one by its name."""
    which, objective = (list(OBJECTIVES).index(f), None) if isinstance(f, str) else (0, f)
    numbers = {
        name: float(x)
        for name, x in options.items()
        # Infinity is None to ours, which is no number.
        if isinstance(x, float) and (library is optax or math.isfinite(x))
    }
    fixed = tuple(sorted((name, x) for name, x in options.items() if name not in numbers))
    run = _descent(make, objective, steps, library, fixed)
    path, states = jax.device_get(run(start, which, down, numbers))
    return path, [jax.tree.map(lambda x, t=t: x[t], states) for t in range(steps)]


@functools.cache
def compiled(f):
    return jax.jit(jax.value_and_grad(f))


def line(f, at):
    """φ and φ' along the steepest descent, as Python functions."""
    direction = -np.asarray(compiled(f)(at)[1])

    @functools.cache
    def both(a):
        value, grad = compiled(f)(at + a * direction)
        return float(value), float(np.dot(grad, direction))

    return (lambda a: both(a)[0]), (lambda a: both(a)[1])


zoom = functools.partial(scale_by_zoom_linesearch, 12)
backtrack = functools.partial(scale_by_backtracking_linesearch, 40)
PEERS = {
    zoom: functools.partial(optax.scale_by_zoom_linesearch, 12),
    backtrack: functools.partial(optax.scale_by_backtracking_linesearch, 40),
}
# Numbers that searches share a program by; what is infinite or None is not one of them.
ZOOM = {
    "tol": 0.0, "increase_factor": 2.0, "slope_rtol": 1e-4, "curv_rtol": 0.9, "approx_dec_rtol": 1e-6,
    "stepsize_precision": 1e-5,
}  # fmt: skip
ZOOMS = {
    "defaults": {},
    "exact": {"approx_dec_rtol": None},
    "strict": {"curv_rtol": 0.1, "slope_rtol": 1e-2, "increase_factor": 3.0},
    "bounded": {"max_learning_rate": 0.02},
    "descent-alone": {"curv_rtol": math.inf},
    "coarse": {"stepsize_precision": 0.05, "curv_rtol": 0.01},
    "tolerant": {"tol": 0.5},
    "by-slopes": {"approx_dec_rtol": 1.0, "slope_rtol": 0.3},
}


@pytest.mark.parametrize("setting", ZOOMS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_zoom_takes_the_books_steps(name: str, setting: str) -> None:
    f, options = OBJECTIVES[name], ZOOMS[setting]
    with jax.enable_x64(True):
        path, states = descend(zoom, name, 30, **ZOOM | options)
        at, guess = START, min(1.0, options.get("max_learning_rate", math.inf))
        for params, state in zip(path[:15], states[:15], strict=True):
            phi, derivative = line(f, at)
            expected = zoom_search(phi, derivative, guess, steps=12, **options)
            # An interpolated step is as exact as differences of f are: 1e-16 / 1e-8 near a minimum.
            assert float(state.learning_rate) == pytest.approx(expected, rel=1e-7)
            assert float(state.value) == pytest.approx(float(compiled(f)(params)[0]), rel=1e-14)
            at, guess = params, float(state.learning_rate)
            if derivative(0.0) > -1e-12:
                return


@pytest.mark.parametrize("name", OBJECTIVES)
def test_zoom_takes_the_books_step_from_many_places(name: str) -> None:
    """Searches long enough to give up either end of the interval."""
    f, options = OBJECTIVES[name], {"curv_rtol": 0.01, "increase_factor": 5.0}
    tx = chain(sgd(1.0), scale_by_zoom_linesearch(12, **options))
    places = np.concatenate([[[-1.1, -1.9, -0.9, 0.1]], np.random.default_rng(0).normal(size=(39, 4)) * 0.8])
    with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):

        def search(x):
            value, grad = jax.value_and_grad(f)(x)
            return tx.update(grad, tx.init(x), x, value=value, grad=grad, value_fn=f)[1][-1].learning_rate

        for x, rate in zip(places, jax.jit(jax.vmap(search))(places), strict=True):
            expected = zoom_search(*line(f, x), 1.0, steps=12, **options)
            assert float(rate) == pytest.approx(expected, rel=1e-7), x


@pytest.mark.parametrize("setting", ["defaults", "exact", "strict", "bounded", "descent-alone", "tolerant"])
@pytest.mark.parametrize("guess", ["one", "keep"])
def test_zoom_agrees_with_optax(setting: str, guess: str) -> None:
    options = ZOOMS[setting] | {"initial_guess_strategy": guess}
    with jax.enable_x64(True):
        ours, states = descend(zoom, "rosenbrock", 30, **ZOOM | options)
        with jax.numpy_dtype_promotion("standard"):
            theirs, peers = descend(
                PEERS[zoom], rosenbrock, 30, library=optax, **ZOOM | {"max_learning_rate": math.inf} | options
            )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    for state, peer in zip(states, peers, strict=True):
        assert int(state.info.num_linesearch_steps) == int(peer.info.num_linesearch_steps)


def test_zoom_fulfils_wolfes_conditions() -> None:
    with jax.enable_x64(True):
        path, states = descend(functools.partial(scale_by_zoom_linesearch, 25), rosenbrock, 30)
        for before, after, state in zip([START, *path], path, states, strict=False):
            (f0, g0), (f1, g1) = compiled(rosenbrock)(before), compiled(rosenbrock)(after)
            eta, fall = state.learning_rate, -np.vdot(g0, g0)
            assert float(f1) <= float(f0) + 1e-4 * eta * fall
            assert abs(np.vdot(g1, g0)) <= 0.9 * abs(fall)
            assert state.info.decrease_error == state.info.curvature_error == 0
            np.testing.assert_allclose(state.grad, g1, rtol=1e-12)


BACKTRACK = {
    "slope_rtol": 1e-4, "decrease_factor": 0.8, "increase_factor": 1.5, "max_learning_rate": 1.0,
    "atol": 0.0, "rtol": 0.0,
}  # fmt: skip
BACKTRACKS = {
    "defaults": {},
    "steep": {"slope_rtol": 0.4, "decrease_factor": 0.5},
    "from-the-top": {"increase_factor": math.inf, "max_learning_rate": 0.7},
    "tolerant": {"atol": 0.1, "rtol": 0.05},
    "kept": {"increase_factor": 1.0, "max_learning_rate": 2.0},
}


@pytest.mark.parametrize("store_grad", [False, True])
@pytest.mark.parametrize("setting", BACKTRACKS)
def test_backtracking_takes_the_books_steps_and_optaxs(setting: str, store_grad: bool) -> None:
    options = BACKTRACKS[setting] | {"store_grad": store_grad}
    with jax.enable_x64(True):
        ours, states = descend(backtrack, rosenbrock, 20, **BACKTRACK | options)
        with jax.numpy_dtype_promotion("standard"):
            theirs, _ = descend(PEERS[backtrack], rosenbrock, 20, library=optax, **BACKTRACK | options)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        at, guess = START, 1.0
        for params, state in zip(ours, states, strict=True):
            phi, derivative = line(rosenbrock, at)
            expected = backtracking(phi, derivative(0.0), guess, steps=40, **BACKTRACKS[setting])
            assert float(state.learning_rate) == pytest.approx(expected, rel=1e-12)
            assert float(state.value) == pytest.approx(float(compiled(rosenbrock)(params)[0]), rel=1e-12)
            if store_grad:
                slope = compiled(rosenbrock)(params)[1]  # a sum of terms of up to a hundred
                np.testing.assert_allclose(state.grad, slope, rtol=1e-12, atol=1e-13)
            at, guess = params, float(state.learning_rate)


def test_infinity_is_none_and_prints() -> None:
    tx = scale_by_backtracking_linesearch(3, increase_factor=math.inf)
    assert tx == scale_by_backtracking_linesearch(3, increase_factor=None)
    assert scale_by_zoom_linesearch(3, curv_rtol=jnp.inf).curv_rtol is None
    with pytest.raises(ValueError, match=r"increase_factor must be in \(0, inf\)"):
        scale_by_backtracking_linesearch(3, increase_factor=0.0)


# ---------------------------------------------------------------- what is not finite


def cliff(x):
    """Not a number beyond 1."""
    return jnp.where(jnp.any(jnp.abs(x) > 1), jnp.nan, jnp.sum(x**2))


SEARCHES = {
    "zoom": functools.partial(scale_by_zoom_linesearch, 8),
    "backtracking": functools.partial(scale_by_backtracking_linesearch, 8, store_grad=True),
}
every_search = pytest.mark.parametrize("make", SEARCHES.values(), ids=SEARCHES)


@every_search
def test_a_step_to_where_the_objective_is_no_number_is_shortened(make) -> None:
    start = np.asarray([0.9, -0.7], np.float32)
    path, states = descend(make, cliff, 4, start, down=3.0)
    assert np.all(np.abs(path) <= 1)
    assert states[-1].value < 0.3 * np.sum(start**2)


@every_search
def test_nothing_moves_where_no_step_is_finite_and_the_next_search_begins_anew(make) -> None:
    """Optax's learning rate is 0 from then on."""
    tx, params = chain(sgd(1.0), make()), jnp.asarray([0.5, 0.25])

    @jax.jit
    def step(state, poison):
        def f(x):
            return jnp.sum(x**2) + poison

        value, grad = jax.value_and_grad(f)(params)
        return tx.update(grad + poison, state, params, value=value, grad=grad, value_fn=f)

    updates, state = step(tx.init(params), np.nan)
    np.testing.assert_array_equal(updates, np.zeros(2))
    assert float(state[-1].learning_rate) == 0
    updates, state = jax.device_get(step(state, 0.0))
    assert state[-1].learning_rate > 0
    assert np.all(updates < 0)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))


@every_search
def test_where_nothing_moves_value_and_gradient_are_those_of_where_it_is(make) -> None:
    params, tx = np.ones(2, np.float32), make()
    update = jax.jit(functools.partial(tx.update, value_fn=cliff))
    extra = {"value": 2.0, "grad": 2 * params}
    updates, state = update(params, tx.init(params), params, **extra)  # outward, off the cliff
    np.testing.assert_array_equal(updates, np.zeros(2))
    assert float(state.value) == 2
    np.testing.assert_array_equal(state.grad, 2 * params)


def test_optaxs_backtracking_stays_at_zero() -> None:
    """The departure that the test above is about."""
    tx = optax.scale_by_backtracking_linesearch(8)
    params = jnp.asarray([0.5, 0.25])

    @jax.jit
    def step(state, poison):
        def f(x):
            return jnp.sum(x**2) + poison

        value, grad = jax.value_and_grad(f)(params)
        return tx.update(-grad, state, params, value=value, grad=grad, value_fn=f)[1]

    with jax.numpy_dtype_promotion("standard"):
        state = step(step(tx.init(params), np.nan), 0.0)
    assert float(state.learning_rate) == 0


# ---------------------------------------------------------------- what is asked of the caller

PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([0.5, 0.25])}


def loss(params, x, scale=1.0):
    return scale * sum(jnp.sum((p - x) ** 2) for p in jax.tree.leaves(params))


def around(search):
    """The search alone and inside others."""
    down = chain(sgd(1.0), search)
    return {
        "alone": search,
        "chain": down,
        "masked": gradtx.masked(down, "kernel"),
        "partition": gradtx.partition(
            {"a": down, "b": gradtx.freeze()}, gradtx.by_path(("kernel", "a"), (".*", "b"))
        ),
        "lbfgs": gradtx.lbfgs(linesearch=search),
        "schedule": chain(sgd(gradtx.linear_schedule(1.0, 0.5, 4)), search),
    }


PLACES = list(around(scale_by_zoom_linesearch(3)))


@pytest.mark.parametrize("place", PLACES)
@every_search
def test_what_is_missing_is_named_with_who_needs_it(make, place: str) -> None:
    """PAINS 15 and 29."""
    tx, full = around(make())[place], {"value": 1.0, "grad": PARAMS, "value_fn": loss, "x": 0.0}
    state, who = tx.init(PARAMS), type(make()).__name__
    assert facts(tx).extras.needed == dict.fromkeys(("value", "grad", "value_fn"), who)
    for name in ("value", "grad", "value_fn"):
        rest = {n: v for n, v in full.items() if n != name}
        with pytest.raises(TypeError, match=rf"{type(tx).__name__}: {who} needs the extra argument '{name}'"):
            tx.update(PARAMS, state, PARAMS, **rest)
    with pytest.raises(TypeError, match=rf"value_fn, which {who} calls, needs the argument 'x'"):
        tx.update(PARAMS, state, PARAMS, **{n: v for n, v in full.items() if n != "x"})
    with pytest.raises(TypeError, match=r"nothing here reads the extra argument 'scael'.*'scale'"):
        tx.update(PARAMS, state, PARAMS, **full, scael=2.0)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(PARAMS, state, **full)
    jax.eval_shape(lambda: tx.update(PARAMS, state, PARAMS, **full, scale=2.0))


def test_an_objective_that_takes_anything_gets_what_is_left() -> None:
    seen = {}

    def f(params, **batch):
        seen.update(batch)
        return loss(params, batch["x"])

    tx = chain(gradtx.reduce_on_plateau(), sgd(1.0), scale_by_zoom_linesearch(3))
    extra = {"value": 1.0, "grad": PARAMS, "value_fn": f, "x": 0.5, "unknown": 1}
    jax.eval_shape(lambda: tx.update(PARAMS, tx.init(PARAMS), PARAMS, **extra))
    assert seen.keys() == {"x", "unknown"}


def test_a_gradient_of_another_tree_is_refused_with_the_path() -> None:
    tx = chain(sgd(1.0), scale_by_zoom_linesearch(3))
    wrong = PARAMS | {"bias": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"differs from the gradient's at 'bias'"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0, grad=wrong, value_fn=loss, x=0.0)


@pytest.mark.parametrize("place", ["masked", "partition"])
@every_search
def test_where_a_search_sees_some_leaves_the_others_stand_still_in_its_objective(make, place: str) -> None:
    def f(params):
        return jnp.sum((params["kernel"] - 1) ** 2) * (1 + jnp.sum(params["bias"] ** 2))

    def first(tx, f, params):
        value, grad = jax.value_and_grad(f)(params)
        return tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=f)[0]

    tx = around(make())[place]
    if place == "masked":
        tx = chain(tx, gradtx.freeze("bias"))
    alone = around(make())["chain"]
    updates, expected = jax.jit(
        lambda params: (
            first(tx, f, params),
            first(alone, lambda k: f({"kernel": k, "bias": params["bias"]}), params["kernel"]),
        )
    )(PARAMS)
    np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


# ---------------------------------------------------------------- reuse, and how often what is computed


@every_search
def test_value_and_gradient_are_reused_wherever_the_search_is(make) -> None:
    """The objective is computed at the start, and then as often as searches try a step."""
    computed = []

    def f(x):
        jax.debug.callback(lambda: computed.append(1))
        return jnp.sum((x - 1) ** 2 * jnp.arange(1.0, 4.0))

    tx = chain(sgd(gradtx.linear_schedule(1.0, 0.5, 4)), make())
    value_and_grad = gradtx.value_and_grad_from_state(f)
    params, weights = np.zeros(3, np.float32), np.arange(1.0, 4.0, dtype=np.float32)
    state, tried = tx.init(params), 0

    @jax.jit
    @chex.assert_max_traces(1)
    def step(params, state):
        value, grad = value_and_grad(params, state=state)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=f)
        return gradtx.apply_updates(params, updates), state, value, grad

    for i in range(5):
        before = np.asarray(params)
        params, state, value, grad = step(params, state)
        np.testing.assert_allclose(value, np.sum((before - 1) ** 2 * weights), rtol=1e-6)
        np.testing.assert_allclose(grad, 2 * (before - 1) * weights, rtol=1e-5, atol=1e-7)
        tried += int(state.inner[-1].info.num_linesearch_steps)
        jax.effects_barrier()
        assert len(computed) == 1 + tried, f"after step {i}"


def test_the_search_traces_the_objective_once() -> None:
    """Optax's zoom traces it twice, once for each phase."""
    traced = []

    def f(x):
        traced.append(1)
        return jnp.sum(x**2)

    params = jnp.ones(3)
    for tx in (scale_by_zoom_linesearch(5), scale_by_backtracking_linesearch(5, store_grad=True)):
        traced.clear()
        extra = {"value": 3.0, "grad": 2 * params, "value_fn": f}
        jax.jit(functools.partial(tx.update, **extra)).lower(-params, tx.init(params), params)
        assert len(traced) == 1


def test_reuse_says_what_it_does_not_find() -> None:
    f = jnp.sum
    take = gradtx.value_and_grad_from_state(f)
    params, zoom = jnp.ones(3), scale_by_zoom_linesearch(3)
    with pytest.raises(ValueError, match="expected one line search's state, found none"):
        take(params, state=gradtx.adam(1e-3).init(params))
    with pytest.raises(ValueError, match=r"found 2: '0', '1'"):
        take(params, state=chain(zoom, zoom).init(params))
    with pytest.raises(ValueError, match="keeps no gradient: make it with store_grad=True"):
        take(params, state=scale_by_backtracking_linesearch(3).init(params))
    with pytest.raises(ValueError, match=r"differs from the kept gradient's at 'bias'"):
        gradtx.value_and_grad_from_state(lambda p: loss(p, 0.0))(
            PARAMS, state=gradtx.masked(zoom, "kernel").init(PARAMS)
        )


def test_reuse_reads_optaxs_states_and_optax_ours() -> None:
    def f(x):
        return jnp.sum(x**2)

    params = jnp.ones(3)
    ours, theirs = scale_by_zoom_linesearch(3), optax.scale_by_zoom_linesearch(3)
    with jax.numpy_dtype_promotion("standard"):
        for take in (gradtx.value_and_grad_from_state(f), optax.value_and_grad_from_state(f)):
            for tx in (ours, theirs):
                state = tx.init(params)._replace(value=np.float32(7.0), grad=np.full(3, 5.0, np.float32))
                value, grad = jax.jit(lambda s, take=take: take(params, state=s))(state)
                assert float(value) == 7
                np.testing.assert_array_equal(grad, np.full(3, 5.0))


@every_search
def test_the_rate_and_the_value_come_out_by_name(make) -> None:
    """PAINS 13."""
    tx = chain(sgd(1.0), make())

    @jax.jit
    def step(params):
        value, grad = jax.value_and_grad(loss)(params, 0.5)
        extra = {"value": value, "grad": grad, "value_fn": loss, "x": 0.5}
        updates, state = tx.update(grad, tx.init(params), params, **extra)
        return state, loss(gradtx.apply_updates(params, updates), 0.5)

    state, reached = jax.device_get(step(PARAMS))
    assert optax.tree.get(state, "learning_rate") == state[-1].learning_rate > 0
    assert float(optax.tree.get(state, "value")) == pytest.approx(float(reached), abs=1e-6)


# ---------------------------------------------------------------- precision, and where it runs


@every_search
def test_in_bfloat16_it_judges_the_parameters_that_there_will_be(make) -> None:
    params = jnp.asarray([1.0, -2.0, 0.5], jnp.bfloat16)

    def f(x):
        return jnp.sum((x.astype(jnp.float32) - 0.123) ** 2)

    tx = chain(sgd(1.0), make())

    @jax.jit
    def step(params):
        value, grad = jax.value_and_grad(f)(params)
        updates, state = tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=f)
        return updates, state, gradtx.apply_updates(params, updates)

    updates, state, after = step(params)
    assert updates.dtype == jnp.bfloat16
    assert state[-1].value.dtype == state[-1].grad.dtype == jnp.float32
    exact = np.sum((np.asarray(after, np.float32) - np.float32(0.123)) ** 2)
    assert float(state[-1].value) == pytest.approx(float(exact), rel=1e-6)
    _, kept = jax.eval_shape(lambda s: gradtx.value_and_grad_from_state(f)(params, state=s), state)
    assert kept.dtype == jnp.bfloat16


@every_search
def test_complex_parameters_are_pairs_of_real_ones(make) -> None:
    """Optax's backtracking wants jax.grad's gradient, too, but its zoom the conjugate of it."""
    matrix = jnp.asarray([[1, -2], [3, 4], [-4 + 2j, 5 - 3j], [-2 - 2j, 6]], jnp.complex64)

    def f(z):
        return jnp.sum(jnp.abs(matrix @ z - 1) ** 2)

    def of_pair(x):
        return f(jax.lax.complex(x[0], x[1]))

    tx = chain(sgd(1.0), make())

    @functools.partial(jax.jit, static_argnums=0)
    def path(f, x):
        def step(carry, _):
            x, state = carry
            value, grad = jax.value_and_grad(f)(x)
            updates, state = tx.update(jnp.conj(grad), state, x, value=value, grad=grad, value_fn=f)
            return (x + updates, state), x + updates

        return jax.lax.scan(step, (x, tx.init(x)), length=6)[1]

    start = np.asarray([1 - 1j, 1j], np.complex64)
    z, x = np.asarray(path(f, start)), path(of_pair, np.stack([start.real, start.imag]))
    np.testing.assert_allclose(np.stack([z.real, z.imag], 1), x, rtol=1e-3, atol=1e-5)


@every_search
def test_it_runs_in_a_scan_and_in_a_train_state(make) -> None:
    """Flax's TrainState passes no extra arguments: its `tx` is called by hand."""
    train_state = pytest.importorskip("flax.training.train_state")
    tx = chain(sgd(1.0), make())

    def f(params, x):
        return loss(params, x)

    state = train_state.TrainState.create(apply_fn=f, params=PARAMS, tx=tx)

    @functools.partial(jax.jit, static_argnames="objective")
    def train(state, xs, objective):
        def step(state, x):
            value, grad = jax.value_and_grad(objective)(state.params, x)
            extra = {"value": value, "grad": grad, "value_fn": objective, "x": x}
            updates, opt_state = state.tx.update(grad, state.opt_state, state.params, **extra)
            params = gradtx.apply_updates(state.params, updates)
            return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value

        return jax.lax.scan(step, state, xs)

    state, values = train(state, np.full(12, 0.3, np.float32), f)
    values = np.asarray(values)
    assert values[-1] < 1e-4 * values[0]
    with pytest.raises(TypeError, match="needs the extra argument"):
        state.apply_gradients(grads=PARAMS)


def test_a_train_step_gives_the_objective_by_itself() -> None:
    def f(params, x):
        return loss(params, x)

    for tx in (gradtx.lbfgs(), gradtx.sophia(0.1), gradtx.sam(sgd(0.1), opaque_mode=True)):
        step = gradtx.make_train_step(f, tx)
        params = jax.tree.map(jnp.copy, PARAMS)
        state, first = tx.init(params), None
        for _ in range(8):
            params, state, value = step(params, state, jnp.asarray(0.3))
            first = value if first is None else first
        assert value < first


def test_a_failed_search_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    def hill(x):
        return -jnp.sum(x**2)

    params = jnp.ones(2)
    for tx in (
        scale_by_zoom_linesearch(3, verbose=True),
        scale_by_backtracking_linesearch(3, verbose=True),
    ):
        # Uphill is called downhill: no step lowers the objective enough.
        tx.update(-params, tx.init(params), params, value=-2.0, grad=2 * params, value_fn=hill)
        jax.effects_barrier()
        assert f"{type(tx).__name__}: no step of" in capfd.readouterr().out
