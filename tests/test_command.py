"""The command line, and the reader of expressions, which evaluates nothing."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner, Result

import gradtx
from gradtx import gallery
from gradtx.command import cli
from gradtx.values.expression import read_value
from tests import markdown
from tests.laws.test_laws import HOLD_FUNCTIONS, SCHEDULES, TRANSFORMATIONS, build

ROOT = pathlib.Path(__file__).parent.parent


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize("name", [n for n in (TRANSFORMATIONS | SCHEDULES) if n not in HOLD_FUNCTIONS])
def test_it_reads_what_repr_writes(name: str) -> None:
    value = build((TRANSFORMATIONS | SCHEDULES)[name])
    assert read_value(repr(value)) == value


def test_it_reads_literals_and_the_name_of_the_package() -> None:
    assert read_value(" gradtx.adam(-1e-3, eps=+1e-6) ") == gradtx.adam(-1e-3, eps=1e-6)
    assert read_value("piecewise_constant_schedule(0.1, {2: 0.5})") == gradtx.piecewise_constant_schedule(
        0.1, {2: 0.5}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adm(1e-3)", "gradtx has no 'adm'. Did you mean 'adam'?"),
        ("adam", "'adam' stands alone: expected a call or a literal. Call it: adam(...)."),
        ("adam(rate)", "'rate' stands alone"),
        ("adam(1e-3", "this is not an expression"),
        ("", "this is not an expression"),
        ("1e-3", "expected a call such as adamw(1e-3), not '1e-3'"),
        ("__import__('os').system('false')", "is not a name in gradtx"),
        ("adam(__import__('os'))", "gradtx has no '__import__'"),
        ("gradtx.laws.math.sqrt(2)", "is not a name in gradtx"),
        ("adam(*(1e-3,))", "* and ** are not understood"),
        ("adam(**{'learning_rate': 1e-3})", "* and ** are not understood"),
        ("adam(10 ** 10 ** 10)", "only calls of gradtx's names, and literals"),
        ("scale((lambda: 1)())", "is not a name in gradtx"),
        ("adam([x for x in (1,)])", "only calls of gradtx's names"),
        ("from_json('{}')", "gradtx has no 'from_json'"),
        ("Schedule()", "gradtx has no 'Schedule'"),
        ("adam(b'1')", "only calls of gradtx's names"),
        ("(" * 5000 + ")" * 5000, "this is not an expression"),
        ("-" * 50_000 + "1", "this is not an expression"),
        ("adam(1e-3)" + " " * 100_000 + "#", "more than 100000 characters"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_value(text)


def test_the_constructors_say_what_is_wrong_with_arguments() -> None:
    with pytest.raises(ValueError, match=r"ema\(decay=2.*must be in"):
        read_value("ema(2.0)")
    with pytest.raises(TypeError, match="learning_rate"):
        read_value("adam()")


# ---------------------------------------------------------------- commands


def test_list_shows_what_is_exported_by_kind() -> None:
    shown = run("list")
    assert shown.exit_code == 0
    for name in TRANSFORMATIONS | SCHEDULES:
        assert f"  {name} " in shown.output
    assert (
        shown.output.index("optimizers\n")
        < shown.output.index("pieces\n")
        < shown.output.index("schedules\n")
    )
    only = run("list", "adam", "--kind", "optimizers").output
    assert "  adamw  " in only
    assert "\n  scale_by_adam " not in only
    assert "\n  lion " not in only
    none = run("list", "nothing")
    assert none.exit_code == 1
    assert "nothing here has 'nothing' in its name" in none.output


def test_explain_has_three_forms() -> None:
    explanation = gradtx.explain(gradtx.adamw(1e-3))
    assert run("explain", "adamw(1e-3)").output == explanation.text + "\n"
    assert run("explain", "adamw(1e-3)", "--latex").output == explanation.latex + "\n"
    assert run("explain", "adamw(1e-3)", "--markdown").output == explanation.markdown + "\n"


def test_cite() -> None:
    assert run("cite", "lion(1e-4)").output == gradtx.cite(gradtx.lion(1e-4)) + "\n"


def test_memory() -> None:
    shown = run(
        *("memory", "adam(1e-3)", "--params", "7.5e9", "--dtype", "bfloat16", "--master", "float32"),
        *("--devices", "64", "--zero", "1"),
    )
    assert shown.exit_code == 0
    assert shown.output.splitlines()[0] == "7,500,000,000 parameters on 64 devices, ZeRO stage 1"
    assert shown.output.splitlines()[-1].split() == ["total", "16", "120", "GB", "31.4", "GB"]


def test_plot_schedule(tmp_path) -> None:
    picture = tmp_path / "rate.png"
    schedules = ("cosine_decay_schedule(1e-3, 100)", "linear_schedule(1e-3, 0.0, 100)")
    shown = run("plot-schedule", *schedules, "--steps", "100", "--output", str(picture))
    assert (shown.exit_code, shown.output) == (0, f"{picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_race(tmp_path) -> None:
    own = run("race", "sgd(0.1)", "adam(0.1)", "--steps", "100")
    paths = gallery.trajectories(gallery.saddle, (gradtx.sgd(0.1), gradtx.adam(0.1)), 100)
    (first,), (second,) = gallery.steps_to_escape(paths).values()
    assert own.output.splitlines() == [
        "Saddle, x² - y²: steps until below -1, of 100",
        "                         steps",
        f"sgd(learning_rate=0.1)   {first:>5}",
        f"adam(learning_rate=0.1)  {second:>5}",
    ]
    picture = tmp_path / "race.gif"
    rates = ("--rate", "0.01", "--rate", "0.1", "--surface", "ravine", "--steps", "10", "--below", "0.1")
    several = run("race", "sgd(0.1)", *rates, "--output", str(picture))
    assert several.output.splitlines()[1:] == [
        "        λ = 0.01  λ = 0.1",
        several.output.splitlines()[2],
        str(picture),
    ]
    assert several.output.splitlines()[2].split()[0] == "sgd(λ)"
    assert "never" in several.output
    assert picture.read_bytes().startswith(b"GIF")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("race", "linear_schedule(0.1, 0.0, 3)"), "expected transformations"),
        (("race", "scale(0.1)", "--rate", "0.1"), "learning_rate"),
        (("race", "--surface", "plain"), "'plain' is not one of"),
        (("explain", "adm(1e-3)"), "Did you mean 'adam'?"),
        (("explain", "ema(2.0)"), "must be in"),
        (("memory", "adam(1e-3)"), "Missing option '--params'"),
        (("memory", "adam(1e-3)", "--params", "many"), "'many' is not a whole number"),
        (("memory", "adam(1e-3)", "--params", "inf"), "'inf' is not a whole number"),
        (("memory", "adam(1e-3)", "--params", "10", "--dtype", "float33"), "float33"),
        (("memory", "linear_schedule(0.1, 0.0, 3)", "--params", "10"), "expected a transformation"),
        (("memory", "masked(trace(0.9), 'kernel$')", "--params", "10"), "kernel$"),
        (("plot-schedule", "adam(1e-3)"), "must be a schedule"),
        (("explain", "by_path(('.*', True))"), "expected a transformation or a schedule"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments, message) -> None:
    shown = run(*arguments)
    assert shown.exit_code in (1, 2)
    assert isinstance(shown.exception, SystemExit)
    assert message in " ".join(shown.output.split())


PAGE = (ROOT / "docs" / "explaining.md").read_text()
LINES = [
    line for block in markdown.blocks(PAGE) if block.language == "bash" for line in block.text.splitlines()
]


@pytest.mark.parametrize("line", LINES)
def test_the_page_shows_commands_that_run(line: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # pictures go there
    program, *arguments = shlex.split(line)
    assert (program, run(*arguments).exit_code) == ("gradtx", 0)


def test_it_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradtx", "explain", "sgd(0.1)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == gradtx.explain(gradtx.sgd(0.1)).text + "\n"


def test_without_click_it_names_the_extra(tmp_path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')")
    program = "import runpy, sys; sys.path.insert(0, sys.argv.pop()); "
    program += "runpy.run_module('gradtx', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "needs click: pip install 'gradtx[cli]'" in done.stderr


def test_the_script_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"gradtx": "gradtx.__main__:main"}
    assert any(name.startswith("click") for name in project["optional-dependencies"]["cli"])
    assert not any(name.startswith("click") for name in project["dependencies"])


# ---------------------------------------------------------------- what nobody should write


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plot-schedule", "constant_schedule(0.1)", "--output", "/nowhere/at/all.png"), "no folder"),
        (("plot-schedule", "constant_schedule(0.1)", "--output", "a\0.png"), "no folder"),
        (("plot-schedule", "constant_schedule(0.1)", "--output", "picture"), "ends in .png, .svg, .pdf"),
        (("plot-schedule", "constant_schedule(0.1)", "--steps", "1e18"), "from 1 to 1e+07"),
        (("race", "--output", "/nowhere/at/all.gif"), "no folder"),
        (("race", "--steps", "1e18"), "from 1 to 1e+06"),
        (("race", "--steps", "1e400"), "from 1 to 1e+06"),
        (("race", "--rate", "nan"), "not a finite number"),
        (("race", "--rate", "1e400"), "not a finite number"),
        (("race", "--below", "inf"), "not a finite number"),
        (("memory", "adam(1e-3)", "--params", "1e300"), "from 1 to 1e+15"),
        (("memory", "adam(1e-3)", "--params", "9" * 400), "from 1 to 1e+15"),
        (("memory", "adam(1e-3)", "--params", "9", "--dtype", "S1000000000"), "expected floating-point"),
        (("explain", "adam(1e-3, b1=0.9, b1=0.8)"), "the argument b1 is there twice"),
        (("explain", "piecewise_constant_schedule(0.1, {2: 0.5, 2: 0.7})"), "key 2 is there twice"),
        (("explain", "a\0dam(1e-3)"), "not an expression"),
        *(
            (("explain", expression), "must be")
            for number in ("9" * 400, "1e400", "-1e400", "1e300", "2147483648")
            for expression in (f"adam(-{number})".replace("--", "-"), f"lookahead(adam(0.1), {number}, 0.5)")
            if number != "2147483648" or "look" in expression
        ),
    ],
    ids=str,
)
def test_what_means_nothing_is_a_sentence_and_exit_status_2(arguments: tuple, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.exception, result.output)
    told = " ".join(result.output.replace("│", " ").split())
    assert message in told
    assert isinstance(result.exception, SystemExit)
