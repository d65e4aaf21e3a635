"""What is where in the states of Optax's directions, and of the optimizers that are one.

A field of Optax's is followed by the way to it in gradtx's state, where * is any part of it. `prev_updates`
of Rprop has the signs of the updates, which is all that gradtx keeps of them.

What is not here is converted as what it expands to, or stays as it is. Two go on as gradtx's,
from Optax's state too: L-BFGS, whose pairs without positive curvature are left out, and the centred RMSprop,
which averages squared deviations where Optax averages squares.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

import gradtx
from gradtx import numerics, tree
from gradtx.atoms.moments.averages import EmaState
from gradtx.interop.optax.states.classes import (
    DEBIASED_RMS,
    DISTANCE,
    OPTIMISTIC,
)
from gradtx.interop.optax.states.codec import Codec, Convert, Way, inward, known, outward
from gradtx.interop.optax.states.record import COUNT, FIRST, Also, Record, is_masked
from gradtx.matrices.factored import FactoredState
from gradtx.matrices.orthogonal import PRESETS
from gradtx.optimizers.lbfgs import LbfgsState
from gradtx.optimizers.sm3 import CoverState
from gradtx.tree import PyTree
from gradtx.tree.standins import MaskedNode

__all__: list[str] = []

MOMENTS = {"count": COUNT, "mu": "numerator*mean", "nu": "denominator*mean"}
ADAM = Record(optax.ScaleByAdamState, **MOMENTS)
TWO_AVERAGES = Record(
    contrib.MomoState, exp_avg="*mean", barf="*loss", gamma="*along", lb="*lower_bound", count=COUNT
)

known |= {
    gradtx.trace: Record(optax.TraceState, trace="velocity"),
    gradtx.ema: Record(optax.EmaState, count=COUNT, ema="mean"),
    gradtx.momentum: Record(optax.EmaState, count=COUNT, ema="*mean"),
    gradtx.zero_nans: Record(optax.ZeroNansState, found_nan="found_nan"),
    gradtx.hutchinson_estimator_diag_hessian: Record(contrib.HutchinsonState, key="key"),
    gradtx.scale_by_adam: ADAM,
    gradtx.scale_by_radam: ADAM,
    gradtx.scale_by_yogi: ADAM,
    gradtx.scale_by_adamax: Record(
        optax.ScaleByAdamState, count=COUNT, mu="numerator*mean", nu="denominator*largest"
    ),
    gradtx.scale_by_adopt: Record(optax.ScaleByAdamState, count=COUNT, mu="*mean", nu="*squares"),
    gradtx.scale_by_amsgrad: Record(optax.ScaleByAmsgradState, **MOMENTS, nu_max="denominator*largest"),
    gradtx.scale_by_belief: Record(
        optax.ScaleByBeliefState, count=COUNT, mu="prediction*mean", nu="denominator*mean"
    ),
    gradtx.scale_by_acprop: Record(optax.ScaleByBeliefState, count=COUNT, mu="mean", nu="squares"),
    gradtx.scale_by_ademamix: Record(
        contrib.ScaleByAdemamixState,
        count=COUNT,
        count_m2=COUNT,
        m1="numerator.0*mean",
        m2="numerator.1*mean",
        nu="denominator*mean",
    ),
    gradtx.scale_by_simplified_ademamix: Record(
        contrib.ScaleBySimplifiedAdEMAMixState, t=COUNT, m="numerator*velocity", n="denominator*mean"
    ),
    gradtx.scale_by_adan: Record(
        optax.ScaleByAdanState,
        m="of_gradient*mean",
        v="of_difference*mean",
        n="denominator*mean",
        g="*previous",
        t=COUNT,
    ),
    gradtx.scale_by_lion: Record(optax.ScaleByLionState, count=COUNT, mu="*mean"),
    gradtx.scale_by_adadelta: Record(optax.ScaleByAdaDeltaState, e_g="squares*mean", e_x="past*mean"),
    gradtx.scale_by_rss: Record(optax.ScaleByRssState, sum_of_squares="*total"),
    gradtx.scale_by_rprop: Record(optax.ScaleByRpropState, step_sizes="sizes", prev_updates="signs"),
    gradtx.scale_by_novograd: Record(optax.ScaleByNovogradState, count=COUNT, mu="*velocity", nu="*squares"),
    gradtx.scale_by_madgrad: Record(
        contrib.MadgradState, count=COUNT, grad_sum_sq="squares", s="total", x0="start"
    ),
    gradtx.scale_by_cocob: Record(
        contrib.COCOBState,
        init_particles="start",
        cumulative_gradients="descent",
        scale="largest",
        subgradients="absolute",
        reward="reward",
    ),
    gradtx.scale_by_dog: Record(
        contrib.DoGState,
        is_init_step="first",
        init_params="start",
        max_dist="distance",
        sum_sq_norm_grads="squares",
    ),
    gradtx.scale_by_dowg: Record(
        contrib.DoWGState,
        init_params="start",
        weighted_sq_norm_grads="squares",
        estim_sq_dist="squared_distance",
    ),
    gradtx.dadapt_adamw: Record(
        contrib.DAdaptAdamWState,
        exp_avg="*mean",
        exp_avg_sq="*squares",
        grad_sum="*sums",
        estim_lr="*distance",
        numerator_weighted="*numerator",
        count=COUNT,
    ),
    gradtx.prodigy: Record(
        contrib.ProdigyState,
        exp_avg="*mean",
        exp_avg_sq="*squares",
        grad_sum="*sums",
        params0="*start",
        estim_lr="*distance",
        numerator_weighted="*numerator",
        count=COUNT,
    ),
    gradtx.momo: Record(
        contrib.MomoState, exp_avg="*mean", barf="*loss", gamma="*along", lb="*lower_bound", count=COUNT
    ),
    gradtx.momo_adam: Record(
        contrib.MomoAdamState,
        exp_avg="*mean",
        exp_avg_sq="*denominator*mean",
        barf="*loss",
        gamma="*along",
        lb="*lower_bound",
        count=COUNT,
    ),
}


def _reshaped(shape: tuple[int, ...]) -> Any:
    """Optax has the sums in arrays of one entry."""

    def new(tx: Any, state: Any) -> Any:
        sums = jax.tree.map(lambda x: jnp.reshape(x, shape), state.grad_sum_of_squares)
        return state._replace(grad_sum_of_squares=sums)

    return new


known[gradtx.scale_by_distance_over_gradients] = Also(
    Record(DISTANCE, max_dist="distance", grad_sum_of_squares="squares", init_params="start"),
    _reshaped((1,)),
    _reshaped(()),
)


class _Rms(Codec):
    """Optax has two classes of it."""

    _plain = Record(optax.ScaleByRmsState, nu="denominator*mean")
    _debiased = Record(DEBIASED_RMS, count=COUNT, nu="denominator*mean")

    def _of(self, tx: Any) -> Record:
        return self._debiased if tx.bias_correction else self._plain

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return self._of(tx).out(tx, state, way)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return self._of(tx).back(tx, state, way)


known[gradtx.scale_by_rms] = _Rms()


def _typed(tx: Any, state: Any) -> Any:
    """The key, which gradtx keeps as numbers."""
    return state._replace(rng_key=jax.random.wrap_key_data(state.rng_key))


def _numbers(tx: Any, state: Any) -> Any:
    key = state.rng_key
    return state._replace(rng_key=jax.random.key_data(key) if _is_key(key) else key)


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


known[gradtx.add_noise] = Also(Record(optax.AddNoiseState, count=COUNT, rng_key="key"), _typed, _numbers)
known[gradtx.differentially_private_aggregate] = Also(
    Record(contrib.DifferentiallyPrivateAggregateState, rng_key="key"), _typed, _numbers
)
known[gradtx.scale_by_optimistic_gradient] = Record(
    OPTIMISTIC, is_initial_step=FIRST, previous_gradient="*previous"
)


def _coefficients(given: Any) -> Any:
    return PRESETS[given] if isinstance(given, str) else given


known[gradtx.scale_by_muon] = Also(
    Record(contrib.MuonState, count=COUNT, mu="*mean", ns_coeffs=None),
    lambda tx, state: state._replace(ns_coeffs=jnp.asarray(_coefficients(tx.ns_coeffs), float)),
    lambda tx, state: state,
)


def _estimated(convert: Any) -> Any:
    """The state of the estimator in Sophia's, converted as well."""

    def new(tx: Any, state: Any) -> Any:
        inner = convert(tx.hessian_diagonal_fn, state.hessian_fn_state, Way())
        return state._replace(hessian_fn_state=inner)

    return new


