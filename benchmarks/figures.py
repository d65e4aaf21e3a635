"""The pictures of benchmarks.json; each names the machine.

    python -m benchmarks.figures out/benchmarks.json     draws them anew, beside that file

A point is the median of the rounds and its line their range. Colours are those of Okabe and Ito, which
do not need red and green to be told apart; each peer has its own marker too.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections import Counter
from typing import Any

from benchmarks.report import MEASURES, OURS, Row, count, grouped, problem

STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": "#0072B2", "marker": "o"},
    "gradtx, packed": {"color": "#56B4E9", "marker": "s"},
    "optax": {"color": "#D55E00", "marker": "^"},
    "optax, packed": {"color": "#E69F00", "marker": "P"},
    "torch, fused": {"color": "#009E73", "marker": "D"},
    "torch, foreach": {"color": "#CC79A7", "marker": "v"},
}
PANEL = (3.0, 2.7)  # inches


def draw(found: dict[str, Any], folder: pathlib.Path) -> str:
    """Write all pictures.

    Args:
        found: what benchmarks.json holds.
        folder: where they go.

    Returns:
        What was written, or why nothing was.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "no pictures: they need matplotlib (pip install 'gradtx[benchmarks]')"
    written = []
    for name, picture in PICTURES.items():
        figure = picture(found)
        figure.text(0, -0.01, machine(found), fontsize=7, color="0.3", va="top")
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=130, bbox_inches="tight")
    return "\n".join(map(str, written))


def machine(found: dict[str, Any]) -> str:
    """What it was measured on, in a line."""
    about = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    command = "python -m benchmarks" + " --short" * found["short"]
    return f"{about['processor']}, {about['cores']} cores; Python {about['python']}, {versions}; {command}"


