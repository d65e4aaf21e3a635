"""Written by `python -m tests.interop.optax_stub`."""

from optax.assignment import base_hungarian_algorithm, hungarian_algorithm

__all__ = [
    "base_hungarian_algorithm",
    "hungarian_algorithm",
]
