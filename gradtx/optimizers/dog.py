"""DoG, distance over gradients: gradient descent whose step is as long as the way so far says it may be.

    r̄ₜ = max(r_ε, maxᵢ ‖θᵢ - θ₀‖)                      how far it has been from its start, i < t
    DoG     Gₜ = Gₜ₋₁ + ‖gₜ‖²                           θₜ = θₜ₋₁ - λ r̄ₜ / sqrt(Gₜ + ε) · gₜ
    DoWG    vₜ = vₜ₋₁ + r̄ₜ² ‖gₜ‖²                       θₜ = θₜ₋₁ - λ r̄ₜ² / (sqrt(vₜ) + ε) · gₜ

The norms are those of all leaves together; `scale_by_distance_over_gradients` is DoG leaf by leaf.

Ivgi, Hinder & Carmon, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", 2023,
equations (DoG) and (L-DoG). https://arxiv.org/abs/2302.12022
Khaled, Mishchenko & Jin, "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
2023, algorithm 1, with the ε of its authors' code. https://arxiv.org/abs/2305.16284
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.anatomy import Reach
from gradtx.combine import chain
from gradtx.decay import add_l2_penalty
from gradtx.hyperparameters import DtypeName, NonNegative, Number, Positive, Rate
from gradtx.kinds import Real
from gradtx.masks import Mask
from gradtx.rate import scale_by_learning_rate
from gradtx.schedules.fields import Choice
from gradtx.transformation import Composite, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.value import is_off, optional, static

__all__ = ["dog", "dowg", "scale_by_distance_over_gradients", "scale_by_dog", "scale_by_dowg"]


class _InitStep:
    """A pair: what the number is, and the number."""

    def accept(self, owner: str, name: str, value: Any) -> tuple[str, float]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"{owner}({name}={value!r}): expected a pair, such as ('heuristic', 1e-6).")
        what = Choice("distance", "heuristic", "learning_rate").accept(owner, f"{name}[0]", value[0])
        return what, Real(0, open_low=True).accept(owner, f"{name}[1]", value[1])


InitStep = Annotated[tuple[str, float], _InitStep()]


def _distance(params: PyTree, start: PyTree) -> jax.Array:
    """‖θ - θ₀‖²."""
    return tree.total(lambda s, p: numerics.abs_sq(numerics.cast(p, s.dtype) - s), start, params)


class DogState(NamedTuple):
    first: jax.Array  # bool: whether there has been no update yet
    distance: jax.Array  # r̄
    squares: jax.Array  # G
    start: PyTree  # θ₀, in at least float32


class scale_by_dog(GradientTransformation):
    """r̄ / sqrt(G + ε) · g: DoG without the learning rate.

    Args:
        init_step: what the first step is made of, as a pair: ('heuristic', α) for r_ε = α (1 + ‖θ₀‖),
            with α = 1e-6, or 1e-4 for models with batch normalisation; ('distance', r_ε); or
            ('learning_rate', η) for a first step of η g.
        eps: ε, inside the root, at least 0. With ε = 0 a first gradient of zeros gives 0 / 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    reach: ClassVar[Reach] = Reach.OTHERS
    init_step: InitStep = static(default=("heuristic", 1e-6))
    eps: NonNegative = 1e-8

    def init(self, params: PyTree) -> DogState:
        what, number = self.init_step
        start = tree.copied(params)
        size = 1 + tree.global_norm(start) if what == "heuristic" else jnp.ones(())
        distance = (0.0 if what == "learning_rate" else number) * size.astype(float)
        return DogState(jnp.ones((), bool), distance, jnp.zeros((), float), start)

    def update(
        self, updates: PyTree, state: DogState, params: PyTree | None = None
    ) -> tuple[PyTree, DogState]:
        moved = jnp.sqrt(_distance(need_params(self, params), state.start))
        distance = jnp.maximum(state.distance, moved)
        squares = state.squares + tree.total(numerics.abs_sq, updates)
        rate = distance / jnp.sqrt(squares + numerics.like(self.eps, squares))
        what, number = self.init_step
        if what == "learning_rate":
            rate = jnp.where(state.first, number, rate)
        scaled = jax.tree.map(lambda g: numerics.like(rate, g) * g, updates)
        return scaled, DogState(jnp.zeros((), bool), distance, squares, state.start)


