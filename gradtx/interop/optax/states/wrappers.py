"""What is where in the states of transformations that hold others.

`grad_acc` of `apply_every` is 0 once its sum has been applied, where Optax's keeps it for one step more.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from optax import contrib

import gradtx
from gradtx import numerics
from gradtx.combine import leaves
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.interop.optax.states.classes import (
    NOTHING,
)
from gradtx.interop.optax.states.codec import Codec, Convert, Way, inward, known, outward
from gradtx.interop.optax.states.holder import Holder
from gradtx.interop.optax.states.line import Line
from gradtx.interop.optax.states.optimizers import decayed, rate
from gradtx.interop.optax.states.record import with_other_stand_ins
from gradtx.layouts.complex import SplitRealAndImaginaryState
from gradtx.matrices.apart import ForMatricesState
from gradtx.matrices.subspace import SubspaceState, in_subspace
from gradtx.telemetry.measures import MonitorState, SnapshotState
from gradtx.tree import PyTree
from gradtx.tree.standins import MaskedNode
from gradtx.wrappers import accumulate as accumulation
from gradtx.wrappers import conditional, mechanic, sam
from gradtx.wrappers.lookahead import LookaheadState
from gradtx.wrappers.schedule_free import ScheduleFreeState

__all__: list[str] = []


def _matrices(tx: Any) -> list[Any]:
    direction = gradtx.scale_by_muon.of(tx, weight_dimension_numbers=tx.muon_weight_dimension_numbers)
    return [direction, NOTHING, decayed(tx.weight_decay, tx.weight_decay_mask), rate(tx)]


def _others(tx: Any) -> list[Any]:
    adam = gradtx.scale_by_adam(
        tx.adam_b1, tx.adam_b2, tx.eps, tx.adam_eps_root, tx.mu_dtype, nesterov=tx.nesterov
    )
    speed = tx.learning_rate if tx.adam_learning_rate is None else tx.adam_learning_rate
    return [adam, decayed(tx.adam_weight_decay, None), gradtx.scale_by_learning_rate(speed)]


class _Muon(Codec):
    """A partition by shape."""

    _lines: ClassVar = {"adam": ("others", Line(_others)), "muon": ("matrices", Line(_matrices))}

    def out(self, tx: Any, state: ForMatricesState, way: Way) -> PyTree:
        some = dataclasses.replace(way, masked=True)
        return optax.PartitionState(
            {
                label: optax.MaskedState(line.out(tx, getattr(state, field).inner, some))
                for label, (field, line) in self._lines.items()
            }
        )

    def back(self, tx: Any, state: Any, way: Way) -> PyTree:
        if not isinstance(state, optax.PartitionState):
            return state
        some = dataclasses.replace(way, masked=True)
        return ForMatricesState(
            **{
                field: leaves.MaskedState(line.back(tx, state.inner_states[label].inner_state, some))
                for label, (field, line) in self._lines.items()
            }
        )

    def lacks_count(self, tx: Any) -> bool:
        return any(line.lacks_count(tx) for _, line in self._lines.values())


def _groups_out(tx: Any, state: Any, way: Way) -> Any:
    return optax.PartitionState(
        {
            label: optax.MaskedState(outward(tx.transforms[label], inner, way.into(tx, masked=True)))
            for label, inner in state.groups.items()
        }
    )


def _groups_back(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, optax.PartitionState):
        return state
    return leaves.PartitionState(
        {
            label: inward(tx.transforms[label], held.inner_state, way.into(tx, masked=True))
            for label, held in state.inner_states.items()
        }
    )


def _names_out(tx: Any, state: Any, way: Way) -> Any:
    named = zip(tx.names, tx.parts, strict=True)
    return collections.OrderedDict((n, outward(part, state[n], way)) for n, part in named)


def _names_back(tx: Any, state: Any, way: Way) -> Any:
    return {n: inward(part, state[n], way) for n, part in zip(tx.names, tx.parts, strict=True)}


def _micro_out(tx: Any, state: accumulation.AccumulateState, way: Way) -> Any:
    mean = state.total
    if tx.mean:  # Optax's is the mean so far
        mean = jax.tree.map(lambda s: numerics.over(s, jnp.maximum(state.micro_step, 1)), mean)
    inner = outward(tx.inner, state.inner, way.into(tx))
    return optax.MultiStepsState(state.micro_step, state.gradient_step, inner, mean, state.skipped)


def _micro_back(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, optax.MultiStepsState):
        return state
    total, weight = state.acc_grads, jnp.asarray(state.mini_step, float)
    if tx.mean:
        total = jax.tree.map(lambda m: numerics.times(jnp.asarray(m), weight), total)
    inner = inward(tx.inner, state.inner_opt_state, way.into(tx))
    return accumulation.AccumulateState(
        state.mini_step, state.gradient_step, weight, total, state.skip_state, inner
    )


def _every_out(tx: Any, state: accumulation.AccumulateState, way: Way) -> Any:
    return optax.ApplyEvery(state.micro_step, state.total)


def _every_back(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, optax.ApplyEvery):
        return state
    micro = state.count
    total = jax.tree.map(lambda s: jnp.where(micro > 0, s, jnp.zeros_like(s)), state.grad_acc)
    return accumulation.AccumulateState(
        micro, numerics.counter(), jnp.asarray(micro, float), total, (), EmptyState()
    )


def _empty_where_left_out(basis: PyTree) -> PyTree:
    """Optax's array without entries for every leaf that is not projected."""
    return with_other_stand_ins(basis, lambda: jnp.zeros((0, 0)))


