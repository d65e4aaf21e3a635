"""The parameters at which a gradient is to be computed.

Source: none (a point ahead of the parameters, at which a method asks for the gradient).
"""

from __future__ import annotations

from typing import Any

import jax

from gradtx import tree
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.tree.updates import apply_updates, has_no_gradient

__all__ = ["look_ahead"]


def look_ahead(tx: GradientTransformation, state: PyTree, params: PyTree, **extra: Any) -> PyTree:
    """Where the next step would go if its gradient were zero.

    For `sgd` with momentum that is θ - μ m, the point at which Nesterov's original method takes
    the gradient. The step itself starts from θ:

        ahead = look_ahead(tx, state, params)
        updates, state = tx.update(jax.grad(loss)(ahead), state, params)
        params = apply_updates(params, updates)

    Use it with plain momentum: `nesterov=True` looks ahead already. A weight decay in `tx` is part
    of where the step would go. The state is read, not advanced.

    Args:
        tx: any transformation whose updates are to be added to the parameters.
        state: its current state.
        params: θ.
        extra: further arguments, by name, for those that read them.
    """
    still = jax.tree.map(lambda p: None if has_no_gradient(p) else p, params)
    updates, _ = tx.update(tree.zeros_like(still), state, params, **extra)
    return apply_updates(params, updates)
