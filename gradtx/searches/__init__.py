"""Learning rates that are searched for, with further calls of the objective.

The objective is an extra argument of `update`, a Python function: close over it, or make it a static
argument of jit. A whole run may be a scan:

    @functools.partial(jax.jit, static_argnames="loss")
    def train(params, state, batches, loss):
        def step(carry, x):
            params, state = carry
            value, grad = jax.value_and_grad(loss)(params, x)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss, x=x)
            return (gradtx.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), batches)

`gradtx.make_train_step(loss, tx)` gives it by itself. A Flax TrainState's `apply_gradients` passes no extra
arguments; its `tx` is called by hand:

    updates, opt_state = state.tx.update(
        grad, state.opt_state, state.params, value=value, grad=grad, value_fn=loss, x=x
    )
    params = gradtx.apply_updates(state.params, updates)
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
"""

from gradtx.searches.backtracking import scale_by_backtracking_linesearch
from gradtx.searches.reuse import value_and_grad_from_state
from gradtx.searches.zoom import scale_by_zoom_linesearch

__all__ = [
    "scale_by_backtracking_linesearch",
    "scale_by_zoom_linesearch",
    "value_and_grad_from_state",
]
