"""Optax and gradtx in one program, in both directions.

A gradtx transformation has Optax's protocol, so it works inside Optax's combinators as it is, and
`chain` takes Optax's transformations as they are. `as_optax` is needed where Optax asks for the
*type*: to hand extra arguments on (its combinators drop them for any other type), and where two
transformations must be the same object.
"""

from __future__ import annotations

from typing import Any

import optax

from gradtx.contract.foreign import as_transformation
from gradtx.contract.transformation import GradientTransformation
from gradtx.values.value import first_of_equal, kept

__all__ = ["as_optax", "from_optax"]


def as_optax(
    tx: GradientTransformation | optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """`tx` as Optax's pair of functions, which takes extra arguments.

    Equal transformations give the same object, so that a static jit argument does not retrace.

    Args:
        tx: a gradtx transformation; one of Optax's is returned as it is.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(tx, optax.GradientTransformation):
        return optax.with_extra_args_support(tx)
    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"as_optax: expected a gradient transformation, not {tx!r}.")
    try:
        hash(tx)
    except TypeError:  # its numbers are traced or arrays
        return _pair(tx)
    return kept(_pair, first_of_equal(tx))


def _pair(tx: Any) -> optax.GradientTransformationExtraArgs:
    return optax.GradientTransformationExtraArgs(tx.init, tx.update)


def from_optax(tx: Any) -> GradientTransformation:
    """Optax's transformation as a gradtx one, to be chained, masked and partitioned.

    It compares by its two functions, since Optax's closures have no other identity; it prints
    their names, and has no JSON.

    Args:
        tx: Optax's transformation; one of gradtx, or its value, is returned.

    Raises:
        TypeError: it is neither.
    """
    if not isinstance(tx, (GradientTransformation, optax.GradientTransformation)):
        raise TypeError(f"from_optax: expected one of Optax's transformations, not {tx!r}.")
    return as_transformation("from_optax", "tx", tx)