def panels(rows: int, columns: int, **shared: Any) -> tuple[Any, Any]:
    """A figure, and its axes as a two-dimensional array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for each in axes.flat:
        each.grid(alpha=0.3)
    return figure, axes


def legend(figure: Any, axes: Any) -> None:
    """One legend for all axes, above them."""
    entries: dict[str, Any] = {}
    for each in axes.flat:
        handles, labels = each.get_legend_handles_labels()
        entries |= {label: handle for handle, label in zip(handles, labels, strict=True)}
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=len(entries), frameon=False)


def spread(row: Row) -> tuple[float, list[list[float]]]:
    """The median, and how far below and above it the rounds reach, as they are shown."""
    scale = MEASURES[row["measure"]].scale
    low, middle, high = (scale * x for x in (min(row["rounds"]), row["median"], max(row["rounds"])))
    return middle, [[middle - low], [high - middle]]


# ---------------------------------------------------------------- times


def over(axes: Any, rows: list[Row], key: str) -> None:
    """A line for each peer over `key`, both logarithmic."""
    from matplotlib.ticker import LogLocator

    for (peer,), of in grouped(rows, "peer").items():
        of = sorted(of, key=lambda row: row[key])
        axes.plot([row[key] for row in of], [spread(row)[0] for row in of], label=peer, **STYLES[peer])
        for row in of:
            middle, ends = spread(row)
            axes.errorbar(row[key], middle, ends, color=STYLES[peer]["color"], capsize=2)
    axes.set(xscale="log", yscale="log", xlabel=key)
    places = sorted({row[key] for row in rows})
    axes.set_xticks(places, [str(n) if key == "leaves" else count(n).replace(" ", "\n") for n in places])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")


def by_leaves(rows: list[Row]) -> list[Row]:
    """Those with the most parameters, over all numbers of leaves."""
    most = max(row["parameters"] for row in rows)
    return [row for row in rows if row["parameters"] > 0.9 * most]


def by_size(rows: list[Row]) -> list[Row]:
    """Those with the number of leaves of which there are most sizes."""
    leaves = Counter(row["leaves"] for row in rows).most_common(1)[0][0]
    return [row for row in rows if row["leaves"] == leaves]


def lines(found: dict[str, Any], pieces: list[tuple[str, str]]) -> Any:
    """A column for each optimizer, a row for each (measure, what it is drawn over)."""
    optimizers = grouped(found["times"], "optimizer")
    figure, axes = panels(len(pieces), len(optimizers), sharey="row")
    for across, ((optimizer,), rows) in zip(axes.T, optimizers.items(), strict=True):
        across[0].set_title(optimizer)
        for axis, (measure, key) in zip(across, pieces, strict=True):
            chosen = [row for row in rows if row["measure"] == measure]
            over(axis, by_leaves(chosen) if key == "leaves" else by_size(chosen), key)
    for axis, (measure, key) in zip(axes[:, 0], pieces, strict=True):
        chosen = [row for row in found["times"] if row["measure"] == measure]
        fixed = (
            f"{count(max(row['parameters'] for row in chosen))} parameters"
            if key == "leaves"
            else f"{by_size(chosen)[0]['leaves']} leaves"
        )
        axis.set_ylabel(f"{measure}, {MEASURES[measure].unit}\n{fixed}")
    legend(figure, axes)
    return figure


def steps(found: dict[str, Any]) -> Any:
    """The time of a step over leaves and sizes."""
    return lines(found, [("step", "leaves"), ("step", "parameters")])


def building(found: dict[str, Any]) -> Any:
    """The time until the first step."""
    return lines(found, [("trace + lower", "leaves"), ("compile", "leaves")])


def calls(found: dict[str, Any]) -> Any:
    """The time of a call over small leaves."""
    rows = [row for row in found["times"] if row["measure"] == "call"]
    optimizers, problems = grouped(rows, "optimizer"), list(grouped(rows, "leaves", "parameters"))
    figure, axes = panels(1, len(optimizers), sharex=True, sharey=True)
    for axis, ((optimizer,), of) in zip(axes[0], optimizers.items(), strict=True):
        names = list(grouped(of, "peer"))
        for row in of:
            middle, ends = spread(row)
            place = problems.index((row["leaves"], row["parameters"]))
            place += 0.12 * (names.index((row["peer"],)) - (len(names) - 1) / 2)
            axis.errorbar(
                middle, place, xerr=ends, label=row["peer"], linestyle="", capsize=2, **STYLES[row["peer"]]
            )
        axis.set(title=optimizer, xscale="log", xlabel="call, ms")
    axes[0, 0].set_yticks(range(len(problems)), [problem(*each).replace(", ", ",\n") for each in problems])
    axes[0, 0].set_ylim(len(problems) - 0.5, -0.5)
    legend(figure, axes)
    return figure


# ---------------------------------------------------------------- bytes and accuracy


def memory(found: dict[str, Any]) -> Any:
    """Bytes per parameter: of the optimizer alone, and of whole steps where they were compiled."""
    whole = found["whole step"]
    figure, axes = panels(1, 3 if whole else 2)
    figure.set_size_inches(14 if whole else 8, 4)
    for axis, measure in zip(axes[0], ("bytes", "temporary"), strict=False):
        rows = by_leaves([row for row in found["times"] if row["measure"] == measure])
        rows = by_size(rows)
        for (peer,), of in grouped(rows, "peer").items():
            _bars(axis, [row["optimizer"] for row in of], [row["median"] for row in of], peer, peer != OURS)
        axis.set_xlabel(f"{'moved' if measure == 'bytes' else measure}, bytes per parameter")
        axis.set_title("optimizer's step")
        axis.legend(fontsize="small")
    if whole:
        names = [row["what"] for row in whole]
        for i, (key, label) in enumerate(WHOLE_STEP.items()):
            _bars(axes[0, 2], names, [row[key] for row in whole], label, i)
        axes[0, 2].set(xlabel="temporary, bytes per parameter", title="whole training step")
        axes[0, 2].legend(fontsize="small")
    return figure


WHOLE_STEP = {"temporary": "a leaf per layer", "temporary, stacked": "layers stacked"}
BARS = ({"color": "#0072B2"}, {"color": "#E69F00", "hatch": "//", "edgecolor": "white"})


def _bars(axis: Any, names: list[str], figures: list[float], label: str, which: int) -> None:
    places = [i + 0.4 * (which - 0.5) for i in range(len(names))]
    drawn = axis.barh(places, figures, height=0.38, label=label, **BARS[which])
    axis.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7)
    axis.set_yticks(range(len(names)), names)
    axis.yaxis.set_inverted(True)
    axis.margins(x=0.15)


def accuracy(found: dict[str, Any]) -> Any:
    """Adam's error in float32 over the steps."""
    decays = grouped(found["accuracy"], "b2")
    figure, axes = panels(1, len(decays), sharey=True)
    for axis, ((b2,), rows) in zip(axes[0], decays.items(), strict=True):
        for (peer,), of in grouped(rows, "peer").items():
            axis.plot([row["step"] for row in of], [row["error"] for row in of], label=peer, **STYLES[peer])
        axis.set(xscale="log", yscale="log", xlabel="step", title=f"Adam, β₂ = {b2}")
    axes[0, 0].set_ylabel("median relative error of\nthe float32 update")
    legend(figure, axes)
    return figure


PICTURES = {"steps": steps, "building": building, "calls": calls, "memory": memory, "accuracy": accuracy}


if __name__ == "__main__":
    results = pathlib.Path(sys.argv[1])
    print(draw(json.loads(results.read_text()), results.parent))
