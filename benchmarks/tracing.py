"""Tracing an update: gradtx's time beside Optax's, in interleaved rounds.

    python -m benchmarks.tracing

AdamW on leaves of 3 by 4, built anew in each round, so that nothing of the one before is found. The ratio
is taken in each round, and printed are the medians and the ratio's range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradtx

LEAVES, ROUNDS = (2, 10, 200), 15


def rows(leaves: tuple[int, ...] = LEAVES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Milliseconds of a trace by each, and their ratio in each round."""
    found = []
    for n in leaves:
        params = {f"leaf{i}": jnp.ones((3, 4)) for i in range(n)}
        taken: list[list[float]] = [[], []]
        for i in range(1 + rounds):  # the first imports and fills jax's own caches
            for which, library in enumerate((gradtx, optax)):
                seconds = _traced(library.adamw(1e-3), params)
                taken[which].extend([1e3 * seconds] if i else [])
        ratios = [ours / theirs for ours, theirs in zip(*taken, strict=True)]
        found.append({"leaves": n, "gradtx": taken[0], "optax": taken[1], "ratio": ratios})
    return found


def _traced(tx: Any, params: Any) -> float:
    state = tx.init(params)
    update: Callable[..., Any] = lambda grads, state, params: tx.update(grads, state, params)  # noqa: E731
    began = time.perf_counter()
    jax.make_jaxpr(update)(params, state, params)
    return time.perf_counter() - began


if __name__ == "__main__":
    for row in rows():
        ours, theirs, ratio = (statistics.median(row[k]) for k in ("gradtx", "optax", "ratio"))
        low, high = min(row["ratio"]), max(row["ratio"])
        times = f"gradtx {ours:.1f} ms, Optax {theirs:.1f} ms"
        print(f"{row['leaves']:4} leaves: {times}, {ratio:.2f} ({low:.2f} to {high:.2f})")
