"""Pairs of floats against fractions: each operation alone, compiled, and where an operand is a constant."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import Schedule
from gradtx.schedules.exact import pairs
from gradtx.schedules.exact.pairs import Pair
from gradtx.schedules.exact.powers import exp2, exp2_less_one, log2
from gradtx.schedules.exact.shapes import _sine_squared

RANDOM = np.random.default_rng(3)
A, B = RANDOM.uniform(-1, 1, (2, 200)) * 2.0 ** RANDOM.integers(-20, 20, (2, 200))
OPERATIONS = {
    "add": (pairs.add, lambda a, b: a + b),
    "subtract": (pairs.subtract, lambda a, b: a - b),
    "multiply": (pairs.multiply, lambda a, b: a * b),
    "divide": (pairs.divide, lambda a, b: a / b),
}
both_widths = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])


def exact(x: Pair) -> list[Fraction]:
    highs, lows = (np.zeros(np.shape(x.high)) if part is None else np.asarray(part, float) for part in x)
    return [Fraction(float(a)) + Fraction(float(b)) for a, b in zip(highs, lows, strict=True)]


def split(x: np.ndarray) -> Pair:
    """Pairs whose lows are as large as they may be; in float64 they take more digits than `x` has."""
    high = jnp.asarray(x, float)
    low = (x - np.asarray(high, float)) if high.dtype == np.float32 else x * 2.0**-54 * RANDOM.random(x.shape)
    return Pair(high, jnp.asarray(low, float))


def worst(got: Pair, expected: list[Fraction], unit: list[Fraction]) -> float:
    return max(abs(g - e) / u for g, e, u in zip(exact(got), expected, unit, strict=True))


def units(name: str, a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    """What an error is measured by: the result, or where it may cancel what it is made of."""
    if name in ("add", "subtract"):
        return [abs(x) + abs(y) for x, y in zip(a, b, strict=True)]
    return [abs(OPERATIONS[name][1](x, y)) for x, y in zip(a, b, strict=True)]


def bound(name: str, x64: bool = False) -> Fraction:
    """Of sums two last places of the low part. Of products those of what halves of the factors leave."""
    if name in ("add", "subtract"):
        return Fraction(1, 2 ** (104 if x64 else 46))
    return Fraction(1, 2 ** (77 if x64 else 35))


@both_widths
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_has_its_digits_however_it_is_compiled(name: str, x64: bool) -> None:
    operation, formula = OPERATIONS[name]
    with jax.enable_x64(x64):
        a, b = split(A), split(B)
        expected = [formula(x, y) for x, y in zip(exact(a), exact(b), strict=True)]
        unit = units(name, exact(a), exact(b))
        ways = {
            "each by itself": operation(a, b),
            "compiled": jax.jit(operation)(a, b),
            "first constant": jax.jit(lambda b: operation(a, b))(b),
            "second constant": jax.jit(lambda a: operation(a, b))(a),
            "both constant": jax.jit(lambda: operation(a, b))(),
            "mapped": jax.jit(jax.vmap(operation))(a, b),
        }
    for way, got in ways.items():
        assert worst(got, expected, unit) < bound(name, x64), way
        np.testing.assert_array_less(np.abs(got.low), np.abs(got.high) * np.finfo(got.high.dtype).eps)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_python_number_has_all_its_digits(name: str) -> None:
    operation, formula = OPERATIONS[name]
    b = split(B)
    for number in (0.1, -1e-3, 3, 1 / 3, Fraction(1, 3)):
        known = Fraction(number)
        for f in (operation, jax.jit(operation, static_argnums=0)):
            expected = [formula(known, y) for y in exact(b)]
            assert worst(f(number, b), expected, units(name, [known] * len(B), exact(b))) < bound(name)
        expected = [formula(y, known) for y in exact(b)]
        assert worst(operation(b, number), expected, units(name, exact(b), [known] * len(B))) < bound(name)


def test_numbers_without_arrays_stay_pythons() -> None:
    assert pairs.add(0.1, 0.2) == 0.1 + 0.2
    assert pairs.multiply(3, 0.1) == 3 * 0.1
    assert pairs.divide(0.5, 25.0) == 0.02
    x = split(B)
    assert pairs.add(x, 0) is pairs.add(0.0, x) is pairs.multiply(1.0, x) is pairs.multiply(x, 1) is x
    assert pairs.multiply(x, 0.0) == 0
    assert pairs.pair(0.5) == Pair(np.float32(0.5), None)


@both_widths
def test_whole_numbers_are_exact_to_the_last(x64: bool) -> None:
    last = 2**31 - 1
    numbers = [0, 1, -1, 4095, 4096, 2**24 + 1, 10**9 + 7, last - 1, last, -last]
    with jax.enable_x64(x64):
        got = pairs.whole(jnp.asarray(numbers, jnp.int32))
        assert exact(got) == numbers
        assert pairs.whole(jnp.asarray(numbers[:5]), 2**24).low is None


def test_a_root_and_what_is_rounded() -> None:
    a = split(np.abs(A))
    for root in (pairs.root, jax.jit(pairs.root)):
        roots = zip(exact(root(a)), exact(a), strict=True)
        assert max(abs(r * r / x - 1) for r, x in roots) < 2 * bound("multiply")
    assert exact(pairs.root(Pair(jnp.zeros(1)))) == [0]
    np.testing.assert_array_equal(pairs.rounded(a), np.abs(A).astype(np.float32))
    assert pairs.rounded(Pair(jnp.asarray(jnp.inf), jnp.asarray(jnp.nan))) == np.inf


# Errors before the last rounding, which is 6e-8.
@pytest.mark.parametrize(
    ("f", "formula", "bound"),
    [
        (_sine_squared, lambda x: math.sin(math.pi / 2 * x) ** 2, 4e-9),
        (log2, math.log2, 2e-9),
        (exp2, lambda x: 2**x, 2e-9),
        (exp2_less_one, lambda x: math.expm1(x * math.log(2)), 6e-9),
    ],
    ids=["sine", "log2", "exp2", "exp2_less_one"],
)
def test_functions_of_pairs(f, formula, bound) -> None:
    x = split(np.concatenate([RANDOM.uniform(1e-4, 0.5, 2000), [1e-9, 1e-6, 0.5]]))
    expected = np.asarray([formula(float(y)) for y in exact(x)])
    for way in (f, jax.jit(f), jax.vmap(f)):
        got = np.asarray([float(y) for y in exact(way(x))])
        np.testing.assert_allclose(got, expected, rtol=bound)
    with jax.enable_x64(True):
        wide = Pair(jnp.asarray([float(y) for y in exact(x)]))
        np.testing.assert_allclose(pairs.rounded(f(wide)), expected, rtol=2e-15)


def test_powers_of_two_stop_at_both_ends_of_the_numbers() -> None:
    x = Pair(jnp.asarray([-1e9, -127.0, -100.0, -0.0, 124.0, 1e9]), jnp.full(6, 1e-9))
    np.testing.assert_allclose(pairs.rounded(exp2(x)), [0, 0, 2.0**-100, 1, 2.0**124, 2.0**125], rtol=1e-7)
    slopes = jax.vmap(jax.grad(lambda high: pairs.rounded(exp2(Pair(high)))))(x.high)
    np.testing.assert_allclose(slopes, math.log(2) * np.asarray([0, 0, 2.0**-100, 1, 2.0**124, 0]), rtol=1e-6)


def test_operations_have_their_derivatives() -> None:
    def f(a, b):
        x = pairs.divide(pairs.multiply(a, 0.3), pairs.add(pairs.multiply(a, b), 1.0))
        return pairs.rounded(pairs.add(exp2(pairs.subtract(x, b)), log2(pairs.pick(x.high > 0, x, a))))

    def plain(a, b):
        x = 0.3 * a / (a * b + 1)
        return 2 ** (x - b) + jnp.log2(x)

    values = jnp.asarray(0.7), jnp.asarray(0.4)
    got = jax.jit(jax.grad(lambda a, b: f(Pair(a), Pair(b)), (0, 1)))(*values)
    np.testing.assert_allclose(got, jax.grad(plain, (0, 1))(*values), rtol=1e-6)


def test_at_the_ends_of_the_numbers_a_product_is_that_of_single_floats() -> None:
    a, b = (
        jnp.asarray([1e-36, 1e-20, 1e30, jnp.inf, 1e-30, -1e-28]),
        jnp.asarray([0.7, 1e-17, 1e5, 0.5, 0.3, 0.3]),
    )
    for f in (pairs.multiply, jax.jit(pairs.multiply)):
        got = pairs.rounded(f(Pair(a), Pair(b)))
        np.testing.assert_allclose(got, np.asarray(a, float) * np.asarray(b, float), rtol=6.5e-8)
    # A quotient of such numbers, whose products are single floats, has a rounding more.
    got = pairs.rounded(pairs.divide(Pair(a[:2]), Pair(b[:2])))
    np.testing.assert_allclose(got, np.asarray(a[:2], float) / np.asarray(b[:2], float), rtol=1.2e-7)


# ---------------------------------------------------------------- in schedules


class ramp(Schedule):
    """A researcher's own, which knows nothing of pairs."""

    slope: float

    def __call__(self, step):
        return self.slope * jnp.asarray(step, float)


