"""Record PyTorch's learning-rate schedulers, and Adam under one of them: `schedules.npz` beside this.

    pip install torch==2.13.0 && python -m tests.recorded.record_schedules

The tests read the data and need no PyTorch. Where a scheduler has a closed form it is recorded:
PyTorch's recursive forms multiply the last learning rate step by step, and round at each.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as lr

FILE = pathlib.Path(__file__).parent / "schedules.npz"
LAST = 10_000
# Each of the first steps, each of the last, and between them enough to see every phase of every period.
SAMPLE = np.unique(np.r_[0:160, 0:LAST:7, LAST - 60 : LAST + 1])
EVERY = np.arange(LAST + 1)  # for levels that stand still most of the time: they compress well

Make = Callable[[torch.optim.Optimizer], Any]


def _sgd(rate: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1)], lr=rate, momentum=0.9)


def closed(rate: float, make: Make, steps: np.ndarray) -> np.ndarray:
    """The scheduler's closed form at each step."""
    scheduler = make(_sgd(rate))
    levels = []
    for step in steps:
        scheduler.last_epoch = int(step)
        levels.append(scheduler._get_closed_form_lr()[0])
    return np.asarray(levels, np.float64)


def stepped(rate: float, make: Make, steps: np.ndarray, what: str = "lr") -> np.ndarray:
    """What the scheduler sets the optimizer's group to, after so many calls of step()."""
    optimizer = _sgd(rate)
    scheduler = make(optimizer)
    levels = [optimizer.param_groups[0][what]]
    for _ in range(int(steps[-1])):
        optimizer.step()
        scheduler.step()
        levels.append(optimizer.param_groups[0][what])
    return np.asarray(levels, np.float64)[steps]


def _cyclic(mode: str, gamma: float = 1.0) -> Make:
    return lambda o: lr.CyclicLR(o, 0.01, 0.3, 173, 411, mode, gamma, base_momentum=0.8, max_momentum=0.95)


def _sequential(o: torch.optim.Optimizer) -> lr.SequentialLR:
    parts = [lr.LinearLR(o, 0.1, 1.0, 500), lr.CosineAnnealingLR(o, 3000, 1e-4), lr.ExponentialLR(o, 0.999)]
    return lr.SequentialLR(o, parts, [500, 3500])


def _chained(o: torch.optim.Optimizer) -> lr.ChainedScheduler:
    return lr.ChainedScheduler(
        [lr.ExponentialLR(o, 0.9995), lr.StepLR(o, 2500, 0.3), lr.LinearLR(o, 0.2, 1, 70)]
    )


def schedules() -> dict[str, np.ndarray]:
    """name -> the learning rates; `tests/schedules/test_schedules_pytorch.py` has the same names."""
    up_to_end = SAMPLE[SAMPLE < LAST]  # OneCycleLR's last step is total_steps - 1
    found = {
        "StepLR": closed(0.1, lambda o: lr.StepLR(o, 1700, 0.3), EVERY),
        "MultiStepLR": closed(0.1, lambda o: lr.MultiStepLR(o, [300, 1000, 1000, 7777], 0.5), EVERY),
        "ConstantLR": closed(0.1, lambda o: lr.ConstantLR(o, 1 / 3, 5000), EVERY),
        "ExponentialLR": closed(0.1, lambda o: lr.ExponentialLR(o, 0.999), SAMPLE),
        "LinearLR": closed(0.1, lambda o: lr.LinearLR(o, 0.05, 0.9, 6000), SAMPLE),
        "PolynomialLR": closed(0.1, lambda o: lr.PolynomialLR(o, 9990, 2.5), SAMPLE),
        "CosineAnnealingLR": closed(0.1, lambda o: lr.CosineAnnealingLR(o, 1100, 1e-3), SAMPLE),
        "CosineAnnealingLR to zero": closed(0.1, lambda o: lr.CosineAnnealingLR(o, 1100), SAMPLE),
        "CosineAnnealingWarmRestarts": stepped(
            0.1, lambda o: lr.CosineAnnealingWarmRestarts(o, 730, 1, 1e-3), SAMPLE
        ),
        "CosineAnnealingWarmRestarts, twice as long": stepped(
            0.1, lambda o: lr.CosineAnnealingWarmRestarts(o, 30, 2, 1e-3), SAMPLE
        ),
        "CyclicLR": stepped(0.1, _cyclic("triangular"), SAMPLE),
        "CyclicLR's momentum": stepped(0.1, _cyclic("triangular"), SAMPLE, "momentum"),
        "CyclicLR, triangular2": stepped(0.1, _cyclic("triangular2"), SAMPLE),
        "CyclicLR, exp_range": stepped(0.1, _cyclic("exp_range", 0.9997), SAMPLE),
        "OneCycleLR": stepped(0.1, lambda o: lr.OneCycleLR(o, 0.5, LAST), up_to_end),
        "OneCycleLR, linear": stepped(
            0.1, lambda o: lr.OneCycleLR(o, 0.5, LAST, pct_start=0.25, anneal_strategy="linear"), up_to_end
        ),
        "OneCycleLR, three phases": stepped(
            0.1, lambda o: lr.OneCycleLR(o, 0.5, LAST, pct_start=0.28763, three_phase=True), up_to_end
        ),
        "SequentialLR": stepped(0.1, _sequential, SAMPLE),
        "ChainedScheduler": stepped(0.1, _chained, SAMPLE),
    }
    sizes = {len(EVERY): "every step", len(SAMPLE): "a sample", len(up_to_end): "a sample without the last"}
    assert all(len(levels) in sizes for levels in found.values())
    return found


def adam_under_steps() -> np.ndarray:
    """The parameters after each of 20 updates: Adam at every batch, StepLR after each of 5 epochs."""
    parameters = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=0.1)
    scheduler = lr.StepLR(optimizer, step_size=2, gamma=0.1)
    path = []
    for epoch in range(5):
        for batch in range(4):
            step = 4 * epoch + batch
            parameters.grad = torch.sin(parameters.detach() * 3 + step) + 0.1 * step
            optimizer.step()
            path.append(parameters.detach().numpy().copy())
        scheduler.step()
    return np.asarray(path)


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps before the optimizer's, and of closed forms
        found = schedules()
    names = [n for n in lr.__all__ if n != "LRScheduler"]
    np.savez_compressed(
        FILE,
        allow_pickle=False,
        torch=np.asarray(torch.__version__),
        schedulers=np.asarray(names),
        sample=SAMPLE,
        adam=adam_under_steps(),
        **{f"lr: {name}": levels for name, levels in found.items()},
    )
    print(f"{FILE}: {FILE.stat().st_size} bytes, {len(found)} schedulers of PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
