"""Side by side: ratio(n, d) and add(f, g), where both read the same updates.

Source: none (how transformations are composed; what they compose has its own sources).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradtx import numerics
from gradtx.combine.parts import check_count, part_of
from gradtx.contract.hyperparameters import NonNegative
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import either_way
from gradtx.tree import PyTree
from gradtx.values.kinds import several
from gradtx.values.value import is_off, optional

__all__ = ["add", "divided", "ratio"]


class RatioState(NamedTuple):
    numerator: PyTree
    denominator: PyTree


class ratio(GradientTransformation, reach=ENTRY):
    """numerator(u) / (denominator(u) + ε): both read the same updates.

    Where the denominator is infinite the ratio is 0, and the entry stands still: the average of squares of
    an entry near the largest float is beyond it, and so may the numerator be.

    Args:
        numerator: a transformation, such as momentum.
        denominator: a transformation whose results are not negative, such as a root mean square.
        eps: ε, at least 0, added *outside* any root that the denominator takes. With ε = 0 a
            leaf of zeros gives 0 / 0, unless the denominator has an ε of its own.

    Examples:
        >>> gradtx.adam(1e-3).expand().parts[0]
        ratio(numerator=momentum(decay=0.9), denominator=rms(decay=0.999), eps=1e-08)
    """

    numerator: GradientTransformation
    denominator: GradientTransformation
    eps: NonNegative = optional(default=0.0)

    def init(self, params: PyTree) -> RatioState:
        return RatioState(self.numerator.init(params), self.denominator.init(params))

    def update(
        self, updates: PyTree, state: RatioState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, RatioState]:
        top, numerator = self.numerator.update(updates, state.numerator, params, **extra)
        bottom, denominator = self.denominator.update(updates, state.denominator, params, **extra)
        return divided(top, bottom, self.eps), RatioState(numerator, denominator)


def divided(top: PyTree, bottom: PyTree, eps: Any) -> PyTree:
    """n / (d + ε), for each leaf; 0 where d is infinite, also where n is."""
    if is_off(eps):
        return jax.tree.map(_over, top, bottom)
    return jax.tree.map(lambda n, d: _over_sum(n, d, numerics.beside(eps, d)), top, bottom)


@either_way
def _over(n: jax.Array, d: jax.Array) -> jax.Array:
    return numerics.over(numerics.finite(n), d)


@either_way
def _over_sum(n: jax.Array, d: jax.Array, eps: jax.Array) -> jax.Array:
    return numerics.over(numerics.finite(n), numerics.plus(d, eps))


class add(GradientTransformation, reach=ENTRY):
    """The sum of transformations that all read the same updates.

    Args:
        terms: transformations, at least one.

    Examples:
        >>> tx = gradtx.add(gradtx.identity(), gradtx.scale(-0.5))
        >>> tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]
        Array([0.5, 0.5], dtype=float32)
    """

    terms: tuple[GradientTransformation, ...]

    def __init__(self, *terms: GradientTransformation) -> None:
        if not terms:
            raise TypeError("add(): terms must be transformations, at least one.")
        object.__setattr__(
            self, "terms", tuple(part_of("add", f"terms[{i}]", t) for i, t in enumerate(terms))
        )

    def _arguments(self) -> Any:
        return ((None, term) for term in self.terms)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> add:
        return cls(*several("add", "terms", fields["terms"]))

    def init(self, params: PyTree) -> tuple[Any, ...]:
        return tuple(term.init(params) for term in self.terms)

    def update(
        self, updates: PyTree, state: tuple[Any, ...], params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, tuple[Any, ...]]:
        check_count(state, self.terms)
        results = [
            term.update(updates, before, params, **extra)
            for term, before in zip(self.terms, state, strict=True)
        ]
        total = jax.tree.map(lambda first, *rest: sum(rest, first), *(u for u, _ in results))
        return total, tuple(s for _, s in results)
