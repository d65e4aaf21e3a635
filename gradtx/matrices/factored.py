"""The mean squares of a matrix, kept as those of its rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics, tree
from gradtx.combine import MaskedNode
from gradtx.contract.hyperparameters import NonNegative
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.tree.sharded import along
from gradtx.values.kinds import Integer
from gradtx.values.value import static

__all__ = ["scale_by_factored_rms"]


class FactoredState(NamedTuple):
    """Each leaf keeps either `rows` and `columns`, or `squares`; unused fields hold a MaskedNode."""

    step: jax.Array  # int32: how many updates have been averaged
    rows: PyTree  # the leaf's shape without its largest axis
    columns: PyTree  # the leaf's shape without its second largest axis
    squares: PyTree  # the leaf's shape, where it is not factored


class scale_by_factored_rms(GradientTransformation, reach=LEAF):
    """g / sqrt(v), where the averages v of g² + ε are those of a matrix of rank 1: r cᵀ / mean(r).

        rₜ = β₂ₜ rₜ₋₁ + (1 - β₂ₜ) (mean of gₜ² + ε over the largest axis)
        cₜ = β₂ₜ cₜ₋₁ + (1 - β₂ₜ) (mean of gₜ² + ε over the second largest axis)
        β₂ₜ = 1 - t^(-decay_rate)

    Of an (n, m) matrix n + m numbers are kept, in at least float32. Where there are more than two axes,
    those but the two largest are a batch. The first average is the first square: no bias correction.

    Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, algorithm 4
    without its clip. https://arxiv.org/abs/1804.04235

    Args:
        factored: False keeps an average for each entry.
        decay_rate: how fast β₂ₜ rises to 1, at least 0; with 0 it stays 0.
        step_offset: how many updates count as made before the first one of a fine-tuning phase goes on
            counting from 1; until then β₂ₜ is 0, where Optax has NaN.
        min_dim_size_to_factor: leaves whose second largest axis is smaller are not factored.
        epsilon: ε, at least 0. With ε = 0 a row of zeros gives 0 / 0.
        decay_rate_fn: (step - step_offset, decay_rate) -> β₂ₜ, with a step that counts from 0; None is
            the formula above.
    """

    factored: bool = static(default=True)
    decay_rate: NonNegative = 0.8
    step_offset: int = static(default=0)
    min_dim_size_to_factor: Annotated[int, Integer(0)] = static(default=128)
    epsilon: NonNegative = 1e-30
    decay_rate_fn: Callable[[Any, Any], Any] | None = static(default=None)

    def init(self, params: PyTree) -> FactoredState:
        leaves, structure = jax.tree.flatten(params)
        kept = [_Kept(x, self) for x in leaves]

        def zeros(name: str) -> PyTree:
            axes = [getattr(k, name) for k in kept]
            made = [
                MaskedNode() if a is None else along(x, a, k.dtype)
                for x, k, a in zip(leaves, kept, axes, strict=True)
            ]
            return jax.tree.unflatten(structure, made)

        return FactoredState(numerics.counter(), *(zeros(n) for n in FactoredState._fields[1:]))

    def update(
        self, updates: PyTree, state: FactoredState, params: PyTree | None = None
    ) -> tuple[PyTree, FactoredState]:
        leaves = jax.tree.leaves(updates)
        structure: Any = jax.tree.structure(updates)  # jax has no types for treedefs
        kept = [_Kept(x, self) for x in leaves]
        for name in FactoredState._fields[1:]:
            _check(updates, [getattr(k, name) for k in kept], getattr(state, name))
        share = self._share(state.step)
        old = zip(*(structure.flatten_up_to(x) for x in state[1:]), strict=True)
        out, new = [], []
        for u, k, (rows, columns, squares) in zip(leaves, kept, old, strict=True):
            square = numerics.abs_sq(u) + numerics.like(self.epsilon, u)
            if k.axes is None:
                squares = _average(squares, square, share)
                out.append(numerics.times(u, jax.lax.rsqrt(squares)))
            else:
                least, most = k.axes
                rows = _average(rows, jnp.mean(square, axis=most), share)
                columns = _average(columns, jnp.mean(square, axis=least), share)
                # The mean over the second largest axis, where it stands once the largest is gone.
                mean = jnp.mean(rows, axis=least - (most < least), keepdims=True)
                row = jnp.expand_dims(jax.lax.rsqrt(rows / mean), most)
                column = jnp.expand_dims(jax.lax.rsqrt(columns), least)
                scaled = numerics.times(numerics.times(u, row), column)
                out.append(numerics.within(scaled, jnp.expand_dims(mean, most)))
            new.append((rows, columns, squares))
        parts = (jax.tree.unflatten(structure, x) for x in (zip(*new, strict=True) if new else ((), (), ())))
        return jax.tree.unflatten(structure, out), FactoredState(numerics.safe_increment(state.step), *parts)

    def _share(self, step: jax.Array) -> Any:
        """1 - β₂ₜ, the weight of the new square."""
        rate: Any = self.decay_rate  # no schedule by now
        if self.decay_rate_fn is not None:
            return 1.0 - jnp.asarray(self.decay_rate_fn(step - self.step_offset, rate), float)
        # Not 1 - (1 - t^-0.8), which has lost three of its seven digits after ten thousand steps.
        return jnp.maximum(step - self.step_offset + 1, 1).astype(float) ** -rate


class _Kept:
    """The layout of a leaf's averages: its largest two axes, the axes of the averages, their dtype."""

    def __init__(self, leaf: Any, tx: scale_by_factored_rms) -> None:
        shape, self.dtype = leaf.shape, numerics.norm_dtype(leaf)
        order = np.argsort(shape)  # of equal axes Optax's choice, by the same sort
        small = len(shape) < 2 or shape[order[-2]] < max(tx.min_dim_size_to_factor, 1)
        self.axes = None if small or not tx.factored else (int(order[-2]), int(order[-1]))
        self.rows = self.columns = self.squares = None
        every = range(len(shape))
        if self.axes is None:
            self.squares = tuple(every)
        else:
            least, most = self.axes
            self.rows = tuple(a for a in every if a != most)
            self.columns = tuple(a for a in every if a != least)


def _check(updates: PyTree, axes: list[Any], state: PyTree) -> None:
    leaves, structure = jax.tree.flatten(updates)
    like = [
        MaskedNode() if of is None else jax.ShapeDtypeStruct(tuple(u.shape[a] for a in of), jnp.float32)
        for u, of in zip(leaves, axes, strict=True)
    ]
    tree.check_like(jax.tree.unflatten(structure, like), state, "state's averages")


def _average(old: jax.Array, new: jax.Array, share: Any) -> jax.Array:
    return numerics.lerp(old, numerics.cast(new, old.dtype), share)