def _projected(tx: in_subspace, state: SubspaceState, way: Way) -> Any:
    """Optax has an empty matrix where a leaf is not projected."""
    way.counts.append(state.step)
    inner = outward(tx.inner, state.inner, way.into(tx))
    return contrib.GaLoreState(state.step, inner, _empty_where_left_out(state.basis))


def _unprojected(tx: in_subspace, state: Any, way: Way) -> Any:
    if not isinstance(state, contrib.GaLoreState):
        return state
    way.counts.append(state.count)
    basis = jax.tree.map(lambda x: x if jnp.size(x) else MaskedNode(), state.projector)
    return SubspaceState(state.count, basis, inward(tx.inner, state.base_optimizer_state, way.into(tx)))


def _mechanic_out(tx: Any, state: mechanic.MechanicState, way: Way) -> Any:
    if tx.store_delta:
        return state
    inner = outward(tx.base_optimizer, state.inner, way.into(tx))
    numbers = state.reward, state.largest, state.squares, state.scales
    return contrib.MechanicState(inner, way.count, *numbers, state.start)


def _mechanic_back(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, contrib.MechanicState):
        return state
    inner = inward(tx.base_optimizer, state.base_optimizer_state, way.into(tx))
    return mechanic.MechanicState(state.r, state.m, state.v, state.s, state.x0, (), inner)


class _ScheduleFree(Codec):
    """Optax counts from 1, and sums the weights themselves.

    Args:
        base: the transformation -> what Optax's chain has in the place of the base optimizer; None is that.
    """

    def __init__(self, base: Line | None = None) -> None:
        self._base = base

    def out(self, tx: Any, state: ScheduleFreeState, way: Way) -> Any:
        inside = way.into(tx)
        if self._base is None:
            base = outward(tx.base_optimizer, state.base_optimizer_state, inside)
        else:
            base = self._base.out(tx, state.base_optimizer_state, inside)
        total = state.length * state.max_lr ** numerics.like(tx.weight_lr_power, state.max_lr)
        return contrib.ScheduleFreeState(state.b1, total, way.count + 1, state.max_lr, base, state.z)

    def back(self, tx: Any, state: Any, way: Way) -> Any:
        if not isinstance(state, contrib.ScheduleFreeState):
            return state
        inside = way.into(tx)
        if self._base is None:
            base = inward(tx.base_optimizer, state.base_optimizer_state, inside)
        else:
            base = self._base.back(tx, state.base_optimizer_state, inside)
        one = state.max_lr ** numerics.like(tx.weight_lr_power, state.max_lr)
        length = jnp.where(one > 0, state.weight_sum / jnp.where(one > 0, one, 1), 0)
        return ScheduleFreeState(state.b1, state.max_lr, length.astype(state.max_lr.dtype), state.z, base)

    def lacks_count(self, tx: Any) -> bool:
        return True


