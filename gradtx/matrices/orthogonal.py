"""The nearest orthogonal matrix, nearly: every singular value brought to about 1.

    X₀ = G / (‖G‖ + ε)
    Xₖ = a Xₖ₋₁ + b A Xₖ₋₁ + c A² Xₖ₋₁,  A = Xₖ₋₁ Xₖ₋₁ᴴ

Each step maps the singular values of X by the polynomial a s + b s³ + c s⁵ and leaves its singular
vectors as they are. Muon's coefficients rise as steeply as can be at 0 and do not converge: after five
steps what was between 0.01 and 1 is between 0.68 and 1.13.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
https://kellerjordan.github.io/posts/muon
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.contract.hyperparameters import DtypeName, NonNegative
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.matrices.axes import Axes, as_matrix, axes_of, last_two
from gradtx.tree import PyTree
from gradtx.values.kinds import Choice, Integer, Real, is_traced
from gradtx.values.value import static
from gradtx.values.wording import nearest, shown

__all__ = [
    "PRESETS",
    "STANDARD",
    "Coefficients",
    "NewtonSchulzSteps",
    "Preconditioning",
    "newton_schulz",
    "orthogonalize",
    "scale_by_shape",
]

STANDARD = (3.4445, -4.7750, 2.0315)
"""(a, b, c) of Muon's authors."""
PRESETS = {
    "standard": STANDARD,
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
"""Optax's names: Muon's coefficients, and five steps of the coefficients that Dion's authors use."""
Preconditioning = Annotated[
    Literal["frobenius", "spectral", "aol", "schatten"], Choice("frobenius", "spectral", "aol", "schatten")
]
NewtonSchulzSteps = Annotated[int, Integer(low=0)]


class _Coefficients:
    """(a, b, c), or such a triple for each step, or the name of a preset, which is kept as it is."""

    def accept(self, owner: str, name: str, value: Any) -> Any:
        if isinstance(value, str):
            if value not in PRESETS:
                known = ", ".join(repr(p) for p in PRESETS)
                raise ValueError(
                    f"{owner}({name}={shown(value)}): the presets are {known}.{nearest(value, PRESETS)}"
                )
            return value
        if isinstance(value, jax.Array) and not is_traced(value) and jnp.issubdtype(value.dtype, jnp.number):
            value = np.asarray(value)
        given = value.tolist() if isinstance(value, np.ndarray) else value
        single = _is_triple(given) and not any(isinstance(x, (tuple, list)) for x in given)
        each = (given,) if single else given
        if not isinstance(each, (tuple, list)) or not each or not all(map(_is_triple, each)):
            raise ValueError(
                f"{owner}({name}={shown(value)}): {name} must be (a, b, c), or one such triple for each step."
            )
        rows = tuple(tuple(_NUMBER.accept(owner, name, x) for x in row) for row in each)
        return rows[0] if single else rows


_NUMBER = Real(fixed=True)


def _is_triple(x: Any) -> bool:
    return isinstance(x, (tuple, list)) and len(x) == 3


Coefficients = Annotated[Any, _Coefficients()]


def newton_schulz(
    x: jax.Array,
    ns_coeffs: Any = STANDARD,
    ns_steps: int = 5,
    preconditioning: Preconditioning = "frobenius",
    eps: Any = 1e-8,
    compute_in: str | None = None,
) -> jax.Array:
    """A matrix, or a batch of them with the matrix in the last two axes, with singular values near 1.

    Finite wherever `x` is: it is measured in units of its largest entry, so that no square overflows
    or vanishes.

    Args:
        x: of shape (..., rows, columns), real or complex.
        ns_coeffs: (a, b, c), or such a triple for each step, or the name of a preset.
        ns_steps: how many steps; with a triple for each step, there are as many as triples.
        preconditioning: how `x` is scaled first, as in `orthogonalize`.
        eps: ε, at least 0.
        compute_in: the dtype of the products; None is that of `x`.
    """
    given: Any = PRESETS[ns_coeffs] if isinstance(ns_coeffs, str) else ns_coeffs
    each = given if isinstance(given[0], tuple) else (given,) * ns_steps
    dtype, tall = x.dtype, x.shape[-2] > x.shape[-1]
    x = _scaled(x.mT if tall else x, preconditioning, eps)  # the smaller side gives the smaller A
    x = x if compute_in is None else x.astype(compute_in)
    if preconditioning in ("aol", "schatten") and each:
        gram = _gram(x)
        sums = _row_sums(gram) if preconditioning == "aol" else _frobenius(gram)
        factor = jax.lax.rsqrt(jnp.maximum(sums, jnp.finfo(sums.dtype).tiny)).astype(x.dtype)
        x = _step(x * factor, gram * factor * factor.mT, *each[0])
        each = each[1:]
    x = _steps(x, jnp.asarray(each, x.dtype).reshape(-1, 3))
    return (x.mT if tall else x).astype(dtype)


@functools.partial(jax.jit, inline=True)  # so that calls where nothing is traced compile the loop once
def _steps(x: jax.Array, table: jax.Array) -> jax.Array:
    # A loop, because a step's three products take XLA for TPU half a minute to compile, each time anew.
    return jax.lax.scan(lambda x, row: (_step(x, _gram(x), *row), None), x, table)[0]


def _step(x: jax.Array, gram: jax.Array, a: Any, b: Any, c: Any) -> jax.Array:
    return a * x + (b * gram + c * (gram @ gram)) @ x


def _gram(x: jax.Array) -> jax.Array:
    return x @ x.mT.conj()


def _frobenius(x: jax.Array) -> jax.Array:
    return numerics.norm(x, axis=(-2, -1), keepdims=True).astype(jnp.finfo(x.dtype).dtype)


def _row_sums(gram: jax.Array) -> jax.Array:
    return jnp.sum(jnp.abs(gram), axis=-1, keepdims=True)


def _scaled(x: jax.Array, preconditioning: Preconditioning, eps: Any) -> jax.Array:
    """x / (‖x‖ + ε), in the norm that the preconditioning asks for."""
    largest = jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True, initial=0.0)
    unit = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    x = x / unit.astype(x.dtype)
    size = _frobenius(x)
    if preconditioning == "spectral":
        # The largest eigenvalue of A is as exact as the largest singular value of X, and cheaper.
        usual = jnp.where(size > 0, size, jnp.ones_like(size))
        top = jnp.linalg.eigvalsh(_gram(x / usual.astype(x.dtype)))
        size = size * jnp.sqrt(jnp.max(top, axis=-1, initial=0.0))[..., None, None]
    small = numerics.like(eps, unit) / unit
    # With ε = 0 zeros stay zeros here, and 1 / 0 does not arise.
    whole = size + small
    return x / jnp.where(whole > 0, whole, jnp.ones_like(whole)).astype(x.dtype)


