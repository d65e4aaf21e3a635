"""The line search of Nocedal & Wright: a step that lowers the objective enough, and where it is flat enough.

    f(θ + η u) <= f(θ) + c₁ η ⟨∇f(θ), u⟩ + ε                         enough descent
    |⟨∇f(θ + η u), u⟩| <= c₂ |⟨∇f(θ), u⟩| + ε                        little slope left

Steps grow until an interval is found that holds such a step; then the interval is zoomed into, by cubic or
quadratic interpolation where that falls well inside, else by bisection.

Nocedal & Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 3.5 and 3.6. Near a minimum, where
differences of f have drowned in rounding, slopes decide instead: Hager & Zhang, "Algorithm 851: CG_DESCENT,
a conjugate gradient method with guaranteed descent", 2006, equations 23, 26 and 27.
https://doi.org/10.1145/1132973.1132979
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Hyperparameter, NonNegative, Positive, Scalar
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import while_loop
from gradtx.searches.line import Unbounded, along, at_least_zero, choose, guess, print_if, scaled, slope
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne, Choice
from gradtx.values.value import static

__all__ = ["scale_by_zoom_linesearch"]


class ZoomLinesearchInfo(NamedTuple):
    """How the last search went."""

    num_linesearch_steps: jax.Array  # int32: how often the objective and its gradient were computed
    decrease_error: jax.Array  # by how much the descent is too small at the step taken; 0 if it is enough
    curvature_error: jax.Array  # by how much the slope is too large there


class ZoomLinesearchState(NamedTuple):
    """Results of the last search."""

    learning_rate: jax.Array  # η; 0 where the objective was finite at no step
    value: jax.Array  # f at the parameters that this update leads to; infinite before the first
    grad: PyTree  # and its gradient there, in at least float32
    info: ZoomLinesearchInfo


class _End(NamedTuple):
    """A step along the line, φ and φ' there."""

    step: jax.Array
    value: jax.Array
    slope: jax.Array


class _Taken(NamedTuple):
    """The step that will be taken if nothing better is found."""

    step: jax.Array
    value: jax.Array
    grad: PyTree
    decrease_error: jax.Array
    curvature_error: jax.Array


class _Search(NamedTuple):
    tries: jax.Array
    last: _End  # tried last
    low: _End  # one end of the interval, where φ is lower
    high: _End  # the other
    third: _End  # the end that was given up last, for the cubic
    taken: _Taken
    safe: jax.Array  # whether that lowers the objective enough
    found: jax.Array  # whether there is an interval
    done: jax.Array
    failed: jax.Array


