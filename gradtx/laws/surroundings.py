"""Surroundings of a trace, and a number that tells them apart.

What a function is traced to may depend on more than its arguments: on named axes and their sizes, on the
mesh, on jax's settings. A program that is kept from one place and used in another is silently wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.combine import chain
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import Value, static

__all__ = ["AXIS", "SURROUNDINGS", "behind", "seen"]

AXIS = "examples"


@contextlib.contextmanager
def _alone(size: int) -> Iterator[int]:
    yield size


@contextlib.contextmanager
def _on_a_mesh(name: str, kind: jax.sharding.AxisType) -> Iterator[int]:
    with jax.set_mesh(jax.make_mesh((1,), (name,), (kind,), devices=jax.devices()[:1])):
        yield 2


@contextlib.contextmanager
def _with_precise_products() -> Iterator[int]:
    with jax.default_matmul_precision("highest"):
        yield 2


SURROUNDINGS: tuple[tuple[str, Callable[[], AbstractContextManager[int]]], ...] = (
    ("2 examples", lambda: _alone(2)),
    ("4 examples", lambda: _alone(4)),
    ("a mesh", lambda: _on_a_mesh("a", jax.sharding.AxisType.Auto)),
    ("an explicit mesh", lambda: _on_a_mesh("b", jax.sharding.AxisType.Explicit)),
    ("precise products", _with_precise_products),
)
"""(name, a context that gives the size of the named axis to trace under)."""


def seen(size: int | None = None) -> float:
    """A number that differs between the surroundings; the size of the axis is asked for unless given."""
    config: Any = jax.config
    mesh = sum(map(ord, "".join(jax.sharding.get_abstract_mesh().axis_names)))
    precise = config.jax_default_matmul_precision == "highest"
    return float((jax.lax.axis_size(AXIS) if size is None else size) + mesh + 1000 * precise)


class times_what_is_seen(GradientTransformation, reach=LEAF):
    """u · probe(), asked for whenever it is traced.

    Source: none (a probe for a law).

    Args:
        probe: a function that returns a number.
    """

    probe: Callable[[], float] = static()

    def update(self, updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, Any]:
        return jax.tree.map(lambda u: u * jnp.asarray(self.probe(), u.dtype), updates), state


def behind(tx: GradientTransformation, probe: Callable[[], float]) -> GradientTransformation:
    """Put a factor that the probe gives in front of each part of `tx`; in front of `tx` where it has none."""
    factor = times_what_is_seen(probe)
    if tx.made_of() and not tx.is_composite:
        with contextlib.suppress(TypeError, ValueError):  # of one that wants certain parts
            return jax.tree.map(
                lambda x: chain(factor, x) if isinstance(x, GradientTransformation) else x,
                tx,
                is_leaf=lambda x: x is not tx and isinstance(x, Value),
            )
    return chain(factor, tx)
