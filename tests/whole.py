"""Whole programs of what tests ask for: whatever runs as an operation by itself, XLA compiles by itself.

Equal transformations at equal shapes share a program, also from one test to the next.
"""

from __future__ import annotations

import functools

import jax
import numpy as np

import gradtx

__all__ = ["end", "ends", "follow", "init", "stack", "together", "update"]


@functools.partial(jax.jit, static_argnums=0)
def init(tx, params):
    return tx.init(params)


@functools.partial(jax.jit, static_argnums=0)
def update(tx, updates, state, params=None, **extra):
    return tx.update(updates, state, params, **extra)


@functools.partial(jax.jit, static_argnums=0)
def _step(tx, params, state, grads, extra):
    updates, state = tx.update(grads, state, params, **extra)
    return gradtx.apply_updates(params, updates), updates, state


def follow(tx, params, grads, **extra):
    """Parameters, updates and states after each step; axis 0 of gradients and extra arguments is time.

    The program is a step: a scan that returns all of what each step makes takes twice as long to compile.
    """
    state, path = tx.init(params), []
    for t in range(len(jax.tree.leaves(grads)[0])):
        now = jax.tree.map(lambda x, t=t: x[t], (grads, extra))
        params, updates, state = _step(tx, params, state, *now)
        path.append(jax.device_get((params, updates, state)))
    return stack(path)


def end(tx, params, grads, **extra):
    """Parameters and state after the last of those steps."""
    return jax.device_get(_end(tx, params, grads, extra))


@functools.partial(jax.jit, static_argnums=0)
def _end(tx, params, grads, extra):
    def step(carry, now):
        params, _, state = _step(tx, *carry, *now)
        return (params, state), None

    return jax.lax.scan(step, (params, tx.init(params)), (grads, extra))[0]


def ends(runs):
    """`end` of each of some transformations, with its parameters and gradients, in one program."""
    txs, *given = zip(*runs, strict=True)
    return jax.device_get(_ends(txs, *given))


@functools.partial(jax.jit, static_argnums=0)
def _ends(txs, params, grads):
    return [_end(*run, {}) for run in zip(txs, params, grads, strict=True)]


def stack(trees):
    """One tree of NumPy's arrays, along a new axis 0."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def together(run, names, name, at_once=None):
    """`run(names)[name]`: one program of many costs XLA half of what programs of one do.

    Of the name alone, where one of the names fails: so it is that one's test that does.

    Args:
        run: makes a dictionary by name, of a tuple of names; remembers what it made.
        names: the names that are asked together.
        name: the one that is asked for.
        at_once: how many neighbours share a program; None is all.
    """
    if at_once:
        first = names.index(name) // at_once * at_once
        names = names[first : first + at_once]
    if (run, names) not in _FAILED:
        try:
            return run(names)[name]
        except Exception:
            _FAILED.add((run, names))
    return run((name,))[name]


_FAILED: set = set()
