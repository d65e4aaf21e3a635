"""SAM: the gradient is taken where the loss is worst nearby, and applied here.

    θ̂ = θ + ρ g(θ) / ‖g(θ)‖₂        the adversarial step
    θ ← θ + step of g(θ̂)            the optimizer's

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021, algorithm 1 and
equation 2 with p = 2. https://arxiv.org/abs/2010.01412
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.norms import normalize_by_update_norm
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.reach import TREE
from gradtx.contract.running import owner
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.tree.updates import apply_updates
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["sam", "sam_at_once", "sam_in_turn"]

ADVERSARY = chain(normalize_by_update_norm(), scale_by_learning_rate(0.05))
"""The paper's, which `sam` turns uphill: 0.05 g / ‖g‖."""


class SamInTurnState(NamedTuple):
    steps_since_sync: jax.Array  # int32: how many updates since the parameters were the true ones
    opt_state: PyTree
    adv_state: PyTree
    cache: PyTree  # θ, in at least float32: the true parameters, while others are trained


class sam_in_turn(GradientTransformation, reach=TREE, may_skip=True):
    """SAM in k updates: k - 1 uphill, away from the true parameters, then one step back to them and on.

    Args:
        optimizer: what steps.
        adv_optimizer: what steps uphill: a descent, which is turned round.
        sync_period: k, at least 1.
        reset_state: begin with a new state of `adv_optimizer` after each step.
    """

    optimizer: GradientTransformation
    adv_optimizer: GradientTransformation = ADVERSARY
    sync_period: AtLeastOne = static(default=2)
    reset_state: bool = static(default=True)

    def init(self, params: PyTree) -> SamInTurnState:
        cache = tree.copied(params)
        parts = self.optimizer.init(params), self.adv_optimizer.init(params)
        return SamInTurnState(numerics.counter(), *parts, cache)

    def update(
        self, updates: PyTree, state: SamInTurnState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, SamInTurnState]:
        params = need_params(self, params)
        first = state.steps_since_sync == 0
        true = tree.map(lambda p, c: jnp.where(first, p.astype(c.dtype), c), params, state.cache)
        before = state.opt_state, state.adv_state

        def descend() -> tuple[PyTree, tuple[PyTree, PyTree]]:
            at = tree.cast_like(true, params)
            steps, after = self.optimizer.update(updates, before[0], at, **extra)
            back = jax.tree.map(
                lambda u, c, p: numerics.cast(c, u.dtype) - numerics.cast(p, u.dtype) + u, steps, true, params
            )
            return back, (after, self.adv_optimizer.init(params) if self.reset_state else before[1])

        def ascend() -> tuple[PyTree, tuple[PyTree, PyTree]]:
            up, after = _uphill(self.adv_optimizer, updates, before[1], params, extra)
            return up, (before[0], after)

        last = state.steps_since_sync == self.sync_period - 1
        out, after = cond(last, descend, ascend)
        since = jnp.where(last, 0, state.steps_since_sync + 1)
        return out, SamInTurnState(since, after[0], after[1], true)


class SamAtOnceState(NamedTuple):
    opt_state: PyTree
    adv_state: PyTree


def _averaged(grads: PyTree, axis: str) -> PyTree:
    try:
        return jax.lax.pmean(grads, axis)
    except NameError:
        raise ValueError(
            f"{owner()}(batch_axis_name={axis!r}): no axis of that name is mapped over here, by pmap, "
            "vmap or shard_map."
        ) from None


class sam_at_once(GradientTransformation, reach=TREE, may_skip=True):
    """SAM in one update, which computes k - 1 gradients itself.

    Args:
        optimizer: what steps.
        adv_optimizer: what steps uphill: a descent, which is turned round.
        sync_period: k, at least 1.
        reset_state: begin with a new state of `adv_optimizer` at each update.
        batch_axis_name: of the axis to average those gradients over, in pmap, vmap or shard_map.
    """

    optimizer: GradientTransformation
    adv_optimizer: GradientTransformation = ADVERSARY
    sync_period: AtLeastOne = static(default=2)
    reset_state: bool = static(default=True)
    batch_axis_name: str | None = static(default=None)

    def init(self, params: PyTree) -> SamAtOnceState:
        return SamAtOnceState(self.optimizer.init(params), self.adv_optimizer.init(params))

    def update(
        self,
        updates: PyTree,
        state: SamAtOnceState,
        params: PyTree | None = None,
        *,
        grad_fn: Callable[[PyTree, int], PyTree],
        **extra: Any,
    ) -> tuple[PyTree, SamAtOnceState]:
        params, extra = need_params(self, params), extra | {"grad_fn": grad_fn}
        there, grads, adversary = params, updates, state.adv_state
        for i in range(self.sync_period - 1):
            up, adversary = _uphill(self.adv_optimizer, grads, adversary, there, extra)
            there = apply_updates(there, up)
            grads = grad_fn(there, i)
            if self.batch_axis_name is not None:
                grads = _averaged(grads, self.batch_axis_name)
            tree.check_like(updates, grads, "gradient's")
            grads = tree.cast_like(grads, updates)
        out, inner = self.optimizer.update(grads, state.opt_state, params, **extra)
        return out, SamAtOnceState(inner, self.adv_optimizer.init(params) if self.reset_state else adversary)


def _uphill(
    adversary: GradientTransformation, grads: PyTree, state: PyTree, params: PyTree, extra: dict[str, Any]
) -> tuple[PyTree, PyTree]:
    steps, after = adversary.update(grads, state, params, **extra)
    return jax.tree.map(jnp.negative, steps), after


class sam(Composite, may_skip=True):
    """SAM around an optimizer: flatter minima, for two gradients a step.

    By default one step takes two updates: the first moves the parameters to where the loss is worse, the
    second, with the gradient there, back and on. So it stands alone or last, training loops stay as they
    are, and between the two `state.cache` has the parameters to evaluate. In opaque mode one update does
    it all, and calls for the gradient itself, which models with statistics of their batches need:

        grad_fn = jax.grad(lambda params, i: loss(params, batch))
        tx.update(grads, state, params, grad_fn=grad_fn)

    Each optimizer counts its own updates: a schedule in it moves once for every step.

    Args:
        optimizer: what steps.
        adv_optimizer: what steps uphill: a descent, which is turned round, such as
            chain(normalize_by_update_norm(), sgd(ρ)); the default has the paper's ρ = 0.05.
        sync_period: k, at least 1: one step for k - 1 uphill.
        reset_state: begin with a new state of `adv_optimizer` after each step.
        opaque_mode: do it in one update, with k - 1 calls of `grad_fn(params, i)`, i from 0.
        batch_axis_name: in opaque mode, of the axis to average those gradients over.

    Raises:
        ValueError: update is called without the parameters; `batch_axis_name` without `opaque_mode`.
        TypeError: in opaque mode, `grad_fn` is missing.
    """

    optimizer: GradientTransformation
    adv_optimizer: GradientTransformation = ADVERSARY
    sync_period: AtLeastOne = static(default=2)
    reset_state: bool = static(default=True)
    opaque_mode: bool = static(default=False)
    batch_axis_name: str | None = static(default=None)

    def expand(self) -> GradientTransformation:
        if self.opaque_mode:
            return sam_at_once.of(self)
        if self.batch_axis_name is not None:
            raise ValueError(
                f"sam(batch_axis_name={self.batch_axis_name!r}): it is for opaque_mode=True. Without it, "
                "average the gradients before update."
            )
        return sam_in_turn.of(self)
