"""What a reference module lists: an optimizer, the paper's loop, and the peer to compare with.

A module `tests/reference/<name>.py` holds the paper's algorithm as a float64 NumPy loop of 10 to 20
lines, with its algorithm number in the docstring, and `CASES`. `tests/optimizers/test_exact.py` finds them.

A loop has the signature

    loop(theta: list[np.ndarray], gradient, steps: int, **hyperparameters) -> list[list[np.ndarray]]

where `gradient(theta, t)` is the list of gradients at parameters `theta` in step t = 1, 2, ..., which
it rounds in place to what float64 stores; the result is the list of parameters after each step. The loop
of an optimizer that reads the loss has another argument by name, `value`: `value(t)` is the loss of step t.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of one optimizer."""

    name: str  # how pytest shows it
    ours: Any  # the gradtx transformation
    loop: Callable[..., Any]  # the paper's loop with its hyperparameters bound
    optax: Any = None  # Optax's transformation, where it agrees with the paper
    optax_rtol: float = 2e-5  # 2e-4 at b2 = 0.9999, for Optax's own float32 error; float64 is held to 2e-5
    optax_leaves: tuple[str, ...] = ("matrix", "vector", "scalar", "empty")  # those that Optax's takes
    not_optax: str = ""  # where `optax` is None: why
    relative: str = ""  # where the float32 measure is not the relative error: which holds, and why
    leaf_rtol: float = 0.0  # with `relative`: the bound of an error's norm beside that of its leaf
    sensitive: str = (
        ""  # why the loop itself, in float64, is not within 1e-12 of what it is in extended precision
    )
    optax_dtype: str = "float32"  # float64 where the roundings of parameters grow from step to step
    curvature: float = (
        0.0  # gradients are the given ones plus this times θ: those of a loss that has a minimum
    )


def bind(loop: Callable[..., Any], **hyperparameters: Any) -> Callable[..., Any]:
    """`loop` with its hyperparameters given by name.

    Numbers are carried in extended precision where the machine has it, defaults too: 1 - b2**t in
    float64 has lost four digits at b2 = 0.9999, which would be the reference's error and not ours.
    """
    defaults = {
        k: p.default for k, p in inspect.signature(loop).parameters.items() if isinstance(p.default, float)
    }
    numbers = defaults | hyperparameters
    exact = {k: np.longdouble(v) if isinstance(v, float) else v for k, v in numbers.items()}
    return functools.partial(loop, **exact)


def in_float64(loop: Any) -> Callable[..., Any]:
    """A loop that `bind` made, with its numbers in float64, so that it computes in that."""
    numbers = {k: float(v) if isinstance(v, np.floating) else v for k, v in loop.keywords.items()}
    return functools.partial(loop.func, **numbers)
