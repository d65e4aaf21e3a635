"""States in Optax's classes and at Optax's places.

Read `codec` first, for how a state is converted; `directions`, `rates`, `optimizers` and `wrappers` have what
is where.
"""

from gradtx.interop.optax.states import directions, optimizers, rates, wrappers  # they fill the table
from gradtx.interop.optax.states.codec import Way, inward, outward
from gradtx.interop.optax.states.counts import counting

__all__ = ["Way", "counting", "inward", "outward"]
