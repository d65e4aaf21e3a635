"""Medians, ratios and their spread, and the tables that are printed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

Row = dict[str, Any]


class Measure(NamedTuple):
    """How a figure is printed."""

    unit: str
    scale: float = 1.0
    compares: bool = True  # a few temporary bytes more or less are no ratio

    def text(self, figure: float) -> str:
        """Three digits of a time, and bytes to the hundredth."""
        figure *= self.scale
        exact = self.scale == 1 or not figure
        return f"{figure:.{2 if exact else max(0, 2 - math.floor(math.log10(figure)))}f}"


MS = Measure("ms", 1e3)
MEASURES = {
    "trace": MS,
    "lower": MS,
    "trace + lower": MS,
    "compile": MS,
    "step": MS,
    "call": MS,
    "bytes": Measure("B/param"),
    "temporary": Measure("B/param", compares=False),
}
OURS = "gradtx"


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float] | None:
    """gradtx to the peer, round by round: the median and both ends. None where the peer's are 0."""
    if not all(theirs):
        return None
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def compared(about: Row, rounds: dict[str, list[dict[str, float]]]) -> list[Row]:
    """What was measured in all rounds, a row for each peer and measure.

    Args:
        about: what the rows share.
        rounds: by peer, gradtx among them; for each round the measures.
    """
    by_peer = {peer: _by_measure(of) for peer, of in rounds.items()}
    table = []
    for peer, figures in by_peer.items():
        for measure, found in figures.items():
            compares = peer != OURS and MEASURES[measure].compares
            table.append(
                about
                | {"peer": peer, "measure": measure, "unit": _raw_unit(measure), "rounds": found}
                | {"median": statistics.median(found)}
                | {"ratio": ratio(by_peer[OURS][measure], found) if compares else None}
            )
    return table


def _by_measure(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    figures = {name: [each[name] for each in rounds if name in each] for name in rounds[0]}
    if "trace" in figures:
        sums = map(sum, zip(figures["trace"], figures["lower"], strict=True))
        figures["trace + lower"] = list(sums)
    return figures


def _raw_unit(measure: str) -> str:
    return "s" if MEASURES[measure] is MS else MEASURES[measure].unit


# ---------------------------------------------------------------- printed


def count(n: int) -> str:
    """About how many: 16 million, 8.5 thousand."""
    for size, word in ((1e6, "million"), (1e3, "thousand")):
        if n > 0.99 * size:
            return f"{n / size:{'.0f' if n > 99 * size else '.2g'}} {word}"
    return str(n)


def problem(leaves: int, parameters: int) -> str:
    """What is stepped through."""
    return f"{leaves} leaves, {count(parameters)} parameters"


def spread(of: dict[str, float] | None) -> str:
    """A ratio with both ends of its rounds."""
    return "" if of is None else f"{of['median']:.2f} ({of['min']:.2f} to {of['max']:.2f})"


def lines(rows: list[Row]) -> Iterator[str]:
    """The rows of one problem: for each measure the peers, and the ratio of gradtx to them."""
    yield f"\n{rows[0]['optimizer']}: {problem(rows[0]['leaves'], rows[0]['parameters'])}"
    for measure, shown in MEASURES.items():
        for row in [r for r in rows if r["measure"] == measure]:
            ends = f"({shown.text(min(row['rounds']))} to {shown.text(max(row['rounds']))})"
            name = measure if row["peer"] == OURS else ""
            figure = f"{shown.text(row['median']):>8} {shown.unit:7} {ends:18}"
            yield f"  {name:14} {row['peer']:16} {figure} {spread(row['ratio'])}".rstrip()


def ratios(rows: list[Row]) -> Iterator[str]:
    """Short tables: a line for each optimizer and peer, the ratios over the problems in turn."""
    for measure in MEASURES:
        compared_ = [r for r in rows if r["measure"] == measure and r["ratio"]]
        if not compared_:
            continue
        at = dict.fromkeys((r["leaves"], r["parameters"]) for r in compared_)
        yield f"\n{measure}: gradtx to the peer, median and range of the rounds; below 1 gradtx needs less"
        yield f"| | | {' | '.join(problem(*x) for x in at)} |"
        yield "|---" * (len(at) + 2) + "|"
        for (optimizer, peer), of in grouped(compared_, "optimizer", "peer").items():
            found = {(r["leaves"], r["parameters"]): spread(r["ratio"]) for r in of}
            yield f"| {optimizer} | {peer} | {' | '.join(found.get(x, '') for x in at)} |"


def grouped(rows: list[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """The rows by what stands under these keys, in the order in which that appears."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def accuracy_lines(rows: list[Row]) -> Iterator[str]:
    """Errors by peer and decay, over the steps."""
    steps = sorted({r["step"] for r in rows})
    yield "\nAdam's update in float32: median relative error against float64"
    yield f"| | b2 | {' | '.join(f'step {t}' for t in steps)} |"
    yield "|---" * (len(steps) + 2) + "|"
    for (b2, peer), of in grouped(rows, "b2", "peer").items():
        errors = [f"{row['error']:.1e}" for row in of]
        yield f"| {peer} | {b2} | {' | '.join(errors)} |"


def whole_step_lines(rows: list[Row]) -> Iterator[str]:
    """Temporary bytes of whole steps."""
    if not rows:
        yield "\nA whole training step's bytes: not in the short mode; python -m benchmarks.whole_step"
        return
    yield "\nA whole training step: temporary bytes per parameter"
    yield "| | a leaf per layer | layers stacked |"
    yield "|---|---|---|"
    for row in rows:
        yield f"| {row['what']} | {row['temporary']:.2f} | {row['temporary, stacked']:.2f} |"
