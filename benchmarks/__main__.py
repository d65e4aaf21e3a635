"""gradtx beside Optax and torch: times, bytes and accuracy, in interleaved rounds.

    python -m benchmarks                    all rows
    python -m benchmarks --short            fewer sizes and rounds: under two minutes on two cores
    python -m benchmarks --only adamw lion  times and bytes of these optimizers
    python -m benchmarks --out docs/static  where benchmarks.json and the pictures go; by default out/

torch's rows need torch, the pictures matplotlib: pip install -e '.[benchmarks]'. Printed are medians,
the range over the rounds in parentheses, and the ratio of gradtx to the peer, taken in each round. The
machine's load moves the times, and the ratios less; but torch's threads wait by spinning, and its step
may take a hundred times as long where other processes want the same cores: mind the load that is
printed at both ends. Bytes are counted from the compiled program and do not move. `packed` is
`gradtx.packing`: parameters, state and gradients lie in flat buffers for good.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks import accuracy, by_torch, figures, report, times, whole_step
from benchmarks.machine import load, machine
from benchmarks.peers import OPTIMIZERS


def measured(scale: times.Scale, optimizers: Sequence[str] = tuple(OPTIMIZERS)) -> dict[str, Any]:
    """Everything, printed as it comes; what goes to benchmarks.json."""
    found: dict[str, Any] = {"machine": machine(), "load at the start": load()}
    print(
        json.dumps(found["machine"]), f"load {found['load at the start']}", by_torch.missing() or "", sep="\n"
    )
    found["times"] = times.rows(scale, lambda rows: _say(report.lines(rows)), optimizers)
    _say(report.ratios(found["times"]))
    found["accuracy"] = accuracy.rows()
    _say(report.accuracy_lines(found["accuracy"]))
    found["whole step"] = whole_step.rows() if scale.whole_step else []
    _say(report.whole_step_lines(found["whole step"]))
    return found | {"load at the end": load()}


def _say(lines: Any) -> None:
    print(*lines, sep="\n", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write and draw."""
    about = argparse.ArgumentParser("python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    about.add_argument("--short", action="store_true", help="fewer sizes and rounds")
    about.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("out"), help="folder for what is made"
    )
    about.add_argument("--only", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS), metavar="OPTIMIZER")
    chosen = about.parse_args(arguments)
    found = measured(times.SHORT if chosen.short else times.FULL, chosen.only) | {"short": chosen.short}
    chosen.out.mkdir(parents=True, exist_ok=True)
    results = chosen.out / "benchmarks.json"
    results.write_text(json.dumps(found, indent=1, allow_nan=False))
    print(f"\nload at the end {found['load at the end']}", results, figures.draw(found, chosen.out), sep="\n")


if __name__ == "__main__":
    main()
