"""Filters over the stream of updates: averages and their corrections, velocities, deviations, totals."""

from gradtx.moments.averages import EmaState, ema, signed_ema, two_decay_ema
from gradtx.moments.corrections import BiasCorrectionState, RectifyState, bias_correction, rectify
from gradtx.moments.debiased import divide_by_root, momentum, nesterov_momentum, nesterov_terms, rms
from gradtx.moments.deviation import SquaredDeviationState, squared_deviation
from gradtx.moments.difference import difference
from gradtx.moments.rare import rare_ema
from gradtx.moments.totals import RunningMaxState, RunningSumState, decayed_max, running_max, running_sum
from gradtx.moments.velocity import DampenState, TraceState, dampen, trace
