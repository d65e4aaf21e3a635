"""Trees of arrays: checked maps, dtypes that neither grow nor shrink, sums over leaves, leaves with names.

`None`, empty containers and Optax's `MaskedNode` are subtrees without leaves: they pass through
every function here, and no state is kept for them.
"""

from gradtx.tree.maps import (
    MismatchError,
    as_arrays,
    averaged,
    cast_like,
    check_arrays,
    check_like,
    check_real,
    copied,
    full_like,
    is_finite,
    map,
    one_example,
    real_dtype,
    widen,
    zeros_like,
    zeros_of,
)
from gradtx.tree.paths import PyTree, leaf_names, leaf_paths, name, quoted, unwrap_variables, where
from gradtx.tree.sums import dot, global_norm, inner, inner_product, length, total, totals

__all__ = [
    "MismatchError",
    "PyTree",
    "as_arrays",
    "averaged",
    "cast_like",
    "check_arrays",
    "check_like",
    "check_real",
    "copied",
    "dot",
    "full_like",
    "global_norm",
    "inner",
    "inner_product",
    "is_finite",
    "leaf_names",
    "leaf_paths",
    "length",
    "map",
    "name",
    "one_example",
    "quoted",
    "real_dtype",
    "total",
    "totals",
    "unwrap_variables",
    "where",
    "widen",
    "zeros_like",
    "zeros_of",
]
