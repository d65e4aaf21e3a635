"""One function draws any schedule, or several, and hands out the axes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import gradtx

LINE, STAIRS = gradtx.linear_schedule(0.0, 1.0, 5), gradtx.step_decay_schedule(1.0, 5, 0.5)


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_it_draws_every_step_of_every_schedule_and_labels_it_with_its_call(tmp_path) -> None:
    axes = gradtx.plot.schedules(LINE, STAIRS, lambda step: 0.3, steps=12)
    assert [line.get_label() for line in axes.lines[:2]] == [repr(LINE), repr(STAIRS)]
    assert "lambda" in axes.get_legend().get_texts()[2].get_text()
    for line, schedule in zip(axes.lines[:2], (LINE, STAIRS), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(12))
        np.testing.assert_allclose(line.get_ydata(), [schedule(t) for t in range(12)], rtol=1e-6)
    axes.figure.savefig(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 1000


def test_it_draws_into_given_axes_with_given_labels_and_over_any_range() -> None:
    from matplotlib import pyplot

    axes = pyplot.subplots()[1]
    assert gradtx.plot.schedules(LINE, steps=range(2, 20, 3), labels=["line"], axes=axes) is axes
    assert axes.lines[0].get_label() == "line"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), range(2, 20, 3))


def test_of_many_steps_it_draws_a_part_with_both_ends() -> None:
    drawn = gradtx.plot.schedules(LINE, steps=2**31).lines[0].get_xdata()
    assert len(drawn) == 2000
    assert (drawn[0], drawn[-1]) == (0, 2**31 - 1)
    assert np.all(np.diff(drawn.astype(np.int64)) > 0)


def test_a_long_label_is_wrapped_and_still_the_call() -> None:
    long = gradtx.with_warmup(gradtx.join_schedules((LINE, gradtx.multiply_schedules(LINE, STAIRS)), (5,)), 3)
    label = gradtx.plot.schedules(long, steps=9).lines[0].get_label()
    assert "\n" in label
    assert max(map(len, label.splitlines())) <= 80
    assert eval(label, dict(vars(gradtx))) == long


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: gradtx.plot.schedules(steps=3), ValueError, "no schedule to draw"),
        (lambda: gradtx.plot.schedules(LINE, steps=0), ValueError, "at least one step"),
        (lambda: gradtx.plot.schedules(LINE, steps=range(-1, 3)), ValueError, "none below 0"),
        (
            lambda: gradtx.plot.schedules(LINE, steps=3, labels=[]),
            ValueError,
            "1 schedules need as many labels",
        ),
        (lambda: gradtx.plot.schedules(LINE, 0.1, steps=3), TypeError, r"schedules\[1\] must be a schedule"),
        (
            lambda: gradtx.plot.schedules(LINE, lambda step: jnp.ones(2), steps=3),
            ValueError,
            r"plot.schedules: schedules\[1\] returned shape \(2,\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error, message) -> None:
    with pytest.raises(error, match=message):
        draw()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"matplotlib", "pyplot", "Axes"} & vars(gradtx.plot).keys()  # not imported with gradtx
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install 'gradtx\[plot\]'"):
        gradtx.plot.schedules(LINE, steps=3)