known[gradtx.scale_by_sophia] = Also(
    Record(
        contrib.SophiaState,
        count=COUNT,
        mu="*numerator*mean",
        nu="*denominator*mean",
        hessian_fn_state="*inner",
    ),
    _estimated(outward),
    _estimated(inward),
)


def _lists(tx: Any, state: Any, way: Way) -> Any:
    """SM3's maxima, which Optax has in lists."""
    if tx.b1 is None:
        return state
    cover, average = state
    structure: Any = jax.tree.structure(average.mean)
    largest = jax.tree.unflatten(structure, [list(x) for x in structure.flatten_up_to(cover.largest)])
    return optax.ScaleBySM3State(largest, average.mean)


def _tuples(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, optax.ScaleBySM3State):
        return state
    structure: Any = jax.tree.structure(state.nu)
    largest = jax.tree.unflatten(structure, [tuple(x) for x in structure.flatten_up_to(state.mu)])
    return CoverState(largest), EmaState(state.nu)


known[gradtx.scale_by_sm3] = Convert(_lists, _tuples)


def _with_stand_ins(tx: Any, state: FactoredState, way: Way) -> Any:
    """Optax has an array of one zero where a leaf has no such average."""

    def filled(*three: Any) -> tuple[Any, ...]:
        there = [x for x in three if not is_masked(x)]
        return tuple(jnp.zeros(1, there[0].dtype) if is_masked(x) and there else x for x in three)

    way.counts.append(state.step)
    rows, columns, squares = _three(filled, *state[1:])
    return optax.FactoredState(state.step, rows, columns, squares)


