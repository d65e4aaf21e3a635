"""Written by `python -m tests.interop.optax_stub`."""

from optax.microbatching import AccumulationType

from gradtx import Accumulator, micro_grad, micro_vmap, microbatch, reshape_batch_axis

__all__ = [
    "AccumulationType",
    "Accumulator",
    "micro_grad",
    "micro_vmap",
    "microbatch",
    "reshape_batch_axis",
]
