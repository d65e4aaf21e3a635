"""Draw how each optimizer converges, for its page: docs/static/optimizers/<name>.png.

    python docs/generator/pictures.py [names]        # all, where none is named; needs matplotlib

On two functions of two variables that are easy to know and hard to descend, each from a fixed start, with the
best of eleven learning rates beside gradient descent with the best of its own. That says how a method moves,
and not how it trains a network.
"""

from __future__ import annotations

import pathlib
import sys

import matplotlib
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import optimizers as pages
from matplotlib import pyplot as plt
from PIL import Image

import gradtx
from gradtx import gallery

OUT = pathlib.Path(__file__).parents[1] / "static" / "optimizers"
STEPS = 300
RATES = 10.0 ** np.arange(-4, 1.5, 0.5)
SURFACES = (gallery.ravine, gallery.rosenbrock)
LEAST = 1e-12  # below it, float32 has nothing to say
# They have a default, which no more suits every problem than another's would.
TUNED = {"adafactor", "schedule_free_adamw", "schedule_free_sgd"}
# The gradients of single examples, and what is particular to matrices, are not seen in a function of a point.
NOT = {"dpsgd", "galore", "muon"}


def best(surface, tx):
    """The values along the path that ends lowest, and the learning rate that makes it."""
    needed = pages.example(type(tx))[0].count("1e-3") or type(tx).__name__ in TUNED
    tuned = needed and isinstance(getattr(tx, "learning_rate", None), float)
    paths = gallery.trajectories(surface, {"it": tx}, STEPS, RATES if tuned else None)
    # Nobody would choose a rate that goes up a hundredfold first.
    sane = np.nan_to_num(paths.values[0], nan=np.inf).max(axis=-1) < 100 * paths.values[0, :, 0]
    ends = np.where(sane, paths.values[0, :, -1], np.inf)
    i = int(ends.argmin())
    return np.maximum(paths.values[0, i], LEAST), f", λ = {RATES[i]:.2g}" if tuned else ""


def draw(name: str, plain) -> None:
    """The picture of one."""
    figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    _, tx = pages.example(pages.exported()[name])
    if name in TUNED:
        tx = tx.replace(learning_rate=1e-3)
    for panel, surface, (values, rate) in zip(panels, SURFACES, plain, strict=True):
        mine, of = best(surface, tx)
        panel.semilogy(mine, color="#0072B2", lw=2, label=f"{name}{of}")
        if name != "sgd":
            panel.semilogy(values, color="#D55E00", lw=1.5, ls="--", label=f"sgd{rate}")
        panel.set(title=surface.title, xlabel="step", xlim=(0, STEPS))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    panels[0].set_ylabel("height above the minimum")
    OUT.mkdir(exist_ok=True)
    file = OUT / f"{name}.png"
    figure.savefig(file, dpi=130)
    plt.close(figure)
    Image.open(file).convert("RGB").quantize(48).save(file, optimize=True)  # a quarter of the size


def main(names: list[str]) -> None:
    """Draw those that are named."""
    matplotlib.use("Agg")
    plain = [best(surface, gradtx.sgd(1e-3)) for surface in SURFACES]
    for name in names or sorted(pages.exported().keys() - NOT):
        draw(name, plain)
        print(name, flush=True)


main(sys.argv[1:])
