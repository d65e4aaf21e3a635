"""Make the gallery's pictures: python -m gradtx.gallery FOLDER (by default docs/static)."""

from __future__ import annotations

import pathlib
import sys

from gradtx.gallery import CLASSICS, animate, beale, draw, ravine, rosenbrock, saddle, trajectories

STILLS = (  # surface, steps, learning rates
    ("saddle", saddle, 120, (0.01, 0.1)),
    ("beale", beale, 300, (0.001, 0.01, 0.1)),
    ("ravine", ravine, 100, (0.01, 0.03)),
    ("rosenbrock", rosenbrock, 1000, (0.001, 0.01)),
)


def main(folder: pathlib.Path, frames: int = 40) -> None:
    """Write a PNG for each surface, and the saddle as an animated GIF."""
    import matplotlib

    matplotlib.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, surface, steps, rates in STILLS:
        paths = trajectories(surface, CLASSICS, steps, rates)
        draw(paths).savefig(folder / f"{name}.png", dpi=80)
        print(folder / f"{name}.png")
    paths = trajectories(saddle, CLASSICS, 120, (0.01, 0.1))
    animate(paths, folder / "saddle.gif", frames)
    print(folder / "saddle.gif")


if __name__ == "__main__":
    main(pathlib.Path(*sys.argv[1:2] or ["docs/static"]))
