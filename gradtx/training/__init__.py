"""The surroundings of an optimizer in a training loop: compiled steps, micro-batches, slow copies."""

from gradtx.training.microbatching import Accumulator, micro_grad, micro_vmap, microbatch, reshape_batch_axis
from gradtx.training.points import look_ahead
from gradtx.training.slow_copies import incremental_update, periodic_update
from gradtx.training.step import make_step, make_train_step

__all__ = [
    "Accumulator",
    "incremental_update",
    "look_ahead",
    "make_step",
    "make_train_step",
    "micro_grad",
    "micro_vmap",
    "microbatch",
    "periodic_update",
    "reshape_batch_axis",
]