class scale_by_zoom_linesearch(GradientTransformation, passes_on=("value_fn",)):
    """Multiply the updates by a step that fulfils Wolfe's conditions. Stands last.

    It needs the objective, and its value and gradient at the parameters:

        value, grad = jax.value_and_grad(loss)(params, x=x)
        tx.update(grad, state, params, value=value, grad=grad, value_fn=loss, x=x)

    Arguments that `value_fn` takes by name besides the parameters are passed on to it, and it is traced
    once. Updates must point downhill. If no step fulfils both conditions, the best that lowers the
    objective enough is taken, else the last one; none where the objective is not finite, and the next
    search begins at 1 again (Optax's stays at 0). For complex parameters `grad` is what jax.grad
    gives, and the updates are made of its conjugate.

    Args:
        max_linesearch_steps: how often the objective may be computed, at least 1.
        max_learning_rate: the largest step, above 0; None sets no bound.
        tol: ε, at least 0.
        increase_factor: how steps grow until an interval is found, above 1.
        slope_rtol: c₁, at least 0.
        curv_rtol: c₂, above 0; infinity or None asks for the descent alone.
        approx_dec_rtol: where f has changed by less than this part of itself, the approximate condition
            of Hager & Zhang will do, φ'(η) <= (2 c₁ - 1) φ'(0); None asks for the exact one always.
        stepsize_precision: an interval shorter than this is not searched further, if a step was found
            that lowers the objective enough.
        initial_guess_strategy: 'keep' begins with the last step found, 'one' with 1, which is right
            for Newton's method and its kin.
        verbose: print when a search fails.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `value`, `grad`, `value_fn` or an argument of `value_fn` is missing.
    """

    max_linesearch_steps: AtLeastOne = static()
    max_learning_rate: Positive | None = None
    tol: NonNegative = 0.0
    increase_factor: Annotated[Scalar, Hyperparameter(1, open_low=True)] = 2.0
    slope_rtol: NonNegative = 1e-4
    curv_rtol: Unbounded = 0.9
    approx_dec_rtol: NonNegative | None = 1e-6
    stepsize_precision: NonNegative = 1e-5
    initial_guess_strategy: Annotated[Literal["one", "keep"], Choice("one", "keep")] = static(default="keep")
    verbose: bool = static(default=False)

    def init(self, params: PyTree) -> ZoomLinesearchState:
        dtype = tree.real_dtype(params)
        never = [jnp.full((), jnp.inf, dtype) for _ in range(3)]
        info = ZoomLinesearchInfo(numerics.counter(), *never[:2])
        return ZoomLinesearchState(jnp.ones((), dtype), never[2], tree.zeros_like(params), info)

    def update(
        self,
        updates: PyTree,
        state: ZoomLinesearchState,
        params: PyTree | None = None,
        *,
        value: Any,
        grad: PyTree,
        value_fn: Callable[..., Any],
        **extra: Any,
    ) -> tuple[PyTree, ZoomLinesearchState]:
        dtype = state.value.dtype
        line = along(self, updates, params, dtype, value, grad, value_fn, extra)
        zero, never = jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype)
        start = _End(zero, line.value, line.slope)
        stay = _Taken(zero, line.value, line.grad, never, never)
        kept = guess(state.learning_rate, 1.0, self.max_learning_rate)
        begin = kept if self.initial_guess_strategy == "keep" else jnp.ones((), dtype)

        def look(step: jax.Array) -> tuple[_End, _Taken]:
            at, back = jax.value_and_grad(line.objective)(line.at(step))
            back = tree.widen(back)
            here = _End(step, at.astype(dtype), slope(back, updates, dtype))
            errors = self._decrease_error(here, start), self._curvature_error(here, start)
            return here, _Taken(step, here.value, back, *errors)

        def step(s: _Search) -> _Search:
            larger, at_most = self._larger(jnp.where(s.tries == 0, begin, self._grown(s.last.step)))
            here, there = look(jnp.where(s.found, _between(s.low, s.high, s.third), larger))
            return self._judged(s, here, there, start, stay, at_most)

        off = jnp.zeros((), bool)
        search = _Search(numerics.counter(), start, start, start, start, stay, off, off, off, off)
        search = while_loop(lambda s: ~(s.done | s.failed), step, search)
        taken = search.taken
        if self.verbose:
            print_if(
                search.failed,
                "scale_by_zoom_linesearch: no step of {tries} fulfils both conditions from {value} on, "
                "where the slope is {slope}; taken was {step}, which lowers the objective enough: {safe}.",
                tries=search.tries,
                value=line.value,
                slope=start.slope,
                step=taken.step,
                safe=search.safe,
            )
        info = ZoomLinesearchInfo(search.tries, taken.decrease_error, taken.curvature_error)
        return scaled(updates, taken.step), ZoomLinesearchState(taken.step, taken.value, taken.grad, info)

    def _grown(self, step: jax.Array) -> jax.Array:
        return numerics.times(step, self.increase_factor)

    def _larger(self, step: jax.Array) -> tuple[jax.Array, Any]:
        """The next step of the first phase, and whether it is the largest."""
        if self.max_learning_rate is None:
            return step, False
        most = jnp.asarray(self.max_learning_rate, step.dtype)
        return jnp.minimum(step, most), step >= most

    def _decrease_error(self, here: _End, start: _End) -> jax.Array:
        c: Any = numerics.like(self.slope_rtol, here.value)
        error = here.value - start.value - c * here.step * start.slope
        if self.approx_dec_rtol is not None:
            risen = here.value - start.value
            near = risen - numerics.like(self.approx_dec_rtol, risen) * jnp.abs(start.value)
            by_slopes = here.slope - (2 * c - 1) * start.slope
            error = jnp.minimum(error, jnp.maximum(by_slopes, near))
        return at_least_zero(error)

    def _curvature_error(self, here: _End, start: _End) -> jax.Array:
        if self.curv_rtol is None:
            return jnp.where(jnp.isnan(here.slope), jnp.inf, jnp.zeros_like(here.slope))
        c = numerics.like(self.curv_rtol, here.slope)
        return at_least_zero(jnp.abs(here.slope) - c * jnp.abs(start.slope))

    def _judged(
        self, s: _Search, here: _End, there: _Taken, start: _End, stay: _Taken, at_most: Any
    ) -> _Search:
        """The search after one more step was tried."""
        enough = jnp.asarray(self.tol, here.value.dtype)
        decrease, curvature = there.decrease_error, there.curvature_error
        good = jnp.maximum(decrease, curvature) <= enough

        # Algorithm 3.5. It lies between the last step and this one if φ has risen or turned.
        risen = (decrease > 0) | ((here.value >= s.last.value) & (s.tries > 0))
        turned = (here.slope >= 0) & ~risen
        wide = choose(turned, (here, s.last), (s.last, here))
        found = risen | turned | good

        # Algorithm 3.6. One end moves here; the other stays, unless φ falls away from it.
        worse = (decrease > 0) | (here.value >= s.low.value)
        beyond = (here.slope * (s.high.step - s.low.step) >= 0) & ~worse
        high = choose(worse, here, choose(beyond, s.low, s.high))
        low = choose(worse, s.low, here)
        third = choose(worse | beyond, s.high, s.low)
        short = jnp.abs(s.high.step - s.low.step) <= numerics.like(self.stepsize_precision, enough)

        # What fulfils the first condition is taken before what does not; the lowest of them, or the
        # largest while steps still grow.
        lowest = here.value < jnp.where(s.safe, s.taken.value, start.value)
        better = (decrease <= enough) & (~s.found | lowest)
        outside = choose(jnp.isinf(decrease), stay, there)
        taken = choose(good | better, there, choose(s.safe, s.taken, outside))
        safe = s.safe | better

        tries = s.tries + 1
        done = good | (~s.found & at_most & ~found)
        over = (tries >= self.max_linesearch_steps) | (s.found & short & safe)
        low, high, third = choose(s.found, (low, high, third), (*wide, wide[0]))
        return _Search(
            tries,
            here,
            low,
            high,
            third,
            taken,
            safe,
            s.found | found,
            done,
            over & ~done,
        )


