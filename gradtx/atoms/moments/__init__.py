"""Filters over the stream of updates: averages and their corrections, velocities, deviations, totals."""

from gradtx.atoms.moments.averages import EmaState, ema, signed_ema, two_decay_ema
from gradtx.atoms.moments.corrections import BiasCorrectionState, RectifyState, bias_correction, rectify
from gradtx.atoms.moments.debiased import divide_by_root, momentum, nesterov_momentum, nesterov_terms, rms
from gradtx.atoms.moments.deviation import SquaredDeviationState, squared_deviation
from gradtx.atoms.moments.differences import difference
from gradtx.atoms.moments.rare import rare_ema
from gradtx.atoms.moments.totals import (
    RunningMaxState,
    RunningSumState,
    decayed_max,
    running_max,
    running_sum,
)
from gradtx.atoms.moments.velocity import DampenState, TraceState, dampen, trace

__all__ = [
    "BiasCorrectionState",
    "DampenState",
    "EmaState",
    "RectifyState",
    "RunningMaxState",
    "RunningSumState",
    "SquaredDeviationState",
    "TraceState",
    "bias_correction",
    "dampen",
    "decayed_max",
    "difference",
    "divide_by_root",
    "ema",
    "momentum",
    "nesterov_momentum",
    "nesterov_terms",
    "rare_ema",
    "rectify",
    "rms",
    "running_max",
    "running_sum",
    "signed_ema",
    "squared_deviation",
    "trace",
    "two_decay_ema",
]