def _free_adamw(tx: Any) -> list[Any]:
    averaged = gradtx.scale_by_rms(tx.b2, tx.eps, eps_in_sqrt=False, bias_correction=True)
    return [averaged, decayed(tx.weight_decay, None), _free_rate(tx)]


def _free_rate(tx: Any) -> GradientTransformation:
    """The rate of a schedule-free optimizer, which its warm-up makes a schedule."""
    return gradtx.scale_by_learning_rate(tx._expansion().learning_rate)


known[gradtx.schedule_free_adamw] = _ScheduleFree(Line(_free_adamw))
known[gradtx.schedule_free_sgd] = _ScheduleFree(
    Line(lambda tx: [decayed(tx.weight_decay, None), _free_rate(tx)])
)


def _of_the_held(field: str) -> Convert:
    """The state of what is held, which has nothing around it."""
    return Convert(
        lambda tx, state, way: outward(getattr(tx, field), state, way),
        lambda tx, state, way: inward(getattr(tx, field), state, way),
    )


_HELD = {"inner_state": ("inner", "inner")}
known |= {
    gradtx.muon: _Muon(),
    gradtx.partition: Convert(_groups_out, _groups_back),
    gradtx.named_chain: Convert(_names_out, _names_back),
    gradtx.accumulate: Convert(_micro_out, _micro_back),
    gradtx.apply_every: Convert(_every_out, _every_back),
    gradtx.mechanize: Convert(_mechanic_out, _mechanic_back, lambda tx: not tx.store_delta),
    gradtx.schedule_free: _ScheduleFree(),
    gradtx.masked: Holder(leaves.MaskedState, optax.MaskedState, _HELD, masks=True),
    gradtx.apply_if_finite: Holder(
        conditional.ApplyIfFiniteState,
        optax.ApplyIfFiniteState,
        _HELD,
        {n: n for n in ("notfinite_count", "last_finite", "total_notfinite")},
    ),
    gradtx.conditionally_mask: Holder(
        conditional.RunWhenState, optax.ConditionallyMaskState, _HELD, {"step": "step"}
    ),
    gradtx.conditionally_transform: Holder(
        conditional.RunWhenState, optax.ConditionallyTransformState, _HELD, {"step": "step"}
    ),
    gradtx.split_real_and_imaginary: Holder(
        SplitRealAndImaginaryState, contrib.SplitRealAndImaginaryState, _HELD
    ),
    in_subspace: Convert(_projected, _unprojected),
    gradtx.lookahead: Holder(
        LookaheadState,
        LookaheadState,
        {"inner": ("inner", "fast_optimizer")},
        {"step": "step", "slow": "slow"},
    ),
    sam.sam_in_turn: Holder(
        sam.SamInTurnState,
        contrib.SAMState,
        {"opt_state": ("opt_state", "optimizer"), "adv_state": ("adv_state", "adv_optimizer")},
        {"steps_since_sync": "steps_since_sync", "cache": "cache"},
    ),
    gradtx.with_extra_args_support: _of_the_held("tx"),
    gradtx.flatten: _of_the_held("inner"),
    gradtx.snapshot: Convert(
        lambda tx, state, way: optax.SnapshotState(*state), lambda tx, state, way: SnapshotState(*state)
    ),
    gradtx.monitor: Convert(
        lambda tx, state, way: optax.MonitorState(*state), lambda tx, state, way: MonitorState(*state)
    ),
}


def _at_once_out(tx: Any, state: sam.SamAtOnceState, way: Way) -> Any:
    parts = (
        outward(tx.optimizer, state.opt_state, way.into(tx)),
        outward(tx.adv_optimizer, state.adv_state, way.into(tx)),
    )
    return contrib.SAMState(numerics.counter(), *parts, None)


def _at_once_back(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, contrib.SAMState):
        return state
    step = inward(tx.optimizer, state.opt_state, way.into(tx))
    return sam.SamAtOnceState(step, inward(tx.adv_optimizer, state.adv_state, way.into(tx)))


known[sam.sam_at_once] = Convert(_at_once_out, _at_once_back)
