"""Arithmetic of leaves that keeps float32's seven digits where the textbook form loses them."""

from gradtx.numerics.decays import average_length, complement, log_decay, square_root
from gradtx.numerics.dtypes import cast, like, norm_dtype, wide_dtype, wider
from gradtx.numerics.leaf import (
    abs_sq,
    beside,
    divide_above_one,
    lerp,
    minus,
    over,
    plus,
    plus_times,
    root,
    safe_increment,
    times,
    total,
)
from gradtx.numerics.norms import norm, rms, safe_norm, safe_root_mean_squares
