"""Written by `python -m tests.interop.optax_stub`."""

from optax.second_order import fisher_diag, hessian_diag, hvp

__all__ = [
    "fisher_diag",
    "hessian_diag",
    "hvp",
]
