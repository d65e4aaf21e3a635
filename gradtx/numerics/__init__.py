"""Arithmetic of leaves that keeps float32's seven digits where the textbook form loses them."""

from gradtx.numerics.decays import average_length, complement, log_decay, square_root
from gradtx.numerics.dtypes import cast, like, norm_dtype, wide_dtype, wider
from gradtx.numerics.leaf import (
    Square,
    abs_sq,
    beside,
    counter,
    cube_root,
    divide_above_one,
    lerp,
    minus,
    over,
    plus,
    plus_times,
    root,
    safe_increment,
    times,
    times_square,
    total,
)
from gradtx.numerics.norms import norm, rms, safe_norm, safe_root_mean_squares

__all__ = [
    "Square",
    "abs_sq",
    "average_length",
    "beside",
    "cast",
    "complement",
    "counter",
    "divide_above_one",
    "lerp",
    "like",
    "log_decay",
    "minus",
    "norm",
    "norm_dtype",
    "over",
    "plus",
    "plus_times",
    "rms",
    "root",
    "safe_increment",
    "safe_norm",
    "safe_root_mean_squares",
    "square_root",
    "times",
    "times_square",
    "total",
    "wide_dtype",
    "wider",
]
