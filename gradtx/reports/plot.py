"""Pictures of values. Needs matplotlib, which the extra `plot` brings: pip install 'gradtx[plot]'."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.schedules.exact.arithmetic import LAST
from gradtx.schedules.schedule import Schedule, as_schedule, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["schedules"]

_POINTS = 2000  # more than a picture has columns


def schedules(
    *schedules: Schedule | Callable[[Any], Any],
    steps: int | range,
    labels: Sequence[str] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw schedules over the steps, each labelled with the call that makes it.

    Args:
        schedules: schedules, or functions of the step that can be traced; at least one.
        steps: how many, from 0; or a range. Of more than 2000 it draws 2000, evenly spread.
        labels: other labels, one for each.
        axes: where to draw; by default a new figure.

    Returns:
        The axes, to be decorated further; `axes.figure.savefig("schedules.png")` writes the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw, a schedule returns more than one number, or the labels
            are not one for each.
    """
    name = "plot.schedules"
    drawn = [as_schedule(name, f"schedules[{i}]", s) for i, s in enumerate(schedules)]
    if not drawn:
        raise ValueError(f"{name}: there is no schedule to draw.")
    at = _sample(name, steps)
    texts = [_label(s) for s in drawn] if labels is None else list(labels)
    if len(texts) != len(drawn):
        raise ValueError(f"{name}: {len(drawn)} schedules need as many labels, not {len(texts)}.")
    if axes is None:
        axes = _new_axes(name, sum(1 + text.count("\n") for text in texts))
    for i, (schedule, text) in enumerate(zip(drawn, texts, strict=True)):
        levels = _levels(f"schedules[{i}]", schedule, at)
        axes.plot(at, levels, label=text, drawstyle="steps-post")  # a level stands for the whole step
    axes.set_xlabel("step")
    axes.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))  # above: it hides no curve
    return axes


def _sample(name: str, steps: int | range) -> np.ndarray:
    span = steps if isinstance(steps, range) else range(steps)
    if not span or min(span[0], span[-1]) < 0 or max(span[0], span[-1]) > LAST:
        raise ValueError(
            f"{name}(steps={steps!r}): expected at least one step, none below 0 or above {LAST}."
        )
    chosen = np.unique(np.linspace(0, len(span) - 1, min(len(span), _POINTS)).round().astype(np.int64))
    return (span.start + span.step * chosen).astype(np.int32)


def _levels(name: str, schedule: Schedule, steps: np.ndarray) -> np.ndarray:
    def level(step: jax.Array) -> jax.Array:
        return read("plot.schedules", name, schedule, step)

    return np.asarray(jax.jit(jax.vmap(level))(jnp.asarray(steps)))


def _label(schedule: Schedule) -> str:
    """Its repr without the line breaks of a long one, wrapped."""
    line = re.sub(r",?\s*\n\s*\)", ")", repr(schedule))
    return textwrap.fill(re.sub(r"\s*\n\s*", " ", line).replace("( ", "("), 80, break_long_words=False)


def _new_axes(name: str, lines: int) -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(f"{name} needs matplotlib: pip install 'gradtx[plot]'.") from None
    return pyplot.subplots(layout="constrained", figsize=(7, 4 + 0.2 * lines))[1]
