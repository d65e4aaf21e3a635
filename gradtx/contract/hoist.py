"""A function of a leaf and of shared numbers, split: what needs the numbers alone is computed once.

Adam divides every leaf by 1 - βᵗ. Traced leaf by leaf, that power is in the program once per leaf, and
XLA takes a third of its time to find out that all are the same one.

The split is made on the function's jaxpr: equations whose inputs are shared, and whose results are
single numbers, go first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

__all__ = ["Hoisted", "hoist", "jaxpr_as_fun"]


Arrays = list[jax.Array]


class Hoisted(NamedTuple):
    """Two functions instead of one."""

    once: Callable[[Arrays], tuple[Arrays, Arrays]]  # shared -> numbers for `each`, shared results
    each: Callable[[Arrays, Arrays], Arrays]  # a leaf's arguments, numbers -> the leaf's results


def hoist(f: Callable[..., tuple[Arrays, Arrays]], own: Arrays, shared: Arrays) -> Hoisted | None:
    """`f` split in two, or None where a shared result depends on the leaf.

    Args:
        f: (own, shared) -> (own results, shared results), all of them lists of arrays.
        own: a leaf's arguments, or arguments of their types.
        shared: numbers.
    """
    closed, shapes = jax.make_jaxpr(f, return_shape=True)(own, shared)
    jaxpr, constants, split = closed.jaxpr, list(closed.jaxpr.constvars), len(shapes[0])
    mine, numbers = jaxpr.invars[: len(own)], jaxpr.invars[len(own) :]
    known = dict.fromkeys([*constants, *numbers])  # in order
    first, rest = [], []
    for equation in jaxpr.eqns:
        inputs = _variables(equation.invars)
        single = all(getattr(v.aval, "shape", None) == () for v in equation.outvars)
        if single and not equation.effects and known.keys() >= inputs:
            first.append(equation)
            known.update(dict.fromkeys(equation.outvars))
        else:
            rest.append(equation)
    results, common = jaxpr.outvars[:split], jaxpr.outvars[split:]
    if not known.keys() >= _variables(common):
        return None
    used = set().union(*(_variables(e.invars) for e in rest), _variables(results)) - set(constants)
    passed = [v for v in known if v in used]
    before = jaxpr.replace(invars=numbers, outvars=[*passed, *common], eqns=first, effects=frozenset())
    after = jaxpr.replace(invars=[*mine, *passed], outvars=results, eqns=rest)
    ahead, behind = (jaxpr_as_fun(ClosedJaxpr(x, closed.consts)) for x in (before, after))

    def once(shared: Arrays) -> tuple[Arrays, Arrays]:
        values = ahead(*shared)
        return values[: len(passed)], values[len(passed) :]

    @jax.jit
    def leaf(own: Arrays, passed: Arrays) -> Arrays:
        return behind(*own, *passed)

    return Hoisted(once, leaf)


def _variables(of: Sequence[object]) -> set[object]:
    return {v for v in of if not isinstance(v, Literal)}
