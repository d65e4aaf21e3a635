"""Trace, lower, compile and step time of gradtx beside Optax, over the number of leaves.

    python -m benchmarks            10, 100 and 1000 leaves, 3 rounds
    python -m benchmarks --short    10 and 100 leaves, 2 rounds: under two minutes

Each round measures both, one after the other, in turns; printed are medians, and the ratio of gradtx
to Optax with the smallest and largest of its rounds. The machine's load moves the times, and the
ratios less. Bytes are counted from the compiled program and do not move. Results also go to
out/benchmarks.json.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradtx
from gradtx import leafwise

SIZE = 16_000_000  # parameters in all, whatever the number of leaves
RATE = 1e-3
PAIRS = {
    "adamw": (gradtx.adamw(RATE), optax.adamw(RATE)),
    "clip, adamw": (
        gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(RATE)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE)),
    ),
}
TIMES = ("trace", "lower", "compile", "step")


def parameters(leaves: int) -> dict[str, jax.Array]:
    """Equal leaves, of several shapes, that hold SIZE numbers together."""
    each = SIZE // leaves
    return {f"leaf{i}": jnp.full((each // 64 + i % 3, 64), 0.5) for i in range(leaves)}


def measure(tx: Any, leaves: int, steps: int) -> dict[str, float]:
    """Seconds to trace, lower, compile and make one step; bytes per parameter."""

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        apply = gradtx.apply_updates if isinstance(tx, gradtx.GradientTransformation) else optax.apply_updates
        return apply(params, updates), state

    jax.clear_caches()
    leafwise.forget_programs()
    params, grads = parameters(leaves), parameters(leaves)
    state = tx.init(params)
    clock = [time.perf_counter()]
    traced = jax.jit(step, donate_argnums=(0, 1)).trace(params, state, grads)
    clock.append(time.perf_counter())
    lowered = traced.lower()
    clock.append(time.perf_counter())
    compiled = lowered.compile()
    clock.append(time.perf_counter())
    made = []
    for _ in range(steps):
        start = time.perf_counter()
        params, state = jax.block_until_ready(compiled(params, state, grads))
        made.append(time.perf_counter() - start)
    cost = gradtx.traffic(compiled)
    return dict(zip(TIMES, [b - a for a, b in itertools.pairwise(clock)], strict=False)) | {
        "step": statistics.median(made),
        "bytes": cost.moved / SIZE,
        "temporary": cost.temporary / SIZE,
    }


def main(short: bool) -> None:
    """Measure, print, and write the results."""
    rounds, sizes = (2, (10, 100)) if short else (3, (10, 100, 1000))
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}, optax {optax.__version__}"
    )
    print(f"{SIZE / 1e6:.0f} million float32 parameters on {jax.devices()[0].platform}; {machine}")
    results = []
    for name, pair in PAIRS.items():
        for leaves in sizes:
            runs = [[measure(tx, leaves, steps=5) for tx in pair] for _ in range(rounds)]
            print(f"\n{name}, {leaves} leaves")
            columns = {key: [(ours[key], theirs[key]) for ours, theirs in runs] for key in runs[0][0]}
            columns["trace + lower"] = [tuple(run["trace"] + run["lower"] for run in both) for both in runs]
            for key, both in columns.items():
                ours, theirs = (statistics.median(x) for x in zip(*both, strict=True))
                ratios = sorted(a / b if b else float("nan") for a, b in both)
                unit, scale = ("ms", 1e3) if key in TIMES or key == "trace + lower" else ("B/param", 1)
                print(
                    f"  {key:14} gradtx {scale * ours:9.2f}  optax {scale * theirs:9.2f} {unit:8}"
                    f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                )
                results.append({"what": name, "leaves": leaves, "measure": key, "gradtx, optax": both})
    out = pathlib.Path("out/benchmarks.json")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "parameters": SIZE, "results": results}, indent=1))


if __name__ == "__main__":
    main(short="--short" in sys.argv[1:])
