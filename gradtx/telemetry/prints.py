"""Transformations that print while they run.

Source: none (a number that is printed).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.contract.hyperparameters import Positive
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["print_win_rate"]


class PrintState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made


class print_win_rate(GradientTransformation, reach=OTHERS):
    """Print, at every n-th update, which share of the entries a clip behind this will leave as it is.

    Args:
        threshold: the clip's, above 0.
        every: n, at least 1.
    """

    threshold: Positive
    every: AtLeastOne = static()

    def init(self, params: PyTree) -> PrintState:
        return PrintState(numerics.counter())

    def update(
        self, updates: PyTree, state: PrintState, params: PyTree | None = None
    ) -> tuple[PyTree, PrintState]:
        def show() -> None:
            inside = [
                jnp.sum(jnp.abs(u) < numerics.like(self.threshold, u)) for u in jax.tree.leaves(updates)
            ]
            share = sum(inside) / max(sum(u.size for u in jax.tree.leaves(updates)), 1)
            jax.debug.print("Sophia's win rate: {share}", share=share)

        step = numerics.safe_increment(state.step)
        cond(step % self.every == 0, show, lambda: None)
        return updates, PrintState(step)
