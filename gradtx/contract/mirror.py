"""Which parts of a state mirror the parameters, found by `init` on a placeholder."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.tree_util import PyTreeDef

from gradtx.contract.protocol import HasInit, Transformation
from gradtx.tree import PyTree
from gradtx.values.value import kept

__all__ = ["Hole", "Mirror", "flat", "mirror_of"]


class Hole:
    """Stands for the parameters: a container without leaves."""


jax.tree_util.register_pytree_node(Hole, lambda _: ((), None), lambda _, __: Hole())


def _is_hole(x: object) -> bool:
    return isinstance(x, Hole)


class Mirror:
    """Splits a state into the parts that have one entry per parameter and the parts that all leaves share.

    Moments mirror the parameters; counters are shared.
    """

    def __init__(self, tx: HasInit) -> None:
        where, self._layout = flat(tx.init(Hole()), is_leaf=_is_hole)
        self.mirrors = [_is_hole(x) for x in where]

    def split(self, state: PyTree, structure: PyTreeDef) -> list[PyTree]:
        """The parts of a state; one that mirrors parameters of that structure as a list, by leaf.

        Raises:
            ValueError: the state does not fit.
        """
        parts = self._layout.flatten_up_to(state)
        return [structure.flatten_up_to(x) if m else x for m, x in zip(self.mirrors, parts, strict=True)]

    def join(self, parts: list[PyTree], structure: PyTreeDef) -> PyTree:
        """The state of such parts."""
        return self._layout.unflatten(
            [structure.unflatten(x) if m else x for m, x in zip(self.mirrors, parts, strict=True)]
        )

    def mapped(
        self, state: PyTree, of_params: Callable[[PyTree], PyTree], rest: Callable[[PyTree], PyTree]
    ) -> PyTree:
        """The state with one function of each part that mirrors the parameters, and another of the rest."""
        parts = self._layout.flatten_up_to(state)
        new = [of_params(x) if m else rest(x) for x, m in zip(parts, self.mirrors, strict=True)]
        return self._layout.unflatten(new)

    def own(self, parts: list[PyTree], i: int) -> list[PyTree]:
        """The parts that belong to the leaf number i."""
        return [x[i] for x, m in zip(parts, self.mirrors, strict=True) if m]

    def assemble(self, own: list[PyTree], common: list[PyTree]) -> PyTree:
        """The state for one leaf, of what belongs to it and what all leaves share."""
        mine, rest = iter(own), iter(common)
        return self._layout.unflatten([next(mine) if m else next(rest) for m in self.mirrors])

    def take_apart(self, state: PyTree) -> tuple[list[PyTree], list[PyTree]]:
        """The inverse of `assemble`."""
        parts = list(zip(self._layout.flatten_up_to(state), self.mirrors, strict=True))
        return [x for x, m in parts if m], [x for x, m in parts if not m]

    def gather(self, own: list[list[PyTree]], common: list[PyTree]) -> list[PyTree]:
        """The parts of what belongs to each leaf, and of what all leaves share."""
        mine, rest = iter(zip(*own, strict=True)), iter(common)
        return [list(next(mine)) if m else next(rest) for m in self.mirrors]


def flat(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[PyTree], PyTreeDef]:
    """`jax.tree.flatten`, with a type for what it returns."""
    return jax.tree.flatten(tree, is_leaf=is_leaf)  # jax has no types for treedefs


def mirror_of(tx: Transformation) -> Mirror:
    """How the state of `tx` mirrors the parameters."""
    return kept(Mirror, tx)  # type: ignore[arg-type]
