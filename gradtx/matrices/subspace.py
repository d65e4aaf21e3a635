"""A transformation that sees each matrix in a subspace of few dimensions, in which it keeps its state."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.combine import MaskedNode
from gradtx.contract.hyperparameters import Number
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.matrices.axes import Axes, as_matrix, axes_of, only_two
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne, Choice
from gradtx.values.value import static

__all__ = ["Side", "in_subspace"]

Side = Annotated[Literal["std", "reverse_std"], Choice("std", "reverse_std")]


class SubspaceState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    basis: PyTree  # for each matrix its basis, (..., rows or columns, rank); MaskedNode for other leaves
    inner: PyTree  # of the inner transformation, for leaves that are projected


class in_subspace(GradientTransformation, reach=LEAF):
    """P inner(Pᵀ G): each matrix is projected on its leading singular vectors, and the result lifted back.

    Every few updates P is made anew of the gradient's singular vectors; the inner state goes on. A
    singular vector's sign is arbitrary, and what the inner state has gathered depends on it: here the
    largest entry of each is positive, on every machine; Optax's and the authors' signs are LAPACK's.

    What `inner` keeps has the shape (rank, columns) or (rows, rank) for a matrix. It is given no
    parameters, which have no place in the subspace. Leaves that are not matrices are given to it as they are.

    Zhao et al., "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection", 2024.
    https://arxiv.org/abs/2403.03507

    Args:
        inner: the transformation, such as `scale_by_adam()`.
        rank: how many singular vectors; at most the matrix's smaller side is used.
        update_proj_gap: how many updates a basis serves, at least 1.
        scale: what a lifted update is multiplied by.
        weight_dimension_numbers: which leaves are matrices: see `matrix_axes`. None is those with two axes.
        proj_type: 'std' has the basis on the smaller side of a matrix, 'reverse_std' on the larger one.
    """

    inner: GradientTransformation
    rank: AtLeastOne = static(default=128)
    update_proj_gap: AtLeastOne = static(default=200)
    scale: Number = 1.0
    weight_dimension_numbers: Axes | None = static(default=None)
    proj_type: Side = static(default="std", kw_only=True)

    def init(self, params: PyTree) -> SubspaceState:
        plans, structure = self._plans(params), jax.tree.structure(params)
        leaves = [
            x if plan is None else jnp.zeros(plan.low, numerics.wide_dtype(jnp.result_type(x)))
            for x, plan in zip(jax.tree.leaves(params), plans, strict=True)
        ]
        basis = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), _bases(params, plans))
        inner = self.inner.init(jax.tree.unflatten(structure, leaves))
        return SubspaceState(numerics.counter(), basis, inner)

    def update(
        self, updates: PyTree, state: SubspaceState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, SubspaceState]:
        leaves, structure = jax.tree.flatten(updates)
        plans = self._plans(updates)
        tree.check_like(_bases(updates, plans), state.basis, "state's bases")
        bases = iter(jax.tree.leaves(state.basis))
        renew = state.step % self.update_proj_gap == 0
        new: list[Any] = [
            None if plan is None else plan.renewed(u, next(bases), renew)
            for u, plan in zip(leaves, plans, strict=True)
        ]
        parts = list(zip(leaves, plans, new, strict=True))
        low = [u if plan is None else plan.down(u, p) for u, plan, p in parts]
        made, inner = self.inner.update(jax.tree.unflatten(structure, low), state.inner, None, **extra)
        factor = self.scale
        out = [
            y if plan is None else plan.up(y, p) * numerics.like(factor, y)
            for y, (_, plan, p) in zip(jax.tree.leaves(made), parts, strict=True)
        ]
        kept = jax.tree.unflatten(structure, [MaskedNode() if p is None else p for p in new])
        after = SubspaceState(numerics.safe_increment(state.step), tree.cast_like(kept, state.basis), inner)
        return jax.tree.unflatten(structure, out), after

    def _plans(self, updates: PyTree) -> list[_Plan | None]:
        each = axes_of(self.weight_dimension_numbers, updates, only_two)
        return [
            None if axes is None or not x.size else _plan(x, axes, self.rank, self.proj_type)
            for x, axes in zip(jax.tree.leaves(updates), each, strict=True)
        ]


class _Plan(NamedTuple):
    """How a matrix goes into its subspace and back."""

    matrix: Any
    left: bool  # the basis is of the columns' space, and on the matrix's left
    basis: tuple[int, ...]  # shape
    low: tuple[int, ...]  # shape of the projected matrix

    def renewed(self, u: jax.Array, old: jax.Array, renew: jax.Array) -> jax.Array:
        g, old = self.matrix.of(u), numerics.cast(old, u.dtype)

        def leading(g: jax.Array) -> jax.Array:
            left, _, right = jnp.linalg.svd(g, full_matrices=False)
            vectors = (left if self.left else right.mT.conj())[..., : self.basis[-1]]
            at = jnp.argmax(jnp.abs(vectors), axis=-2, keepdims=True)
            largest = jnp.take_along_axis(vectors, at, axis=-2)
            return vectors * jnp.conj(jnp.sign(largest))

        return cond(renew, leading, lambda _: old, g)

    def down(self, u: jax.Array, p: jax.Array) -> jax.Array:
        g = self.matrix.of(u)
        return p.mT.conj() @ g if self.left else g @ p

    def up(self, low: jax.Array, p: jax.Array) -> jax.Array:
        return self.matrix.back(p @ low if self.left else low @ p.mT.conj())


def _plan(leaf: Any, axes: Any, rank: int, proj_type: Side) -> _Plan:
    matrix = as_matrix(leaf, axes)
    *batch, rows, columns = matrix.shape
    few = min(rank, rows, columns)
    # Square ones have it on their left either way, as in the paper and in Optax.
    left = rows == columns or (rows < columns) == (proj_type == "std")
    low = (*batch, few, columns) if left else (*batch, rows, few)
    return _Plan(matrix, left, (*batch, rows if left else columns, few), low)


def _bases(like: PyTree, plans: list[_Plan | None]) -> PyTree:
    """The bases' shapes, in the tree of the leaves."""

    def shape(x: Any, plan: _Plan | None) -> Any:
        if plan is None:
            return MaskedNode()
        return jax.ShapeDtypeStruct(plan.basis, numerics.wide_dtype(jnp.result_type(x)))

    leaves, structure = jax.tree.flatten(like)
    return jax.tree.unflatten(structure, [shape(*x) for x in zip(leaves, plans, strict=True)])
