"""What a whole training step keeps beside parameters and state: few gradients, or all of them.

The table of `python -m benchmarks.whole_step`: equal layers, whose activations are small. There are 32 of
them there, and 16 here, which compile in less than half the time: of how many layers the gradients are kept
does not depend on that.
"""

from __future__ import annotations

import functools

import jax
import pytest

from benchmarks.whole_step import BATCH, ROWS, WIDTH, Row, rows, temporary
from tests.aot.targets import NEEDS, compile_for, missing

BY_NAME = {row.name: row for row in ROWS}
FREE = [row for row in ROWS if not row.waits]
LAYERS = 16
LAYER = 4 / LAYERS  # bytes per parameter that the gradient of one layer is
ACTIVATIONS = 4 * BATCH / WIDTH  # bytes per parameter: one float32 for each example and unit


@functools.cache  # some rows are asked for by several tests
def needs(row: Row, layers: int = LAYERS, **options) -> float:
    with jax.numpy_dtype_promotion("standard"):  # for Optax
        return temporary(row.make(), layers=layers, **options)


@pytest.mark.parametrize("row", FREE, ids=lambda r: r.name)
def test_what_waits_for_no_other_leaf_keeps_a_few_layers_gradients(row: Row) -> None:
    kept = (needs(row) - ACTIVATIONS) / LAYER
    # Two for backpropagation itself, two for what a norm makes wait, two for what is divided by it.
    assert kept <= 6.1, f"{kept:.2f} layers' gradients"


def test_twice_the_layers_halve_it() -> None:
    row = BY_NAME["clip_by_lagged_norm, adamw"]
    half = needs(row, layers=LAYERS // 2) - ACTIVATIONS
    assert needs(row) - ACTIVATIONS == pytest.approx(half / 2, rel=0.1)


@pytest.mark.parametrize("name", ["clip_by_global_norm, adamw", "zclip, adamw"])
def test_a_global_norm_keeps_all_gradients_once(name: str) -> None:
    assert BY_NAME[name].waits
    assert needs(BY_NAME[name]) == pytest.approx(4.0, abs=0.1)  # a float32 for each parameter


def test_optaxs_clip_keeps_them_twice() -> None:
    """The reason for all this: it also stores what it has clipped."""
    row = BY_NAME["optax: clip_by_global_norm, adamw"]
    assert row.waits
    assert needs(row) > 6


def test_stacked_layers_come_together_whatever_the_optimizer_does() -> None:
    assert needs(BY_NAME["adamw"], stacked=True) >= 4


def compiled_for(target: str):
    return lambda step, *shapes: compile_for(target, step, *shapes)


@pytest.mark.parametrize("target", NEEDS)
def test_so_it_is_on_accelerators(target: str) -> None:
    """XLA for GPUs sums up all leaves in one kernel if anything adds up the sums of this step."""
    if reason := missing(target):
        pytest.skip(reason)
    # A TPU keeps small gradients in a memory of its own: they would not be seen at a width of 256.
    options = {"layers": 12, "width": 2048, "compiled": compiled_for(target)}
    assert needs(BY_NAME["clip_by_lagged_norm, adamw"], **options) <= 1.3
    assert needs(BY_NAME["clip_by_global_norm, adamw"], **options) >= 2  # some are in that memory


def test_the_benchmarks_rows_are_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.whole_step.ROWS", ROWS[:1])
    monkeypatch.setattr("benchmarks.whole_step.temporary", functools.partial(temporary, layers=2))
    (row,) = rows(width=16)
    assert row.keys() == {"what", "target", "waits", "temporary", "temporary, stacked"}
    assert (row["what"], row["target"], row["waits"]) == ("adamw", "cpu", False)