class dog(Composite):
    """DoG: gradient descent without a learning rate to tune.

    For convex problems and for fine-tuning. The steps never shrink by themselves: its authors say that an
    average of the parameters is crucial, and that is what to evaluate.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from.

    Args:
        learning_rate: λ, a number or a schedule; its authors advise to leave it at 1.
        init_step: what the first step is made of, as in `scale_by_dog`; it should be too small to do harm,
            and hardly matters otherwise.
        eps: ε, inside the root, at least 0.
        weight_decay: w of a penalty: w θ is added to the gradient.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate = 1.0
    init_step: InitStep = static(default=("heuristic", 1e-6))
    eps: NonNegative = 1e-8
    weight_decay: Number | None = optional(default=None)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return _penalised(self, scale_by_dog.of(self))


class DowgState(NamedTuple):
    squared_distance: jax.Array  # r̄²
    squares: jax.Array  # v
    start: PyTree  # θ₀, in at least float32


class scale_by_dowg(GradientTransformation):
    """r̄² / (sqrt(v) + ε) · g: DoWG without the learning rate.

    Args:
        init_estim_sq_dist: r_ε², above 0; None is ε.
        eps: ε, outside the root, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    reach: ClassVar[Reach] = Reach.OTHERS
    init_estim_sq_dist: Positive | None = None
    eps: NonNegative = 1e-4

    def init(self, params: PyTree) -> DowgState:
        first = self.eps if self.init_estim_sq_dist is None else self.init_estim_sq_dist
        # A copy: what a schedule said is kept by itself.
        return DowgState(jnp.array(first, float), jnp.zeros((), float), tree.copied(params))

    def update(
        self, updates: PyTree, state: DowgState, params: PyTree | None = None
    ) -> tuple[PyTree, DowgState]:
        moved = _distance(need_params(self, params), state.start)
        distance = jnp.maximum(state.squared_distance, moved)
        squares = state.squares + distance * tree.total(numerics.abs_sq, updates)
        rate = distance / (jnp.sqrt(squares) + numerics.like(self.eps, squares))
        scaled = jax.tree.map(lambda g: numerics.like(rate, g) * g, updates)
        return scaled, DowgState(distance, squares, state.start)


class dowg(Composite):
    """DoWG: DoG whose later gradients count for more, so that the steps grow quicker.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from.

    Args:
        learning_rate: λ, a number or a schedule; 1 is meant.
        init_estim_sq_dist: r_ε², a guess of the squared distance to the solution that is too small, above 0;
            None is ε.
        eps: ε, outside the root, at least 0.
        weight_decay: w of a penalty: w θ is added to the gradient.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate = 1.0
    init_estim_sq_dist: Positive | None = None
    eps: NonNegative = 1e-4
    weight_decay: Number | None = optional(default=None)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return _penalised(self, scale_by_dowg.of(self))


def _penalised(tx: Any, direction: GradientTransformation) -> GradientTransformation:
    penalty = chain() if is_off(tx.weight_decay) else add_l2_penalty(tx.weight_decay, tx.mask)
    return chain(penalty, direction, scale_by_learning_rate(tx.learning_rate))


class DistanceOverGradientsState(NamedTuple):
    distance: PyTree  # r̄ of each leaf
    squares: PyTree  # G of each leaf
    start: PyTree  # θ₀


class scale_by_distance_over_gradients(GradientTransformation):
    """L-DoG's direction: DoG's, each leaf by itself.

    Args:
        reps_rel: α of r_ε = α (1 + ‖θ₀‖), above 0; 1e-4 for models with batch normalisation.
        eps: ε, inside the root, at least 0. With ε = 0 a first gradient of zeros gives 0 / 0.
        param_dtype: of the copy of θ₀; None is the parameters', at least float32, where Optax's is float32.
        global_scale: a factor; -1 descends, without `scale_by_learning_rate`.

    Raises:
        ValueError: update is called without the parameters.
    """

    reach: ClassVar[Reach] = Reach.LEAF
    reps_rel: Positive = 1e-6
    eps: NonNegative = 1e-8
    param_dtype: DtypeName | None = static(default=None)
    global_scale: Number = 1.0

    def init(self, params: PyTree) -> DistanceOverGradientsState:
        def first(p: Any) -> jax.Array:
            size = numerics.norm(jnp.asarray(p))
            return numerics.like(self.reps_rel, size) * (1 + size)

        squares = jax.tree.map(lambda p: jnp.zeros((), numerics.norm_dtype(p)), params)
        start = tree.copied(params, self.param_dtype)
        return DistanceOverGradientsState(jax.tree.map(first, params), squares, start)

    def update(
        self, updates: PyTree, state: DistanceOverGradientsState, params: PyTree | None = None
    ) -> tuple[PyTree, DistanceOverGradientsState]:
        def farther(p: Any, r: jax.Array, start: jax.Array) -> jax.Array:
            wide = jnp.asarray(p, numerics.wide_dtype(p.dtype))
            return jnp.maximum(
                r, numerics.cast(numerics.norm(wide - numerics.cast(start, wide.dtype)), r.dtype)
            )

        def more(g: jax.Array, s: jax.Array) -> jax.Array:
            return s + numerics.cast(jnp.sum(numerics.abs_sq(g)), s.dtype)

        def scaled(g: jax.Array, r: jax.Array, s: jax.Array) -> jax.Array:
            rate = numerics.like(self.global_scale, r) * (r / jnp.sqrt(s + numerics.like(self.eps, s)))
            return numerics.like(rate, g) * g

        distance = jax.tree.map(farther, need_params(self, params), state.distance, state.start)
        squares = jax.tree.map(more, updates, state.squares)
        after = DistanceOverGradientsState(distance, squares, state.start)
        return jax.tree.map(scaled, updates, distance, squares), after
