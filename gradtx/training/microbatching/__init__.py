"""A function, evaluated over one part of its batch after the other, so that less has to fit into memory.

Of n micro-batches the i-th has the rows i, i + n, i + 2n, ...: where a batch is divided between devices,
each of them then has its share of every micro-batch.

    microbatch(f)    f of a part of the batch
    micro_vmap(f)    f of each row, `jax.vmap` of it over a part of the batch
    micro_grad(f)    the gradient of f at each row

Source: none (the sum over a batch, computed in parts).
"""

from gradtx.training.microbatching.division import reshape_batch_axis
from gradtx.training.microbatching.folds import Accumulator
from gradtx.training.microbatching.loop import microbatch
from gradtx.training.microbatching.rows import IndividualOutputs, micro_grad, micro_vmap

__all__ = [
    "Accumulator",
    "IndividualOutputs",
    "micro_grad",
    "micro_vmap",
    "microbatch",
    "reshape_batch_axis",
]
