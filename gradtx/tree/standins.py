"""What stands in a tree in the place of a leaf."""

from __future__ import annotations

from typing import NamedTuple

import jax

__all__ = ["MaskedNode", "RealAndImaginary"]


class RealAndImaginary(NamedTuple):
    """What stands in the place of a complex leaf."""

    real: jax.Array
    imaginary: jax.Array


class MaskedNode(NamedTuple):
    """What stands where a masked transformation sees no leaf: a container without leaves."""
