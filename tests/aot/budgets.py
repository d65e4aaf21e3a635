"""Measuring a row, the file that remembers the figures, and what is said when they differ."""

from __future__ import annotations

import pathlib
import tomllib
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import make_step, make_train_step, traffic
from gradtx.contract.facts import facts
from tests.aot.rows import ROWS, count, quadratic
from tests.aot.targets import compile_for

FILE = pathlib.Path(__file__).with_name("budgets.toml")
FIRST = "0.10"  # the version of jax that all rows are recorded with
VERSION = ".".join(map(str, jax.__version_info__[:2]))
LAYERS = 1  # every distinct shape of GPT-2 small; the other eleven layers repeat them
SLACK = 0.02  # of a byte or a kernel: the file has two decimals

HEAD = """\
# What one step of each optimizer costs, compiled by XLA for a TPU v5e and an H100; not run there.
# Parameters have the shapes of GPT-2 small with one layer, float32 unless the row says otherwise;
# parameters and state are donated. Written by `python -m tests.aot`, with jax {jax}.
#
#   bytes      of main memory read and written, per parameter
#   temporary  bytes of main memory besides arguments and results, per parameter
#   copies     arrays copied from main memory to main memory
#   kernels    launched, per leaf; a loop counts once where XLA does not say how often it runs, as for TPU
#
# By hand: AdamW reads p, m, v, g and writes p, m, v, 28 bytes in one kernel; a momentum 20, none
# 12. A clip by the global norm reads g once more, 4 bytes, in a kernel of its own, which has two
# stages for a large leaf on a GPU. Norms of the direction cost LAMB another 12 (p, m, v) and LARS
# 8 (p, g). Where a TPU stays below that, it still has on its chip what it read for a norm. Its
# temporary bytes are no arrays: in a program that stores a norm, XLA sets aside 31.5 KiB for each
# tuple, of which a transfer to the chip has one or two: as much for a leaf of 768 numbers as for
# one of 38 million.
"""


class Figures(NamedTuple):
    """A line of the file."""

    bytes: float
    temporary: float
    copies: int
    kernels: float


def measure(name: str, target: str) -> Figures:
    """Compile a row for a target, and count.

    Raises:
        RuntimeError: the target's compiler refuses the row.
    """
    row = ROWS[name]
    params, state = row.shapes(LAYERS)
    tx = row.make()
    needed = facts(tx).extras.needed
    calls = "obj_fn" in needed
    step = make_train_step(quadratic, tx) if calls else make_step(tx)
    extra = {n: jax.ShapeDtypeStruct((), jnp.float32) for n in needed if not calls}  # a loss
    try:
        cost = traffic(compile_for(target, step, params, state, params, **extra))
    except jax.errors.JaxRuntimeError as error:
        raise RuntimeError(f"the compiler for {target} refuses {name!r}: {error}") from error
    size, leaves = count(params), len(jax.tree.leaves(params))
    return Figures(
        round(cost.moved / size, 2),
        round(cost.temporary / size, 2),
        cost.copies,
        round(cost.kernels / leaves, 2),
    )


def other(version: str) -> pathlib.Path:
    """The file of those rows that cost something else under another version of jax."""
    return FILE.with_name(f"budgets-{version}.toml")


def read(text: str | None = None, version: str = VERSION) -> dict[str, dict[str, Figures]]:
    """The file: target -> row -> figures; with what other rows cost under another version of jax."""
    found = _tables(FILE.read_text() if text is None else text)
    if text is None and version != FIRST and other(version).exists():
        for target, rows in _tables(other(version).read_text()).items():
            found[target] |= rows
    return found


def _tables(text: str) -> dict[str, dict[str, Figures]]:
    tables = tomllib.loads(text)
    return {t: {name: Figures(**line) for name, line in rows.items()} for t, rows in tables.items()}


def written(tables: dict[str, dict[str, Figures]]) -> str:
    """The file's text."""
    parts = [HEAD.format(jax=jax.__version__)]
    for target, rows in tables.items():
        if not rows:
            continue
        width = max(len(name) for name in rows) + 2
        parts.append(f"\n[{target}]\n")
        for name, f in rows.items():
            parts.append(
                f"{chr(34) + name + chr(34):<{width}} = {{ bytes = {f.bytes:5.2f}, "
                f"temporary = {f.temporary:.2f}, copies = {f.copies}, kernels = {f.kernels:.2f} }}\n"
            )
    return "".join(parts)


def complaints(measured: Figures, budget: Figures | None) -> list[str]:
    """What is worse than the budget, and what is better."""
    if budget is None:
        return [f"has no budget yet: {measured}"]
    said = []
    for field, now, then in zip(Figures._fields, measured, budget, strict=True):
        if now > then + SLACK:
            said.append(f"{field} got worse: {now}, the budget is {then}")
        if now < then - SLACK:
            said.append(f"{field} got better: {now}, tighten the budget of {then}")
    return said
