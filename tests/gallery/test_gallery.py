"""Optimizers on surfaces of two variables: the numbers of their paths, and what is in the pictures."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import gradtx
from gradtx import gallery
from gradtx.gallery import __main__ as pictures_for_the_docs

SURFACES = {name: getattr(gallery, name) for name in ("saddle", "beale", "ravine", "rosenbrock")}
STATIC = pathlib.Path(__file__).parents[2] / "docs" / "static"
FEW = {"SGD": gradtx.sgd(0.1), "Adam": gradtx.adam(0.1)}


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


# ---------------------------------------------------------------- numbers


def test_surfaces_have_the_values_of_their_formulas() -> None:
    at = {
        "saddle": (3, 2, 5),
        "beale": (0, 0, 14.203125),
        "ravine": (2, -1, 27),
        "rosenbrock": (-1.2, 1, 24.2),
    }
    for name, (x, y, value) in at.items():
        assert float(SURFACES[name](jnp.array([x, y], float))) == pytest.approx(value)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_a_surface_starts_in_its_picture_and_is_flat_at_its_minimum(surface: gallery.Surface) -> None:
    (left, right), (low, high) = surface.bounds
    for x, y in (surface.start, surface.minimum or surface.start):
        assert left < x < right
        assert low < y < high
    if surface.minimum is not None:
        value, slope = jax.value_and_grad(surface)(jnp.array(surface.minimum))
        assert float(value) == 0.0
        np.testing.assert_array_equal(slope, 0.0)
    assert surface.replace(start=(0.5, 0.25)).start == (0.5, 0.25)
    assert hash(surface) == hash(surface.replace(start=surface.start))


def _by_hand(name: str, rate: float) -> int:
    """The count of updates by a loop in float64, each formula as it is printed."""
    point, m, v, updates = np.array(gallery.saddle.start), np.zeros(2), np.zeros(2), 0
    while point[0] ** 2 - point[1] ** 2 >= -1:
        g = 2 * point * [1, -1]
        updates += 1
        if name == "SGD":
            step = g
        elif name in ("momentum", "NAG"):
            m = 0.9 * m + g
            step = m if name == "momentum" else 0.9 * m + g
        elif name == "Adagrad":
            v = v + g**2
            step = g / (np.sqrt(v) + 1e-10)
        elif name == "RMSprop":
            v = 0.9 * v + 0.1 * g**2
            step = g / np.sqrt(v + 1e-8)
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            step = m / (1 - 0.9**updates) / (np.sqrt(v / (1 - 0.999**updates)) + 1e-8)
        point = point - rate * step
    return updates


def test_steps_to_escape_from_the_saddle() -> None:
    paths = gallery.trajectories(gallery.saddle, gallery.CLASSICS, 1500, (0.01, 0.1))
    counts = gallery.steps_to_escape(paths)
    assert counts == {
        "SGD": [466, 51],
        "momentum": [95, 24],
        "NAG": [89, 20],
        "Adagrad": [1440, 19],
        "RMSprop": [76, 4],
        "Adam": [80, 11],
    }
    assert counts == {name: [_by_hand(name, rate) for rate in (0.01, 0.1)] for name in gallery.CLASSICS}
    assert gallery.steps_to_escape(paths, below=-1e38)["Adagrad"] == [None, None]
    assert gallery.steps_to_escape(paths, below=2.0)["SGD"] == [0, 0]  # before the first update


def test_paths_of_gradient_descent_have_their_closed_form() -> None:
    rates = np.array([0.01, 0.1, 0.3])
    paths = gallery.trajectories(gallery.saddle, {"SGD": gradtx.sgd(1.0)}, 25, rates.tolist())
    assert paths.points.shape == (1, 3, 26, 2)
    t = np.arange(26)
    x, y = (1 - 2 * rates[:, None]) ** t, 1e-4 * (1 + 2 * rates[:, None]) ** t
    np.testing.assert_allclose(paths.points[0], np.stack([x, y], -1), rtol=1e-5)  # 25 float32 roundings
    np.testing.assert_allclose(paths.values[0], x**2 - y**2, rtol=2e-5, atol=1e-6)


def test_each_learning_rate_is_what_the_optimizer_does_with_it() -> None:
    tx = gradtx.adam(0.5)
    swept = gallery.trajectories(gallery.beale, [tx], 20, (0.01, 0.1))
    for i, rate in enumerate((0.01, 0.1)):
        alone = gallery.trajectories(gallery.beale, [tx.replace(learning_rate=rate)], 20)
        np.testing.assert_allclose(swept.points[0, i], alone.points[0, 0], rtol=1e-5)
    assert alone.rates is None
    assert swept.rates == (0.01, 0.1)


def test_optimizers_that_read_the_value_or_the_function_are_given_it() -> None:
    paths = gallery.trajectories(gallery.ravine, [gradtx.polyak_sgd(), gradtx.lbfgs()], 12)
    assert paths.labels == ("polyak_sgd()", "lbfgs()")
    np.testing.assert_array_less(paths.values[:, 0, -1], 0.05)  # from 2.75


def test_optimizers_that_take_single_examples_are_given_them() -> None:
    """Clipped at 0.5 without noise: the mean of the examples' clipped slopes; a surface alone is one."""
    tx = gradtx.dpsgd(0.1, 0.5, 0.0, seed=0)
    pair = gallery.ravine.replace(examples=lambda p: jnp.stack([p[0] ** 2, 50 * p[1] ** 2]))
    alone = 0.5 * np.array([-1.0, 15.0]) / np.hypot(1, 15)
    for surface, slope in ((gallery.ravine, alone), (pair, np.array([-0.25, 0.25]))):
        (points,) = gallery.trajectories(surface, {"private": tx}, 1).points[0]
        np.testing.assert_allclose(points[1] - points[0], -0.1 * slope, rtol=1e-5)


