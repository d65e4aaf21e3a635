"""Whole programs of what tests ask for: whatever runs as an operation by itself, XLA compiles by itself.

Equal transformations at equal shapes share a program, also from one test to the next.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import gradtx

__all__ = ["end", "follow", "init", "stack", "update"]


@functools.partial(jax.jit, static_argnums=0)
def init(tx, params):
    return tx.init(params)


@functools.partial(jax.jit, static_argnums=0)
def update(tx, updates, state, params=None, **extra):
    return tx.update(updates, state, params, **extra)


@functools.partial(jax.jit, static_argnums=0, static_argnames="only")
def follow(tx, params, grads, only=None, **extra):
    """Parameters, updates and states after each step, or only one of the three, which is a smaller program.

    Axis 0 of gradients and extra arguments is time.
    """

    def step(carry, now):
        params, state = carry
        grads, extra = now
        updates, state = tx.update(grads, state, params, **extra)
        params = gradtx.apply_updates(params, updates)
        made = {"params": params, "updates": updates, "states": state}
        return (params, state), made[only] if only else tuple(made.values())

    return jax.lax.scan(step, (params, tx.init(params)), (grads, extra))[1]


@functools.partial(jax.jit, static_argnums=0)
def end(tx, params, grads, **extra):
    """Parameters and state after the last of those steps: a smaller program."""

    def step(carry, now):
        params, state = carry
        grads, extra = now
        updates, state = tx.update(grads, state, params, **extra)
        return (gradtx.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), (grads, extra))[0]


def stack(trees):
    """One tree of NumPy's arrays, along a new axis 0."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
