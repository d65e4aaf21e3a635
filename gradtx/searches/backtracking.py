"""Backtracking: the first of a falling sequence of steps that lowers the objective enough.

    η ← ρ η    until    f(θ + η u) <= (1 + δ) f(θ) + c η ⟨∇f(θ), u⟩ + ε

Nocedal & Wright, "Numerical Optimization", 2nd edition, 2006, algorithm 3.1. The tolerances, and a first
guess that grows from the last step: Vaswani et al., "Painless Stochastic Gradient: Interpolation,
Line-Search, and Convergence Rates", 2019. https://arxiv.org/abs/1905.09997
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Hyperparameter, NonNegative, Positive, Scalar
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import cond, while_loop
from gradtx.searches.line import Line, Unbounded, along, at_least_zero, choose, guess, print_if, scaled
from gradtx.tree import PyTree
from gradtx.values.kinds import Integer
from gradtx.values.value import static

__all__ = ["scale_by_backtracking_linesearch"]


class BacktrackingLinesearchInfo(NamedTuple):
    """How the last search went."""

    num_linesearch_steps: jax.Array  # int32: how often the objective was computed
    decrease_error: jax.Array  # by how much the condition failed at the last step tried; 0 if it holds


class BacktrackingLinesearchState(NamedTuple):
    """Results of the last search."""

    learning_rate: jax.Array  # η; 0 where the objective was finite at no step
    value: jax.Array  # f at the parameters that this update leads to; infinite before the first
    grad: PyTree | None  # and its gradient there, in at least float32, if store_grad
    info: BacktrackingLinesearchInfo


class _Search(NamedTuple):
    tries: jax.Array
    step: jax.Array
    value: jax.Array
    grad: PyTree | None
    error: jax.Array


class scale_by_backtracking_linesearch(GradientTransformation, passes_on=("value_fn",)):
    """Multiply the updates by a step that lowers the objective enough. Stands last.

    It needs the objective, and its value and gradient at the parameters:

        value, grad = jax.value_and_grad(loss)(params, x=x)
        tx.update(grad, state, params, value=value, grad=grad, value_fn=loss, x=x)

    Arguments that `value_fn` takes by name besides the parameters are passed on to it. Updates must
    point downhill, so that a sign stands in front: chain(sgd(1.0), scale_by_backtracking_linesearch(15)).
    If no step is good enough, the last one is taken, unless the objective is not finite there: then none,
    and the next search begins at the top again (Optax's stays at 0). For complex parameters `grad` is
    what jax.grad gives, and the updates are made of its conjugate.

    Args:
        max_backtracking_steps: how often the step may be shortened, at least 0.
        slope_rtol: c, at least 0; how much of what the slope promises has to come true.
        decrease_factor: ρ, in (0, 1).
        increase_factor: the first guess is the last step times this, above 0; None or infinity begins
            with the largest step each time.
        max_learning_rate: the largest step, above 0.
        atol: ε, at least 0.
        rtol: δ, at least 0.
        store_grad: compute the gradient at the new parameters too, for `value_and_grad_from_state`.
        verbose: print when no step is good enough.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `value`, `grad`, `value_fn` or an argument of `value_fn` is missing.
    """

    max_backtracking_steps: Annotated[int, Integer(low=0)] = static()
    slope_rtol: NonNegative = 1e-4
    decrease_factor: Annotated[Scalar, Hyperparameter(0, 1, open_low=True, open_high=True)] = 0.8
    increase_factor: Unbounded = 1.5
    max_learning_rate: Positive = 1.0
    atol: NonNegative = 0.0
    rtol: NonNegative = 0.0
    store_grad: bool = static(default=False)
    verbose: bool = static(default=False)

    def init(self, params: PyTree) -> BacktrackingLinesearchState:
        dtype = tree.real_dtype(params)
        return BacktrackingLinesearchState(
            jnp.ones((), dtype),
            jnp.full((), jnp.inf, dtype),
            tree.zeros_like(params) if self.store_grad else None,
            BacktrackingLinesearchInfo(numerics.counter(), jnp.full((), jnp.inf, dtype)),
        )

    def update(
        self,
        updates: PyTree,
        state: BacktrackingLinesearchState,
        params: PyTree | None = None,
        *,
        value: Any,
        grad: PyTree,
        value_fn: Callable[..., Any],
        **extra: Any,
    ) -> tuple[PyTree, BacktrackingLinesearchState]:
        dtype = state.value.dtype
        line = along(self, updates, params, dtype, value, grad, value_fn, extra)
        fall = line.slope * numerics.like(self.slope_rtol, line.slope)
        allowed = line.value * (1 + numerics.like(self.rtol, line.value))
        enough = jnp.asarray(self.atol, dtype)
        begin = guess(state.learning_rate, self.increase_factor, self.max_learning_rate)

        def unfinished(s: _Search) -> jax.Array:
            return ~(s.error <= enough) & (s.tries <= self.max_backtracking_steps)

        def shorter(s: _Search) -> _Search:
            step = jnp.where(s.tries > 0, s.step * numerics.like(self.decrease_factor, s.step), begin)
            at, pull_back = self._look(line, step)
            new = at.astype(dtype)
            error = at_least_zero(new - allowed - step * fall)
            after = _Search(s.tries + 1, step, new, s.grad, error)
            if not self.store_grad:
                return after
            # Backwards only once, at the end; what it needs is there already.
            back = cond(
                unfinished(after), lambda: s.grad, lambda: tree.widen(pull_back(jnp.ones_like(at))[0])
            )
            return after._replace(grad=back)

        start = _Search(
            numerics.counter(),
            begin,
            line.value,
            line.grad if self.store_grad else None,
            jnp.full((), jnp.inf, dtype),
        )
        found = while_loop(unfinished, shorter, start)
        stay = jnp.isinf(found.error)
        if self.verbose:
            print_if(
                found.error > enough,
                "scale_by_backtracking_linesearch: no step of {tries} lowers {value} enough; the last was "
                "{step}, its error {error}.",
                tries=found.tries,
                value=line.value,
                step=found.step,
                error=found.error,
            )
        step = jnp.where(stay, jnp.zeros_like(found.step), found.step)
        new, back = choose(stay, (line.value, start.grad), (found.value, found.grad))
        info = BacktrackingLinesearchInfo(found.tries, found.error)
        return scaled(updates, step), BacktrackingLinesearchState(step, new, back, info)

    def _look(self, line: Line, step: jax.Array) -> tuple[jax.Array, Any]:
        """The objective there, and what turns its derivative into the gradient."""
        if self.store_grad:
            return jax.vjp(line.objective, line.at(step))
        return jnp.asarray(line.objective(line.at(step))), None
