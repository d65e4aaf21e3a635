"""Written by `python -m tests.interop.optax_stub`."""

from optax.perturbations import Gumbel, Normal, make_perturbed_fun

__all__ = [
    "Gumbel",
    "Normal",
    "make_perturbed_fun",
]
