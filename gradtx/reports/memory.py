"""Memory, before buying the machine: what parameters, gradients and optimizer take, on each device.

With ZeRO, devices that would all hold the same divide it: at stage 1 what the optimizer keeps (a master copy
of the parameters included), at stage 2 the gradients too, at stage 3 the parameters too.

Rajbhandari, Rasley, Ruwase & He, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
2020, section 5. https://arxiv.org/abs/1910.02054
"""

from __future__ import annotations

import dataclasses
import reprlib
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.contract.foreign import instead
from gradtx.contract.transformation import GradientTransformation
from gradtx.reports.composition import Array, nbytes
from gradtx.reports.tables import aligned, human_bytes
from gradtx.states.names import places
from gradtx.tree import PyTree, leaf_names, quoted
from gradtx.values.value import behind

__all__ = ["MemoryReport", "MemoryRow", "memory_report"]


@dataclasses.dataclass(frozen=True)
class MemoryRow:
    """One part of the memory: what it is, and how many bytes it takes in all and on each device."""

    part: str
    whole: int
    per_device: int


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """The parts of the memory; `print` shows a table."""

    parameters: int  # how many
    devices: int
    zero: int
    rows: tuple[MemoryRow, ...]

    @property
    def whole(self) -> int:
        """Bytes of one copy of everything."""
        return sum(row.whole for row in self.rows)

    @property
    def per_device(self) -> int:
        """Bytes on each device."""
        return sum(row.per_device for row in self.rows)

    @property
    def state(self) -> int:
        """Bytes of the optimizer's state, without a master copy."""
        return sum(row.whole for row in self.rows if row.part not in _NO_STATE)

    @property
    def bytes_per_parameter(self) -> float:
        """Of one copy of everything."""
        return self.whole / self.parameters

    def __str__(self) -> str:
        return "\n".join([self._title(), *aligned(self._cells())])

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        head, *rows = (f"| {' | '.join(cells)} |" for cells in self._cells())
        return "\n".join([f"{self._title()}\n", head, "|---|--:|--:|--:|", *rows])

    def _title(self) -> str:
        on = f"{self.devices} devices, ZeRO stage {self.zero}" if self.devices > 1 else "one device"
        return f"{self.parameters:,} parameters on {on}"

    def _cells(self) -> list[tuple[str, str, str, str]]:
        total = MemoryRow("total", self.whole, self.per_device)
        return [
            ("part", "bytes per parameter", "whole", "on each device"),
            *(
                (
                    row.part,
                    _share(row.whole / self.parameters),
                    human_bytes(row.whole),
                    human_bytes(row.per_device),
                )
                for row in (*self.rows, total)
            ),
        ]


_NO_STATE = ("parameters", "gradients", "master copy")


def memory_report(
    tx: GradientTransformation,
    params: PyTree | float,
    *,
    param_dtype: Any = None,
    grad_dtype: Any = None,
    master_dtype: Any = None,
    devices: int = 1,
    zero: int = 0,
) -> MemoryReport:
    """What training with `tx` keeps in memory. Activations and temporary arrays are not in it.

    Args:
        tx: the optimizer. Its state is asked of its `init`, without making an array.
        params: the parameters, or their shapes and dtypes; or how many there are, which stands for one
            vector: where the state depends on the shapes of leaves, or on their names, give the tree.
        param_dtype: of the parameters, as the model uses them; None is as they are, float32 for a number.
        grad_dtype: of the gradients; None is the parameters'.
        master_dtype: of a copy of the parameters that the optimizer updates in their place; None: no copy.
        devices: how many hold the same parameters.
        zero: ZeRO's stage, 0 to 3.

    Raises:
        ValueError: a number is out of its range.
        TypeError: a dtype is invalid, `tx` is not a transformation, or a leaf is not an array.
    """
    tx = behind(tx)
    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"memory_report: expected a transformation, {instead(tx)}")
    if devices < 1 or zero not in (0, 1, 2, 3):
        raise ValueError(
            f"memory_report(devices={devices!r}, zero={zero!r}): expected at least one device, and a stage "
            "from 0 to 3."
        )
    given = _as_tree(params)
    model = _as_dtype(given, param_dtype)
    grads = _as_dtype(model, grad_dtype)
    master = _as_dtype(given, master_dtype)
    rows = [
        _row("parameters", _arrays(model), devices if zero >= 3 else 1),
        _row("gradients", _arrays(grads), devices if zero >= 2 else 1),
    ]
    shared = devices if zero >= 1 else 1
    if master_dtype is not None:
        rows.append(_row("master copy", _arrays(master), shared))
    kept = _kept(tx, model if master_dtype is None else master)
    rows += [_row(part, arrays, shared) for part, arrays in kept.items()]
    return MemoryReport(sum(a.size for a in _arrays(given)), devices, zero, tuple(rows))


def _as_tree(params: PyTree | float) -> PyTree:
    if isinstance(params, bool) or not isinstance(params, (int, float)):
        leaves = list(zip(leaf_names(params), jax.tree.leaves(params), strict=True))
        if not leaves:
            raise ValueError(f"memory_report(params={params!r}): there is no array in it.")
        for name, leaf in leaves:
            if not hasattr(leaf, "dtype"):
                raise TypeError(
                    f"memory_report: the parameters at {quoted(name)} are {reprlib.repr(leaf)}: expected "
                    "arrays, their shapes and dtypes as jax.eval_shape gives them, or how many there are."
                )
        return params
    if params < 1 or params != int(params):
        raise ValueError(f"memory_report(params={params!r}): expected parameters, or a whole number of them.")
    return jax.ShapeDtypeStruct((int(params),), jnp.float32)


def _as_dtype(params: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype if dtype is None else jnp.dtype(dtype)), params
    )


def _arrays(tree: PyTree) -> list[Array]:
    return [nbytes(leaf) for leaf in jax.tree.leaves(tree)]


def _row(part: str, arrays: list[Array], devices: int) -> MemoryRow:
    """Arrays are divided among the devices, flat as in ZeRO; single numbers are on all of them."""
    divided = sum(array.nbytes for array in arrays if array.size > 1)
    whole = sum(array.nbytes for array in arrays)
    return MemoryRow(part, whole, -(-divided // devices) + whole - divided)


def _kept(tx: GradientTransformation, params: PyTree) -> dict[str, list[Array]]:
    """What is kept, by the name of its field: numerator.ema.mean."""
    found: dict[str, list[Array]] = {}
    state = jax.eval_shape(tx.init, params)
    for place, leaf in zip(jax.tree.leaves(places(tx, params)), jax.tree.leaves(state), strict=True):
        found.setdefault(f"{place.owner}.{place.field.partition('.')[0]}", []).append(nbytes(leaf))
    return found


def _share(bytes_per_parameter: float) -> str:
    return f"{bytes_per_parameter:.3g}" if bytes_per_parameter >= 0.0005 else ""  # a counter's