def test_a_sequence_is_labelled_with_its_calls() -> None:
    txs = [gradtx.sgd(0.1, momentum=0.9), gradtx.adam(0.1)]
    assert gallery.trajectories(gallery.saddle, txs, 1, (0.1,)).labels == ("sgd(λ, momentum=0.9)", "adam(λ)")
    assert gallery.trajectories(gallery.saddle, txs, 1).labels[1] == "adam(learning_rate=0.1)"


@pytest.mark.parametrize(
    ("optimizers", "steps", "rates", "message"),
    [
        (FEW, 0, None, r"steps=0\): expected at least 1"),
        ({}, 3, None, "no optimizer, or no learning rate"),
        (FEW, 3, (), "no optimizer, or no learning rate"),
        ([gradtx.cocob().replace(learning_rate=gradtx.constant_schedule(1.0))], 3, (0.1,), "learning_rate"),
    ],
)
def test_what_cannot_be_followed_is_refused(optimizers, steps, rates, message) -> None:
    with pytest.raises(ValueError, match=message):
        gallery.trajectories(gallery.saddle, optimizers, steps, rates)


# ---------------------------------------------------------------- pictures


def _lines(panel) -> dict[str, matplotlib.lines.Line2D]:
    return {line.get_label(): line for line in panel.lines if not line.get_label().startswith("_")}


