"""Draw how each optimizer converges, for its page: docs/static/optimizers/<name>.png.

    python docs/generator/pictures.py [names]        # all, where none is named; needs matplotlib

On two problems that are easy to know and hard to descend, of the kind that problems.py has for it, each from
a fixed start, with the best of eleven learning rates beside gradient descent with the best of its own. That
says how a method moves, and not how it trains a network.
"""

from __future__ import annotations

import functools
import pathlib
import sys

import matplotlib
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import optimizers as pages
import problems
from matplotlib import pyplot as plt
from PIL import Image

import gradtx
from gradtx import gallery

OUT = pathlib.Path(__file__).parents[1] / "static" / "optimizers"
STEPS = 300
RATES = 10.0 ** np.arange(-4, 1.5, 0.5)
# What is given beside the arguments that an example needs. A learning rate that has a default is tuned like
# any other where that default no more suits every problem; a rank is less than the whole.
GIVEN = {
    "adafactor": {"learning_rate": 1e-3},
    "galore": {"rank": 4, "update_proj_gap": 10},
    "schedule_free_adamw": {"learning_rate": 1e-3},
    "schedule_free_sgd": {"learning_rate": 1e-3},
}


@functools.cache
def best(problem, tx, tuned: bool):
    """The values along the path that ends lowest, and the learning rate that makes it."""
    paths = gallery.trajectories(problem, {"it": tx}, STEPS, RATES if tuned else None)
    # Nobody would choose a rate that goes up a hundredfold first.
    sane = np.nan_to_num(paths.values[0], nan=np.inf).max(axis=-1) < 100 * paths.values[0, :, 0]
    ends = np.where(sane, paths.values[0, :, -1], np.inf)
    i = int(ends.argmin())
    return paths.values[0, i], f", λ = {RATES[i]:.2g}" if tuned else ""


def draw(name: str) -> None:
    """The picture of one."""
    figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    call, tx = pages.example(pages.exported()[name])
    given = GIVEN.get(name, {})
    tx = tx.replace(**given)
    shown = ", ".join(f"{field}={value}" for field, value in given.items() if field != "learning_rate")
    label = f"{name}({shown})" if shown else name
    tuned = "1e-3" in call or "learning_rate" in given
    tuned = tuned and isinstance(getattr(tx, "learning_rate", None), float)
    kind = problems.of(tx)
    for panel, problem in zip(panels, kind.problems, strict=True):
        mine, rate = best(problem, tx, tuned)
        panel.semilogy(np.maximum(mine, kind.least), color="#0072B2", lw=2, label=f"{label}{rate}")
        if name != "sgd":
            plain, rate = best(problem, gradtx.sgd(1e-3), True)
            panel.semilogy(
                np.maximum(plain, kind.least), color="#D55E00", lw=1.5, ls="--", label=f"sgd{rate}"
            )
        panel.set(title=problem.title, xlabel="step", xlim=(0, STEPS))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7 if shown else 8)
    panels[0].set_ylabel("height above the minimum")
    OUT.mkdir(exist_ok=True)
    file = OUT / f"{name}.png"
    figure.savefig(file, dpi=130)
    plt.close(figure)
    Image.open(file).convert("RGB").quantize(48).save(file, optimize=True)  # a quarter of the size


def main(names: list[str]) -> None:
    """Draw those that are named."""
    matplotlib.use("Agg")
    for name in names or sorted(pages.exported()):
        draw(name)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
