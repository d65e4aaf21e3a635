"""DoG, distance over gradients: gradient descent with steps as large as the distance travelled so far allows.

    r̄ₜ = max(r_ε, maxᵢ ‖θᵢ - θ₀‖)                      how far it has been from its start, i < t
    Gₜ = Gₜ₋₁ + ‖gₜ‖²
    θₜ = θₜ₋₁ - λ r̄ₜ / sqrt(Gₜ + ε) · gₜ

The norms are those of all leaves together; `scale_by_distance_over_gradients` is DoG leaf by leaf.

Ivgi, Hinder & Carmon, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", 2023,
equation (DoG). https://arxiv.org/abs/2302.12022
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_l2_penalty
from gradtx.atoms.pointwise import unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Number, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.kinds import Choice, Real
from gradtx.values.value import optional, static
from gradtx.values.wording import shown

__all__ = ["dog", "penalised", "scale_by_dog", "squared_distance"]


class _InitStep:
    """A pair: what the number is, and the number."""

    def accept(self, owner: str, name: str, value: Any) -> tuple[str, float]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(
                f"{owner}({name}={shown(value)}): {name} must be a pair, such as ('heuristic', 1e-6)."
            )
        what = Choice("distance", "heuristic", "learning_rate").accept(owner, f"{name}[0]", value[0])
        return what, Real(0, open_low=True).accept(owner, f"{name}[1]", value[1])


InitStep = Annotated[tuple[str, float], _InitStep()]


def squared_distance(params: PyTree, start: PyTree) -> jax.Array:
    """‖θ - θ₀‖²."""
    return tree.total(lambda s, p: numerics.abs_sq(numerics.cast(p, s.dtype) - s), start, params)


class DogState(NamedTuple):
    first: jax.Array  # bool: whether there has been no update yet
    distance: jax.Array  # r̄
    squares: jax.Array  # G
    start: PyTree  # θ₀, in at least float32


class scale_by_dog(GradientTransformation, reach=OTHERS):
    """r̄ / sqrt(G + ε) · g: DoG without the learning rate.

    Args:
        init_step: what the first step is made of, as a pair: ('heuristic', α) for r_ε = α (1 + ‖θ₀‖),
            with α = 1e-6, or 1e-4 for models with batch normalisation; ('distance', r_ε); or
            ('learning_rate', η) for a first step of η g.
        eps: ε, inside the root, at least 0. With ε = 0 a first gradient of zeros gives 0 / 0.

    Raises:
        ValueError: update is called without the parameters.
    """

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
        moved = numerics.root(squared_distance(need_params(self, params), state.start))
        distance = jnp.maximum(state.distance, moved)
        squares = state.squares + tree.total(numerics.abs_sq, updates)
        rate = distance / numerics.root(squares + numerics.like(self.eps, squares))
        what, number = self.init_step
        if what == "learning_rate":
            rate = jnp.where(state.first, number, rate)
        scaled = jax.tree.map(lambda g: numerics.times(g, rate), updates)
        return scaled, DogState(jnp.zeros((), bool), distance, squares, state.start)


class dog(Composite):
    """DoG: gradient descent without a learning rate to tune.

    For convex problems and for fine-tuning. The steps never shrink by themselves: its authors say that an
    average of the parameters is crucial, and that is what to evaluate.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    all parameters stand still.

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
        return penalised(self, scale_by_dog.of(self))


def penalised(tx: Any, direction: GradientTransformation) -> GradientTransformation:
    """The penalty and the learning rate of `tx` around its direction."""
    penalty = unless_off(tx.weight_decay, add_l2_penalty, tx.mask)
    return chain(penalty, direction, scale_by_learning_rate(tx.learning_rate))
