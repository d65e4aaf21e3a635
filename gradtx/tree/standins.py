"""Stand-ins for a leaf of a tree."""

from __future__ import annotations

from typing import NamedTuple

import jax

__all__ = ["MaskedNode", "RealAndImaginary"]


class RealAndImaginary(NamedTuple):
    """Stands in the place of a complex leaf."""

    real: jax.Array
    imaginary: jax.Array


class MaskedNode(NamedTuple):
    """Stands where a masked transformation sees no leaf: a container without leaves."""
