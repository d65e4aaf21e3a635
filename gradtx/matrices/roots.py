"""The dominant eigenvalue of a matrix, and the inverse of its p-th root: both from products alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.numerics.dispatch import while_loop
from gradtx.tree import PyTree

__all__ = ["matrix_inverse_pth_root", "power_iteration"]


def power_iteration(
    matrix: jax.Array | Callable[[PyTree], PyTree],
    *,
    v0: PyTree | None = None,
    num_iters: int = 100,
    error_tolerance: float = 1e-6,
    precision: Any = jax.lax.Precision.HIGHEST,
    key: jax.Array | None = None,
) -> tuple[jax.Array, PyTree]:
    """The eigenvalue of largest size and its eigenvector, of length 1, of a diagonalisable matrix.

    It stops at a relative error ‖A v - λ v‖ / |λ| below the tolerance, which for symmetric A is a bound
    of the eigenvalue's own. Of a matrix of zeros the eigenvalue is 0, where Optax's has NaN.

    Args:
        matrix: square, or a function v -> A v of a tree.
        v0: where to start, a vector or tree that is not an eigenvector of another eigenvalue; None is a
            random vector, which a function needs one in place of.
        num_iters: the most steps to take.
        error_tolerance: the relative error to stop at.
        precision: of the products.
        key: for the random vector; None is key 0.

    Raises:
        ValueError: a function without v0.
    """
    if callable(matrix):
        if v0 is None:
            raise ValueError("power_iteration: v0 is needed where the matrix is a function: it has the tree.")
        return _iterate(matrix, v0, num_iters, error_tolerance)
    return _of_matrix(jnp.asarray(matrix), v0, num_iters, error_tolerance, key, precision=precision)


# Jitted, here and below, so that calls where nothing is traced compile the loop once.
@functools.partial(jax.jit, inline=True, static_argnames="precision")
def _of_matrix(
    matrix: jax.Array, v0: Any, num_iters: Any, tolerance: Any, key: Any, *, precision: Any
) -> Any:
    if v0 is None:
        key = jax.random.key(0) if key is None else key
        v0 = jax.random.uniform(key, matrix.shape[-1:], jnp.finfo(matrix.dtype).dtype, -1.0, 1.0)
        v0 = v0.astype(matrix.dtype)
    return _iterate(functools.partial(jnp.matmul, matrix, precision=precision), v0, num_iters, tolerance)


def _iterate(times: Callable[[PyTree], PyTree], v0: PyTree, num_iters: Any, tolerance: Any) -> Any:
    def unit(v: PyTree) -> PyTree:
        size = tree.global_norm(v)
        size = jnp.where(size > 0, size, jnp.ones_like(size))
        return jax.tree.map(lambda x: numerics.over(x, size), v)

    def step(carry: Any) -> Any:
        _, image, _, _, n = carry
        v = unit(image)
        image = times(v)
        eigenvalue = _dot(v, image)
        rest = jax.tree.map(lambda y, x: y - eigenvalue.astype(x.dtype) * x, image, v)
        return v, image, eigenvalue, tree.global_norm(rest), n + 1

    def goes_on(carry: Any) -> Any:
        _, _, eigenvalue, error, n = carry
        return (n < num_iters) & ~(error < tolerance * jnp.abs(eigenvalue)) & ~(error == 0)

    v = unit(v0)
    image = times(v)
    start = _dot(v, image)
    infinite = jnp.full_like(tree.global_norm(v), jnp.inf)
    v, image, eigenvalue, _, _ = while_loop(goes_on, step, (v, image, start, infinite, 0))
    zero = tree.global_norm(image) == 0
    better = unit(image)
    return eigenvalue, jax.tree.map(lambda a, b: jnp.where(zero, b, a), better, v)


def _dot(a: PyTree, b: PyTree) -> jax.Array:
    """Σ conj(a) b, complex where the eigenvalue is; tree.inner_product is the real part."""
    products = [jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return functools.reduce(jnp.add, products)


def matrix_inverse_pth_root(
    matrix: jax.Array,
    p: int,
    num_iters: int = 100,
    ridge_epsilon: float = 1e-6,
    error_tolerance: float = 1e-6,
    precision: Any = jax.lax.Precision.HIGHEST,
) -> tuple[jax.Array, jax.Array]:
    """(A + ε λ I)^(-1/p) of a symmetric A without negative eigenvalues, of which λ is the largest.

    By the coupled Newton iteration, with M₀ = z A, H₀ = z^(1/p) I and z = (1 + p) / (2 ‖A‖):

        T = ((p + 1) I - M) / p        M ← Tᵖ M        H ← H T

    until M is I. In the matrix's own precision, at least float32, and for every p: Optax computes in
    float32, and rounds p to 1, 2, 4 or 8.

    Higham, "Functions of Matrices: Theory and Computation", 2008, equation 7.18.

    Args:
        matrix: A, square.
        p: at least 1.
        num_iters: the most steps to take.
        ridge_epsilon: ε, at least 0; the root of a singular matrix needs one.
        error_tolerance: the largest entry of |M - I| to stop at.
        precision: of the products.

    Returns:
        The root, in the dtype of the matrix, and the largest entry of |M - I| at the end.

    Raises:
        ValueError: p is below 1, or the matrix not square.
    """
    if isinstance(p, bool) or not isinstance(p, int) or p < 1:
        raise ValueError(f"matrix_inverse_pth_root(p={p!r}): p must be a whole number, at least 1.")
    given = jnp.asarray(matrix)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise ValueError(f"matrix_inverse_pth_root: the matrix must be square; its shape is {given.shape}.")
    return _inverse_root(given, num_iters, ridge_epsilon, error_tolerance, p=p, precision=precision)


@functools.partial(jax.jit, inline=True, static_argnames=("p", "precision"))
def _inverse_root(
    given: jax.Array, num_iters: Any, ridge: Any, tolerance: Any, *, p: int, precision: Any
) -> tuple[jax.Array, jax.Array]:
    a = given.astype(numerics.wide_dtype(given.dtype))
    times = functools.partial(jnp.matmul, precision=precision)
    identity = jnp.eye(a.shape[0], dtype=a.dtype)
    largest = power_iteration(a, precision=precision)[0]
    a = a + ridge * jnp.maximum(largest, jnp.asarray(1e-16, largest.dtype)) * identity

    def away(m: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(m - identity), initial=0.0)

    def step(carry: Any) -> Any:
        n, m, h, error, _, _ = carry
        t = identity + (identity - m) / p
        m, new = times(_power(t, p, times), m), times(h, t)
        # The error may rise once before it falls; more than a fifth is rounding that takes over.
        return n + 1, m, new, away(m), h, away(m) < 1.2 * error

    def goes_on(carry: Any) -> Any:
        n, _, _, error, _, falls = carry
        return (n < num_iters) & (error > tolerance) & falls

    z = (1 + p) / (2 * numerics.norm(a))
    start = a * z, identity * z ** (1 / p)
    begin = 0, *start, away(start[0]), start[1], jnp.asarray(True)
    _, _, root, error, before, falls = jax.lax.while_loop(goes_on, step, begin)
    return jnp.where(falls, root, before).astype(given.dtype), error


def _power(x: jax.Array, p: int, times: Callable[..., jax.Array]) -> jax.Array:
    """xᵖ by repeated squaring."""
    made = None
    while p:
        if p % 2:
            made = x if made is None else times(made, x)
        p //= 2
        x = times(x, x) if p else x
    assert made is not None
    return made
