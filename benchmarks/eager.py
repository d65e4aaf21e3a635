"""Updates without jit: gradtx's time beside Optax's, in interleaved rounds.

    python -m benchmarks.eager

400 leaves of 3 by 4. A round updates once with each; the ratio is taken in each round, and printed are
the medians and the ratio's range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx

LEAVES, ROUNDS = 400, 7


def _clipped(library: Any) -> Any:
    return library.chain(library.clip_by_global_norm(1.0), library.adam(1e-3))


ROWS: dict[str, Callable[[Any], Any]] = {
    "sgd, momentum": lambda library: library.sgd(0.1, 0.9),
    "adamw": lambda library: library.adamw(1e-3),
    "clip, adam": _clipped,
    "lion": lambda library: library.lion(1e-3),
    "rmsprop": lambda library: library.rmsprop(1e-3),
    "adabelief": lambda library: library.adabelief(1e-3),
    "lamb": lambda library: library.lamb(1e-3),
    "adafactor": lambda library: library.adafactor(1e-3),
}


def rows(leaves: int = LEAVES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Milliseconds of a step of each, and their ratio in each round."""
    rng = np.random.default_rng(0)
    params = {f"leaf{i}": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32) for i in range(leaves)}
    found = []
    for name, make in ROWS.items():
        both = make(gradtx), make(optax)
        states = [tx.init(params) for tx in both]
        taken: list[list[float]] = [[], []]
        for i in range(1 + rounds):  # the first compiles
            for which, tx in enumerate(both):
                began = time.perf_counter()
                updates, states[which] = tx.update(params, states[which], params)
                jax.block_until_ready(updates)
                taken[which].extend([1e3 * (time.perf_counter() - began)] if i else [])
        ratios = [ours / theirs for ours, theirs in zip(*taken, strict=True)]
        found.append({"what": name, "gradtx": taken[0], "optax": taken[1], "ratio": ratios})
    return found


if __name__ == "__main__":
    for row in rows():
        ours, theirs, ratio = (statistics.median(row[key]) for key in ("gradtx", "optax", "ratio"))
        spread = f"{min(row['ratio']):.2f} to {max(row['ratio']):.2f}"
        print(f"{row['what']:14} {ours:6.0f} ms {theirs:6.0f} ms   ratio {ratio:.2f} ({spread})")
