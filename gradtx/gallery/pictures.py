"""Paths over the contours of their surface, still or moving. Needs matplotlib."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.gallery.paths import Trajectories
from gradtx.gallery.surfaces import Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["animate", "draw"]

# Okabe & Ito, "Color Universal Design", 2008, without its yellow, which is too light for lines. Lines and
# marks differ as well: in grey, too, no two are alike.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_GRID = 160  # points of the surface along each side
_LEVELS = 13


class _Drawn(NamedTuple):
    line: Line2D
    tip: Line2D  # where it is: the last point within the picture
    points: np.ndarray


def draw(paths: Trajectories, marks: bool = True) -> Figure:
    """Draw the paths over the surface's contours, one panel for each learning rate.

    The higher the ground, the darker. A large mark is where a path ends, or leaves the picture.

    Args:
        paths: what `trajectories` returned.
        marks: small marks along the paths, of another shape for each optimizer.

    Returns:
        The figure; `figure.savefig("saddle.png")` writes the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return _panels("gallery.draw", paths, marks)[0]


def animate(
    paths: Trajectories, file: str | os.PathLike[str], frames: int = 60, seconds: float = 6.0, dpi: int = 72
) -> None:
    """Write the paths as an animated GIF, one panel for each learning rate.

    Args:
        paths: what `trajectories` returned.
        file: where to write it.
        frames: how many pictures at most, evenly spread over the steps; at least 2.
        seconds: how long it takes.
        dpi: dots per inch; a panel is 3.6 inches wide.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are fewer than 2 frames.
    """
    if frames < 2:
        raise ValueError(f"gallery.animate(frames={frames!r}): expected at least 2.")
    figure, drawn, texts = _panels("gallery.animate", paths, marks=False)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    last = paths.points.shape[2] - 1
    moments = np.unique(np.linspace(0, last, frames).round().astype(int))

    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # nothing that moves takes part in it: once is enough
    canvas, film = FigureCanvasAgg(figure), []
    for step in moments:
        for path in drawn:
            path.line.set_data(*path.points[: step + 1].T)
            path.tip.set_data(*path.points[: step + 1][-1:].T)
        for text in texts:
            text.set_text(f"step {step}")
        canvas.draw()
        film.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
    _close(figure)
    duration = int(1000 * seconds / len(film))
    film[0].save(file, format="GIF", save_all=True, append_images=film[1:], duration=duration, loop=0)


def _close(figure: Figure) -> None:
    from matplotlib import pyplot

    pyplot.close(figure)


def _panels(name: str, paths: Trajectories, marks: bool) -> tuple[Figure, list[_Drawn], list[Any]]:
    """The figure, what moves in it, and for each panel the text that counts the steps."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(f"{name} needs matplotlib: pip install 'gradtx[plot]'.") from None
    rates = paths.rates or (None,)
    wide = max(3.6 * len(rates), 5.0)
    figure, axes = pyplot.subplots(
        1, len(rates), layout="constrained", figsize=(wide, 4.3), squeeze=False, sharey=True
    )
    steps = paths.points.shape[2] - 1
    figure.suptitle(paths.surface.title)
    drawn, texts = [], []
    for column, (panel, rate) in enumerate(zip(axes[0], rates, strict=True)):
        _contours(panel, paths.surface)
        title = "own learning rates" if rate is None else f"λ = {rate:g}"
        panel.set_title(f"{title}, {steps} steps", fontsize="medium")
        drawn += [_path(panel, paths, i, column, marks) for i in range(len(paths.labels))]
        _landmarks(panel, paths.surface)
        texts.append(panel.text(0.98, 0.02, "", transform=panel.transAxes, ha="right", va="bottom", zorder=9))
    axes[0][0].set_ylabel("y")
    handles = axes[0][0].get_legend_handles_labels()[0]
    longest = max(len(str(handle.get_label())) for handle in handles)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(1, min(len(handles), int(wide / (0.65 + 0.07 * longest)))),
        fontsize="small",
        handlelength=3.5,
    )
    return figure, drawn, texts


def _contours(axes: Axes, surface: Surface) -> None:
    (left, right), (low, high) = surface.bounds
    x, y = np.linspace(left, right, _GRID), np.linspace(low, high, _GRID)
    points = jnp.asarray(np.stack(np.meshgrid(x, y), -1), float)
    heights = np.asarray(jax.jit(jax.vmap(jax.vmap(surface)))(points))
    axes.set(xlim=(left, right), ylim=(low, high), xlabel="x")
    # As much area between any two levels: an even spread of heights would show the highest walls only.
    levels = np.unique(np.quantile(heights, np.linspace(0, 1, _LEVELS)))
    shades = [str(shade) for shade in np.linspace(1.0, 0.78, len(levels) - 1)]
    axes.contourf(x, y, heights, levels, colors=shades)
    lines = axes.contour(x, y, heights, levels[1:-1], colors="0.55", linewidths=0.5)
    for text in axes.clabel(lines, levels[1:-1:2], fontsize=7, fmt=_short, colors="0.3"):
        across, up = axes.transData.transform(text.get_position())
        at = axes.transAxes.inverted().transform((across, up))
        text.set_visible(bool((np.abs(at - 0.5) < 0.45).all()))  # none that the border would cut


def _short(height: float) -> str:
    return np.format_float_positional(height, 2, fractional=False, trim="-")


def _landmarks(axes: Axes, surface: Surface) -> None:
    axes.plot(
        *surface.start, label="start", marker="o", ms=10, mfc="none", mec="k", mew=1.2, ls="none", zorder=8
    )
    if surface.minimum is not None:
        axes.plot(*surface.minimum, label="minimum", marker="x", ms=9, mew=2, color="k", ls="none", zorder=8)


def _path(axes: Axes, paths: Trajectories, i: int, column: int, marks: bool) -> _Drawn:
    points = _visible(paths.points[i, column], paths.surface)
    colour, mark = _COLOURS[i % len(_COLOURS)], _MARKS[i % len(_MARKS)]
    (line,) = axes.plot(
        *points.T,
        label=paths.labels[i],
        color=colour,
        linestyle=_LINES[i % len(_LINES)],
        linewidth=1.6,
        marker=mark,
        markersize=4.5,
        markevery=(0.02 * (i + 1), 0.14) if marks else [],
        zorder=3 + i / 10,
    )
    tip_at = _within(points, paths.surface)
    (tip,) = axes.plot(
        *points[tip_at : tip_at + 1].T,
        color=colour,
        marker=mark,
        markersize=8,
        markeredgecolor="k",
        linestyle="none",
        zorder=5 + i / 10,
    )
    return _Drawn(line, tip, points)


def _visible(points: np.ndarray, surface: Surface) -> np.ndarray:
    """The path up to the first point that is far off, which is drawn nearer, or not finite."""
    bounds = np.asarray(surface.bounds)
    middle, reach = bounds.mean(1), np.diff(bounds)[:, 0]
    away = ~(np.abs(points - middle) <= 2 * reach).all(-1)
    if not away.any():
        return points
    end = int(np.argmax(away))
    if not np.isfinite(points[end]).all():
        return points[:end]
    step = (points[end] - points[end - 1]) / max(1.0, np.max(np.abs(points[end] - middle) / (2 * reach)))
    return np.concatenate([points[:end], points[end - 1 : end] + step])


def _within(points: np.ndarray, surface: Surface) -> int:
    """The last point in the picture."""
    bounds = np.asarray(surface.bounds)
    inside = ((points >= bounds[:, 0]) & (points <= bounds[:, 1])).all(-1)
    return int(np.flatnonzero(inside)[-1]) if inside.any() else 0