def _without_stand_ins(tx: Any, state: Any, way: Way) -> Any:
    if not isinstance(state, optax.FactoredState):
        return state

    def chosen(rows: Any, columns: Any, squares: Any) -> tuple[Any, ...]:
        if is_masked(squares) or not hasattr(squares, "shape"):
            return rows, columns, squares
        factored = squares.shape == (1,) and rows.shape != (1,)
        return (rows, columns, MaskedNode()) if factored else (MaskedNode(), MaskedNode(), squares)

    way.counts.append(state.count)
    return FactoredState(state.count, *_three(chosen, *state[1:]))


def _three(f: Any, *trees: PyTree) -> tuple[PyTree, ...]:
    flat = [jax.tree.flatten(tree, is_leaf=is_masked) for tree in trees]
    made = [f(*leaves) for leaves in zip(*(leaves for leaves, _ in flat), strict=True)]
    columns = zip(*made, strict=True) if made else ((), (), ())
    return tuple(jax.tree.unflatten(flat[0][1], x) for x in columns)


known[gradtx.scale_by_factored_rms] = Convert(_with_stand_ins, _without_stand_ins)

# ---------------------------------------------------------------- what goes on as gradtx's


def _as_it_is(tx: Any, state: PyTree, way: Way) -> PyTree:
    return state


def _pairs(tx: Any, state: Any, way: Way) -> PyTree:
    """L-BFGS's pairs: Optax keeps one of every two updates, at the place that its count says."""
    if not isinstance(state, optax.ScaleByLBFGSState):
        return state
    pairs = jnp.maximum(state.count - 1, 0)
    newest = (pairs - 1) % tx.memory_size
    changes = jax.tree.map(lambda ring: ring[newest], state.diff_updates_memory)
    square = tree.inner_product(changes, changes, state.weights_memory.dtype)
    both = square * state.weights_memory[newest]
    scale = jnp.where(both > 0, 1 / jnp.where(both > 0, both, 1), 1)
    own = state.params, state.updates, state.diff_params_memory, state.diff_updates_memory
    return LbfgsState(state.count, pairs, *own, state.weights_memory, scale.astype(square.dtype))


_SQUARES = Record(optax.ScaleByRStdDevState, mu="denominator.0.mean", nu="denominator.1.mean")


def _deviations(tx: Any, state: Any, way: Way) -> PyTree:
    """The variance, of Optax's mean and mean square: from here on it keeps its digits."""
    if not isinstance(state, optax.ScaleByRStdDevState):
        return state
    variance = jax.tree.map(lambda m, s: jnp.maximum(s - numerics.abs_sq(m), 0), state.mu, state.nu)
    return _SQUARES.back(tx, state._replace(nu=variance), way)


known[gradtx.scale_by_lbfgs] = Convert(_as_it_is, _pairs)
known[gradtx.scale_by_stddev] = Convert(_as_it_is, _deviations)
