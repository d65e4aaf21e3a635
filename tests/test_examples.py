"""The examples run as their readers run them: each by itself, in a folder of its own."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import matplotlib.image
import numpy as np
import pytest

import gradtx
from tests.compiling import QUICK, flags

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(file.name for file in (ROOT / "examples").glob("*.py"))


# Runs each script as if alone, in a folder of its own, and goes on with the next if one fails.
DRIVER = """
import contextlib, os, pathlib, runpy, sys, traceback

for script in map(pathlib.Path, sys.argv[1:]):
    os.chdir(pathlib.Path(os.environ["FOLDERS"], script.stem))
    failed, sys.argv = 1, [str(script)]
    with (
        open("stdout", "w") as out,
        open("stderr", "w", encoding="utf-8") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
            failed = 0
        except SystemExit as stop:
            print(stop, file=err)
        except BaseException:
            traceback.print_exc(file=err)
    pathlib.Path("failed").write_text(str(failed))
"""


class Done(NamedTuple):
    stdout: str
    stderr: str
    folder: pathlib.Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What they left, each in its folder: one process, because importing took a quarter of the time."""
    folders = tmp_path_factory.mktemp("examples")
    for name in EXAMPLES:
        (folders / name).with_suffix("").mkdir()
    # One device, as a reader has, and a compiler that is quick.
    env = os.environ | {"XLA_FLAGS": flags(QUICK | {"xla_backend_optimization_level": 1})}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *(str(ROOT / "examples" / name) for name in EXAMPLES)],
        env=env | {"FOLDERS": str(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return folders


def _done(name: str, folders: pathlib.Path) -> Done:
    folder = (folders / name).with_suffix("")
    out, err, failed = ((folder / file).read_text() for file in ("stdout", "stderr", "failed"))
    assert failed == "0", out + err
    assert "Warning" not in err, err
    return Done(out, err, folder)


def _first_value(text: str) -> gradtx.GradientTransformation:
    """The optimizer that the output begins with: a call, up to the bracket in the first column."""
    return eval(re.match(r"\w+\(.*?\n\)\n", text, re.DOTALL).group(), vars(gradtx).copy())


def test_flax_digits_reads_97_percent_and_draws_it(folders: pathlib.Path) -> None:
    done = _done("flax_digits.py", folders)
    assert isinstance(_first_value(done.stdout), gradtx.chain)
    assert "12/12" in done.stderr  # the progress bar's end
    rows = re.findall(r"^(.{12}) +([\d.]+)% +([\d.]+) +([\d,]+) +(\d+)$", done.stdout, re.MULTILINE)
    assert [name.strip() for name, *_ in rows] == ["from pieces", "gradtx.adamw", "optax.adamw"]
    accuracy, loss, state_bytes, traces = zip(*(row[1:] for row in rows), strict=True)
    assert min(map(float, accuracy)) >= 97
    assert max(map(float, loss)) < 0.1
    assert float(loss[1]) == pytest.approx(float(loss[2]), abs=5e-3)  # two AdamWs: one up to rounding
    parameters = (9 * 16 + 16) + (9 * 16 * 32 + 32) + (512 * 64 + 64) + (64 * 10 + 10)
    # Two moments in float32, and single numbers. Optax's: two counters. Ours: three counters, the current
    # learning rate, and the decays of two averages.
    assert [int(b.replace(",", "")) for b in state_bytes] == [8 * parameters + 4 * n for n in (6, 6, 2)]
    # Built again half-way: equal values share the compiled step, Optax's closures do not.
    assert traces == ("1", "1", "2")

    picture = matplotlib.image.imread(done.folder / "out" / "flax_digits.png")
    assert picture.shape[:2] == (540, 1800)
    for panel in np.split(picture[..., :3], 3, axis=1):
        assert (panel.sum(-1) < 1.5).mean() > 0.01  # each panel has ink


def test_flax_nnx_reads_97_percent_in_fewer_lines(folders: pathlib.Path) -> None:
    done = _done("flax_nnx.py", folders)
    assert isinstance(_first_value(done.stdout), gradtx.chain)
    assert float(re.search(r"test accuracy ([\d.]+)%", done.stdout).group(1)) >= 97
    lines = {name: len((ROOT / "examples" / name).read_text().splitlines()) for name in EXAMPLES}
    assert lines["flax_nnx.py"] < lines["flax_digits.py"]


def test_compose_checks_and_trains_a_new_optimizer(folders: pathlib.Path) -> None:
    done = _done("compose.py", folders)
    assert re.search(r"^layerwise_laprop\(.*\) keeps \d+ laws\.$", done.stdout, re.MULTILINE)
    losses = [float(x) for x in re.findall(r"^step +\d+: loss ([\d.]+)$", done.stdout, re.MULTILINE)]
    assert losses[0] > 2.2  # ln 10 = 2.3: it starts by guessing
    assert losses[-1] < 0.1
    source = (ROOT / "examples" / "compose.py").read_text()
    definition = re.search(r"^class layerwise_laprop.*?(?=\n\n\n)", source, re.DOTALL | re.MULTILINE)
    assert definition.group().count("\n") + 1 <= 15


def test_sweep_trains_all_rates_at_once_and_draws_the_losses(folders: pathlib.Path) -> None:
    done = _done("sweep.py", folders)
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.e+-]+) +([\d.]+) decades$", done.stdout, re.MULTILINE)
    best = {name: float(loss) for name, loss, *_ in rows}
    width = {name: float(decades) for name, *_, decades in rows}
    assert [*best] == ["SGD", "momentum", "Adam"]
    assert max(best.values()) < 0.5  # each one learns, at its own rate
    assert all(0.25 <= w <= 4 for w in width.values())  # a range of rates, and not of all that are tried
    picture = matplotlib.image.imread(done.folder / "out" / "sweep.png")
    assert (picture[..., :3].sum(-1) < 2.0).mean() > 0.005  # ink


def test_every_example_is_run() -> None:
    here = pathlib.Path(__file__).read_text()
    assert EXAMPLES
    assert not [name for name in EXAMPLES if f'_done("{name}", folders)' not in here]