def _between(low: _End, high: _End, third: _End) -> jax.Array:
    """A step inside an interval: the cubic's least, else the parabola's, else the middle.

    The cubic goes through both ends and a third point, with φ' at the lower end. A step that is
    nearer to an end than a fifth of the interval (a tenth for the parabola) would hardly shorten it.
    """
    width = jnp.abs(high.step - low.step)
    left, right = jnp.minimum(low.step, high.step), jnp.maximum(low.step, high.step)
    b, c = high.step - low.step, third.step - low.step
    above_b = high.value - low.value - low.slope * b
    above_c = third.value - low.value - low.slope * c
    scale = jnp.square(b * c) * (b - c)
    cubed = (jnp.square(c) * above_b - jnp.square(b) * above_c) / scale
    squared = (b * jnp.square(b) * above_c - c * jnp.square(c) * above_b) / scale
    root = jnp.sqrt(jnp.square(squared) - 3 * cubed * low.slope)
    cubic = low.step + (root - squared) / (3 * cubed)
    parabola = low.step - low.slope * jnp.square(b) / (2 * above_b)

    def inside(x: jax.Array, share: float) -> jax.Array:  # no number is not
        return (x > left + share * width) & (x < right - share * width)

    middle = low.step + b / 2
    return jnp.where(inside(cubic, 0.2), cubic, jnp.where(inside(parabola, 0.1), parabola, middle))