class orthogonalize(GradientTransformation, reach=LEAF):
    """Replace each matrix by a nearly orthogonal one with its singular vectors: U Vᵀ for U S Vᵀ, nearly.

    Matrices are the last two axes of a leaf, whatever axes there are in front, which are a batch; wide
    ones get orthogonal rows and tall ones orthogonal columns. Vectors and scalars pass as they are.

    Args:
        ns_coeffs: (a, b, c) of the Newton-Schulz steps, or such a triple for each step; 'standard' is
            Muon's, 'dion' five steps that end between 0.98 and 1.03.
        ns_steps: how many steps, at least 0; with a triple for each step, there are as many as triples.
        preconditioning: how the matrix is scaled first. 'frobenius' divides by the Frobenius norm, and
            is cheapest; 'spectral' by the largest singular value, from an eigendecomposition. 'aol'
            divides each row of A by its sum (Boissin et al., "Turbo-Muon", 2025,
            https://arxiv.org/abs/2512.04632), 'schatten' by the Schatten-4 norm (Grishina et al., 2025,
            https://arxiv.org/abs/2506.10935): both cost next to nothing and save about a step.
        eps: ε, at least 0, in the units of the updates; what is much smaller comes out small. 'aol' and
            'schatten' scale it up again, where Optax leaves norms below 1e-4 short.
        weight_dimension_numbers: which leaves are matrices, by which axes: see `matrix_axes`.
        adaptive: multiply each matrix by its inner product with its orthogonalisation, which is its
            dual norm, the sum of its singular values: Bernstein & Newhouse, "Old Optimizer, New Norm: An
            Anthology", 2024, https://arxiv.org/abs/2409.20325. (Optax takes one inner product for a batch.)
        compute_in: the dtype of the matrix products, such as 'bfloat16', which Muon's authors use; None
            is the updates', at least float32. How float32 is multiplied is jax's own setting,
            `jax_default_matmul_precision`: accelerators use fewer digits unless told otherwise.

    Raises:
        ValueError: coefficients that are not triples, an unknown preconditioning; axes that do not fit.
    """

    ns_coeffs: Coefficients = static(default=STANDARD)
    ns_steps: NewtonSchulzSteps = static(default=5)
    preconditioning: Preconditioning = static(default="frobenius")
    eps: NonNegative = 1e-8
    weight_dimension_numbers: Axes | None = static(default=None)
    adaptive: bool = static(default=False, kw_only=True)
    compute_in: DtypeName | None = static(default=None, kw_only=True)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        leaves, structure = jax.tree.flatten(updates)
        each = axes_of(self.weight_dimension_numbers, updates, last_two)
        return jax.tree.unflatten(structure, [self._of(*x) for x in zip(leaves, each, strict=True)]), state

    def _of(self, u: jax.Array, axes: Any) -> jax.Array:
        if axes is None or not u.size:
            return u
        matrix = as_matrix(u, axes)
        x = matrix.of(u)
        y = newton_schulz(x, self.ns_coeffs, self.ns_steps, self.preconditioning, self.eps, self.compute_in)
        if self.adaptive:
            y = y * jnp.sum((x.conj() * y).real, axis=(-2, -1), keepdims=True).astype(y.dtype)
        return matrix.back(y)


class scale_by_shape(GradientTransformation, reach=LEAF):
    """Scale an orthogonal matrix so that a learning rate suits every shape.

        sqrt(max(1, columns / rows)) · X          as Muon's authors do; a column is an output
        c sqrt(max(rows, columns)) · X            with consistent_rms = c: its root mean square is c

    Liu et al., "Muon is Scalable for LLM Training", 2025, equation 4. https://arxiv.org/abs/2502.16982

    Args:
        weight_dimension_numbers: which leaves are matrices, by which axes: see `matrix_axes`. None is
            every leaf with two axes or more, by its last two.
        consistent_rms: c, at least 0; 0.2 is about AdamW's. None is the first form.
    """

    weight_dimension_numbers: Axes | None = static(default=None)
    consistent_rms: NonNegative | None = None

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def scaled(u: jax.Array, axes: Any) -> jax.Array:
            if axes is None:
                return u
            rows, columns = as_matrix(u, axes).shape[-2:]
            if self.consistent_rms is None:
                return u * max(1.0, columns / max(rows, 1)) ** 0.5
            return u * (numerics.like(self.consistent_rms, u) * max(rows, columns) ** 0.5)

        leaves, structure = jax.tree.flatten(updates)
        each = axes_of(self.weight_dimension_numbers, updates, last_two)
        return jax.tree.unflatten(structure, [scaled(*x) for x in zip(leaves, each, strict=True)]), state