def test_schedules_of_ones_own_are_held_by_those_that_know_pairs() -> None:
    cosine = gradtx.cosine_decay_schedule(0.1, 100)
    both = gradtx.scale_schedule(gradtx.multiply_schedules(ramp(0.5), cosine), 3.0)
    expected = [3 * 0.5 * t * 0.1 * math.cos(math.pi * t / 200) ** 2 for t in range(100)]
    np.testing.assert_allclose(jax.vmap(both)(np.arange(100)), expected, rtol=6.5e-8)


def test_a_growing_level_is_held_by_its_bound_also_where_it_would_overflow() -> None:
    growing = gradtx.exponential_decay(1e3, 1, 2.0, end_value=1e6)
    np.testing.assert_array_equal(
        jax.vmap(growing)(np.asarray([9, 10, 500, 2**31 - 1])), [512e3, 1e6, 1e6, 1e6]
    )
    assert gradtx.exponential_decay(1e3, 1, 2.0)(500) == np.inf


@pytest.mark.parametrize(
    "schedule", [gradtx.cosine_decay_schedule(1e-3, 1000), gradtx.exponential_decay(1e-3, 10, 0.9)]
)
def test_a_level_is_computed_once_not_in_the_kernel_of_each_leaf(schedule) -> None:
    def kernels(leaves: int) -> int:
        tx, params = gradtx.sgd(schedule), [jnp.ones((3, n + 1)) for n in range(leaves)]
        compiled = jax.jit(tx.update).lower(params, jax.eval_shape(tx.init, params), params).compile()
        return compiled.as_text().count(" reduce-precision(")

    assert 0 < kernels(2) == kernels(20)
