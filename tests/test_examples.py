"""The examples run as their readers run them: each in a process and a folder of its own."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

import gradtx
from tests.compiling import QUICK, flags

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(file.name for file in (ROOT / "examples").glob("*.py"))


def _run(name: str, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    # One device, as a reader has, and a compiler that is quick.
    env = os.environ | {"XLA_FLAGS": flags(QUICK | {"xla_backend_optimization_level": 1})}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done


def _first_value(text: str) -> gradtx.GradientTransformation:
    """The optimizer that the output begins with: a call, up to the bracket in the first column."""
    return eval(re.match(r"\w+\(.*?\n\)\n", text, re.DOTALL).group(), vars(gradtx).copy())


def test_flax_digits_reads_97_percent_and_draws_it(tmp_path: pathlib.Path) -> None:
    done = _run("flax_digits.py", tmp_path)
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

    picture = matplotlib.image.imread(tmp_path / "out" / "flax_digits.png")
    assert picture.shape[:2] == (540, 1800)
    for panel in np.split(picture[..., :3], 3, axis=1):
        assert (panel.sum(-1) < 1.5).mean() > 0.01  # each panel has ink


def test_flax_nnx_reads_97_percent_in_fewer_lines(tmp_path: pathlib.Path) -> None:
    done = _run("flax_nnx.py", tmp_path)
    assert isinstance(_first_value(done.stdout), gradtx.chain)
    assert float(re.search(r"test accuracy ([\d.]+)%", done.stdout).group(1)) >= 97
    lines = {name: len((ROOT / "examples" / name).read_text().splitlines()) for name in EXAMPLES}
    assert lines["flax_nnx.py"] < lines["flax_digits.py"]


def test_compose_checks_and_trains_a_new_optimizer(tmp_path: pathlib.Path) -> None:
    done = _run("compose.py", tmp_path)
    assert re.search(r"^layerwise_laprop\(.*\) keeps \d+ laws\.$", done.stdout, re.MULTILINE)
    losses = [float(x) for x in re.findall(r"^step +\d+: loss ([\d.]+)$", done.stdout, re.MULTILINE)]
    assert losses[0] > 2.2  # ln 10 = 2.3: it starts by guessing
    assert losses[-1] < 0.1
    source = (ROOT / "examples" / "compose.py").read_text()
    definition = re.search(r"^class layerwise_laprop.*?(?=\n\n\n)", source, re.DOTALL | re.MULTILINE)
    assert definition.group().count("\n") + 1 <= 15


def test_sweep_trains_all_rates_at_once_and_draws_the_losses(tmp_path: pathlib.Path) -> None:
    done = _run("sweep.py", tmp_path)
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.e+-]+) +([\d.]+) decades$", done.stdout, re.MULTILINE)
    best = {name: float(loss) for name, loss, *_ in rows}
    width = {name: float(decades) for name, *_, decades in rows}
    assert [*best] == ["SGD", "momentum", "Adam"]
    assert max(best.values()) < 0.5  # each one learns, at its own rate
    assert all(0.25 <= w <= 4 for w in width.values())  # a range of rates, and not of all that are tried
    picture = matplotlib.image.imread(tmp_path / "out" / "sweep.png")
    assert (picture[..., :3].sum(-1) < 2.0).mean() > 0.005  # ink


def test_every_example_is_run() -> None:
    here = pathlib.Path(__file__).read_text()
    assert EXAMPLES
    assert not [name for name in EXAMPLES if f'_run("{name}", tmp_path)' not in here]
