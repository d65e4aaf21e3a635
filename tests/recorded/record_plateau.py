"""Record PyTorch's ReduceLROnPlateau: `plateau.npz` beside this.

    pip install torch==2.13.0 && python -m tests.recorded.record_plateau

The tests read the metrics and the learning rates that followed them, in float64, and need no PyTorch.
"""

from __future__ import annotations

import math
import pathlib
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

FILE = pathlib.Path(__file__).parent / "plateau.npz"
RATE = 0.1


def _falling() -> np.ndarray:
    """A loss that falls, stands still, is noisy on a plateau, and falls again with noise."""
    rng, t = np.random.default_rng(0), np.arange(200)
    steep, last = 4 * np.exp(-t / 40) + 1, 4 * np.exp(-199 / 40) + 1
    return np.r_[steep, np.full(60, last), last + 0.1 * rng.normal(size=200), 0.5 + 0.4 * np.exp(-t / 25)
                 + 0.02 * rng.normal(size=200)]  # fmt: skip


def _broken() -> np.ndarray:
    """The same, with metrics that are no numbers, infinite ones, and NaN first."""
    metrics = _falling()
    metrics[[0, 5, 6, 7, 8, 120, 300, 301]] = math.nan
    metrics[[1, 30, 31, 32, 33, 34, 400]] = math.inf
    return metrics


def _best_of_all() -> np.ndarray:
    """The same, with an infinite metric that nothing improves on, of the better sign."""
    metrics = _falling()
    metrics[250] = -math.inf
    return metrics


def _steps() -> np.ndarray:
    """Whole numbers that fall rarely: many metrics equal the best one."""
    return np.repeat([9, 8, 8, 7, 9, 7, 6, 6, 5, 3, 3, 4, 2, 2, 2, 1], 25).astype(float)


LOSS, ACCURACY = _falling(), 6 - _falling()
# Small factors where something stops the fall, large ones where every reduction is to be seen.
SLOW = {"factor": 0.7, "patience": 3}

CASES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "defaults": (LOSS, {}),
    "patience 0": (LOSS, {"factor": 0.97, "patience": 0}),
    "patience 4": (LOSS, {"factor": 0.95, "patience": 4}),
    "absolute": (LOSS, {"factor": 0.95, "patience": 4, "threshold": 0.02, "threshold_mode": "abs"}),
    "relative, large": (LOSS, {"factor": 0.9, "patience": 4, "threshold": 0.3}),
    "no threshold": (_steps(), {"factor": 0.95, "patience": 4, "threshold": 0.0}),
    "cooldown": (LOSS, {"factor": 0.95, "patience": 4, "cooldown": 3}),
    "cooldown longer than patience": (LOSS, {"factor": 0.95, "patience": 1, "cooldown": 9}),
    "patience 0, cooldown": (LOSS, {"factor": 0.95, "patience": 0, "cooldown": 2}),
    "max": (ACCURACY, {"mode": "max", "factor": 0.95, "patience": 4}),
    "max, absolute": (
        ACCURACY,
        {"mode": "max", "factor": 0.95, "patience": 4, "threshold": 0.02, "threshold_mode": "abs"},
    ),
    "max, cooldown": (ACCURACY, {"mode": "max", "factor": 0.95, "patience": 2, "cooldown": 5}),
    "least level": (LOSS, {**SLOW, "min_lr": 0.01}),
    "least level, defaults": (LOSS, {"min_lr": 0.03, "patience": 3}),
    "least level above the start": (LOSS, {**SLOW, "min_lr": 0.5}),
    "eps": (LOSS, {**SLOW, "eps": 2e-3}),
    "eps 0": (LOSS, {**SLOW, "eps": 0.0, "min_lr": 1e-3}),
    "eps, default": (LOSS, {"patience": 3}),  # 1e-9 would be less than 1e-8 below 1e-8
    "not a number": (_broken(), {"factor": 0.95, "patience": 4}),
    "not a number, absolute": (
        _broken(),
        {"factor": 0.95, "patience": 1, "cooldown": 2, "threshold": 0.02, "threshold_mode": "abs"},
    ),
    "not a number, max": (6 - _broken(), {"mode": "max", "factor": 0.95, "patience": 4}),
    "infinitely good": (_best_of_all(), {"factor": 0.95, "patience": 4}),
    "infinitely good, max": (6 - _best_of_all(), {"mode": "max", "factor": 0.95, "patience": 4}),
    "negative, absolute": (
        LOSS - 9,
        {"factor": 0.95, "patience": 4, "threshold": 0.02, "threshold_mode": "abs"},
    ),
    # Where PyTorch takes what is worse for an improvement; the test says more.
    "negative, relative": (LOSS - 9, {"factor": 0.95, "patience": 4, "threshold": 0.01}),
    "negative, relative, max": (
        ACCURACY - 9,
        {"mode": "max", "factor": 0.95, "patience": 4, "threshold": 0.01},
    ),
}


def levels(metrics: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """The learning rate after each metric."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
    scheduler = ReduceLROnPlateau(optimizer, **settings)
    found = []
    for metric in metrics:
        scheduler.step(float(metric))
        found.append(optimizer.param_groups[0]["lr"])
    return np.asarray(found, np.float64)


def main() -> None:
    arrays = {}
    for name, (metrics, settings) in CASES.items():
        # Rounded to float32, so that a run in it sees the same metrics.
        metrics = metrics.astype(np.float32).astype(np.float64)
        arrays[f"metrics: {name}"], arrays[f"lr: {name}"] = metrics, levels(metrics, settings)
    np.savez_compressed(FILE, allow_pickle=False, torch=np.asarray(torch.__version__), **arrays)
    print(f"{FILE}: {FILE.stat().st_size} bytes, {len(CASES)} runs of PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
