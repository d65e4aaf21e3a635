"""How an operation is dispatched: by lax where something is traced, else by the way that is quick eagerly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from gradtx.values.kinds import is_traced

__all__ = ["cond", "either_way", "while_loop"]


def either_way(operation: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Wrap operations of lax, which trace fast but dispatch slowly, so that eager calls go through jit.

    The operators of arrays go through jnp, which takes five times as long to trace and is most of the time
    that a small tree takes. Where nothing is traced, jit dispatches the same operation in a quarter of the
    time that lax does, and several at once in the time of one.
    """
    compiled = jax.jit(operation)

    @functools.wraps(operation)
    def either(*operands: Any) -> jax.Array:
        return operation(*operands) if any(map(is_traced, operands)) else compiled(*operands)

    return either


def cond(condition: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """`jax.lax.cond`; where the condition is known, the branch that it chooses.

    Eagerly lax.cond compiles both branches, and anew at each call where they are functions of that call.

    Args:
        condition: a boolean, or an array of one.
        then: what is called with the operands if it holds.
        otherwise: what is called with them if it does not.
        operands: what both take.
    """
    if is_traced(condition):
        return jax.lax.cond(condition, then, otherwise, *operands)
    return (then if condition else otherwise)(*operands)


def while_loop(goes_on: Callable[[Any], Any], step: Callable[[Any], Any], carried: Any) -> Any:
    """`jax.lax.while_loop`; where nothing is traced a loop of Python, for the reason that `cond` has.

    Args:
        goes_on: a function of what is carried that returns a boolean, or an array of one.
        step: a function of what is carried that returns what is carried further.
        carried: what the loop begins with.
    """
    while not any(map(is_traced, jax.tree.leaves(carried))):
        if is_traced(more := goes_on(carried)):
            break
        if not more:
            return carried
        carried = step(carried)
    return jax.lax.while_loop(goes_on, step, carried)