def test_a_picture_has_a_panel_for_each_rate_and_all_its_labels(tmp_path: pathlib.Path) -> None:
    paths = gallery.trajectories(gallery.beale, gallery.CLASSICS, 30, (0.001, 0.01))
    figure = gallery.draw(paths)
    assert figure.get_suptitle() == "Beale's function"
    assert [panel.get_title() for panel in figure.axes] == ["λ = 0.001, 30 steps", "λ = 0.01, 30 steps"]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("x", "y")
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [*gallery.CLASSICS, "start", "minimum"]
    for j, panel in enumerate(figure.axes):
        lines = _lines(panel)
        np.testing.assert_array_equal(lines["Adam"].get_xydata(), paths.points[5, j])
        np.testing.assert_allclose(lines["minimum"].get_xydata(), [[3.0, 0.5]])
        assert (panel.get_xlim(), panel.get_ylim()) == gallery.beale.bounds
        assert len(panel.collections) >= 2  # shades and contours
    lines = [_lines(figure.axes[0])[label] for label in paths.labels]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 6
    figure.savefig(tmp_path / "beale.png", dpi=50)
    picture = matplotlib.image.imread(tmp_path / "beale.png")[..., :3]
    colourful = picture.max(-1) - picture.min(-1) > 0.3  # the paths; all else is grey
    assert all(half.mean() > 0.005 for half in np.split(colourful, [picture.shape[1] // 2], axis=1))


def test_what_leaves_the_picture_is_drawn_up_to_a_little_outside() -> None:
    paths = gallery.trajectories(gallery.beale, FEW, 50, (0.3,))
    assert not np.isfinite(paths.points[0]).all()  # SGD is thrown out
    (panel,) = gallery.draw(paths).axes
    drawn = _lines(panel)["SGD"].get_xydata()
    assert len(drawn) >= 2
    assert np.abs(drawn).max() < 20
    (across, up), (x, y) = drawn[1] - drawn[0], paths.points[0, 0, 1] - paths.points[0, 0, 0]
    assert across * y == pytest.approx(up * x)  # in the direction in which it goes
    assert np.isfinite(_lines(panel)["Adam"].get_xydata()).all()


def test_one_picture_with_each_optimizers_own_rate_and_no_marks() -> None:
    figure = gallery.draw(gallery.trajectories(gallery.saddle, FEW, 5), marks=False)
    assert [panel.get_title() for panel in figure.axes] == ["own learning rates, 5 steps"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["SGD", "Adam", "start"]


def test_the_animation_moves_and_leaves_no_figure_open(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot
    from matplotlib.figure import Figure
    from PIL import Image

    drawn, draw = [], Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda *args: drawn.append(1) or draw(*args))
    paths = gallery.trajectories(gallery.saddle, FEW, 40, (0.1,))
    gallery.animate(paths, tmp_path / "saddle.gif", frames=3, dpi=40)
    assert len(drawn) == 3 + 1  # each frame once, and the layout
    with Image.open(tmp_path / "saddle.gif") as film:
        assert film.n_frames == 3
        assert film.info["duration"] == 2000
        first = np.asarray(film.convert("RGB"), float)
        film.seek(2)
        last = np.asarray(film.convert("RGB"), float)
    assert (np.abs(first - last).max(-1) > 60).mean() > 0.005
    assert not pyplot.get_fignums()
    with pytest.raises(ValueError, match=r"frames=1\): expected at least 2"):
        gallery.animate(paths, tmp_path / "none.gif", frames=1)


def test_without_matplotlib_there_are_numbers_and_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    paths = gallery.trajectories(gallery.saddle, FEW, 2)
    with pytest.raises(ImportError, match=r"gallery.draw needs matplotlib: pip install 'gradtx\[plot\]'"):
        gallery.draw(paths)
    with pytest.raises(ImportError, match=r"gallery.animate needs matplotlib"):
        gallery.animate(paths, "never.gif")


def test_the_docs_pictures_are_made_by_a_command_and_small(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name, *_ in pictures_for_the_docs.STILLS]
    assert names == [*SURFACES]
    assert all(10_000 < (STATIC / f"{name}.png").stat().st_size < 150_000 for name in names)
    assert 50_000 < (STATIC / "saddle.gif").stat().st_size < 1_000_000
    monkeypatch.setattr(pictures_for_the_docs, "STILLS", (("ravine", gallery.ravine, 2, (0.01,)),))
    monkeypatch.setattr(pictures_for_the_docs, "CLASSICS", FEW)
    pictures_for_the_docs.main(tmp_path / "new", frames=2)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"ravine.png", "saddle.gif"}
    assert capsys.readouterr().out.count("\n") == 2
