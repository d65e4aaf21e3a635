"""A number's field holds one number while a transformation runs: an array of a sweep is mapped over first.

Without vmap an array would broadcast over each leaf: a learning rate for each column.
"""

from __future__ import annotations

import jax
import numpy as np

from gradtx.contract.protocol import Transformation
from gradtx.values.kinds import Maybe, Real, is_array
from gradtx.values.value import Value, accepted, kept

__all__ = ["check_no_sweep", "checked"]


def check_no_sweep(value: object) -> None:
    """Raise ValueError where a number in a value, or in what it holds, is an array with axes.

    Under vmap a number of a sweep has none.

    Args:
        value: a transformation or a schedule; or a container of them.
    """
    if not isinstance(value, Value):
        for held in jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, Value)):
            if isinstance(held, Value):
                check_no_sweep(held)
        return
    kinds = dict(accepted(type(value)))
    for name, held in vars(value).items():
        kind = kinds.get(name)
        kind = kind.inner if isinstance(kind, Maybe) else kind
        if isinstance(kind, Real) and is_array(held) and np.ndim(held):
            owner = type(value).__name__
            raise ValueError(
                f"{owner}({name}=array of shape {np.shape(held)}): {name} is one number where this "
                f"runs; an array would broadcast over each leaf. Map over it: jax.vmap(lambda {name}: ...)."
            )
        if not is_array(held):
            check_no_sweep(held)


def checked(tx: Transformation) -> None:
    """`check_no_sweep`, once for each transformation."""
    value: object = tx
    assert isinstance(value, Value)  # which a protocol can't say
    kept(check_no_sweep, value)
