"""Written by `python -m tests.interop.optax_stub`."""

from gradtx.interop.optax.experimental import aggregating

__all__ = [
    "aggregating",
]
