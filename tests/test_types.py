"""What type checkers, and so editors, see: constructors with their fields, and a package without errors."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROGRAMS = ("program.py", "dropin.py")
"""Programs that are checked as a user's are: strictly, and away from the sources."""
CONSTRUCTORS = ROOT / "tests" / "types" / "constructors.py"


@pytest.fixture(scope="module")
def found() -> set[tuple[str, int, str]]:
    """(file, line, code) of every error in the package and in the constructors' file."""
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "gradtx", str(CONSTRUCTORS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr  # 2: mypy itself failed
    assert "checked" in run.stdout or "no issues" in run.stdout, run.stdout
    errors = re.findall(r"^(.+?):(\d+): error: .*\[([a-z-]+)\]$", run.stdout, re.MULTILINE)
    assert len(errors) == run.stdout.count(": error:"), run.stdout
    return {(file, int(line), code) for file, line, code in errors}


def test_the_package_has_no_type_errors(found: set[tuple[str, int, str]]) -> None:
    assert not {error for error in found if not error[0].startswith("tests")}


def test_wrong_constructors_are_flagged_and_right_ones_are_not(found: set[tuple[str, int, str]]) -> None:
    lines = CONSTRUCTORS.read_text().splitlines()
    expected = {
        (n, mark.group(1)) for n, line in enumerate(lines, 1) if (mark := re.search(r"# error: (\S+)$", line))
    }
    assert len(expected) >= 13  # the marks were found
    assert {(line, code) for file, line, code in found if file.startswith("tests")} == expected


# ---------------------------------------------------------------- a user's program, strictly

FOLLOWS = ("reportUnknown", "reportUnused")  # what pyright says besides of a line that is wrong already


def away(folder: pathlib.Path, *arguments: str) -> str:
    """What a checker says in a folder where gradtx is not a source but an installed package."""
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return run.stdout


def marked(program: str, checker: int) -> set[tuple[int, str]]:
    """(line, code) of what `# error: mypy's pyright's` announces; 0 is mypy, 1 pyright."""
    lines = (ROOT / "tests" / "types" / program).read_text().splitlines()
    marks = ((n, re.search(r"# error: (\S+) (\S+)$", line)) for n, line in enumerate(lines, 1))
    return {(n, mark.group(checker + 1)) for n, mark in marks if mark}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in PROGRAMS:
        (tmp_path / name).write_text((ROOT / "tests" / "types" / name).read_text())
    return tmp_path


@pytest.mark.parametrize("program", PROGRAMS)
def test_mypy_strict_takes_a_users_program(folder: pathlib.Path, program: str) -> None:
    said = away(folder, "mypy", "--strict", "--no-pretty", program)
    found = {
        (int(line), code)
        for line, code in re.findall(r"^.+?:(\d+): error: .*\[([a-z-]+)\]$", said, re.MULTILINE)
    }
    assert found == marked(program, 0), said
    assert len(found) >= 5


def test_pyright_takes_a_users_programs(folder: pathlib.Path) -> None:
    config = {"typeCheckingMode": "strict", "include": list(PROGRAMS)}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    said = away(folder, "basedpyright", "--pythonpath", sys.executable, "--outputjson")
    for program in PROGRAMS:
        found = {
            (d["range"]["start"]["line"] + 1, d["rule"])
            for d in json.loads(said)["generalDiagnostics"]
            if pathlib.Path(d["file"]).name == program
            and d["severity"] == "error"  # not that the drop-in's modules have stubs and no file of code
        }
        wrong = marked(program, 1)
        follows = {x for x in found if x[1].startswith(FOLLOWS) and x[0] in {line for line, _ in wrong}}
        assert found - follows == wrong


def test_every_public_type_is_known(tmp_path: pathlib.Path) -> None:
    """A bare `tuple` in a signature is an unknown type to strict programs. What holds Optax's types is not
    asked."""
    arguments = ("--verifytypes", "gradtx", "--ignoreexternal", "--outputjson")
    said = away(tmp_path, "basedpyright", "--pythonpath", sys.executable, *arguments)
    symbols = [x for x in json.loads(said)["typeCompleteness"]["symbols"] if x["isExported"]]
    assert len(symbols) > 4000
    unknown = {x["name"] for x in symbols if not (x["isTypeKnown"] or x["isTypeAmbiguous"])}
    assert {name for name in unknown if not name.startswith("gradtx.interop.")} == set()


def test_the_contract_says_what_it_takes() -> None:
    """`Any` says nothing: at most 20 of a thousand lines of the core do."""
    files = [file.read_text() for file in (ROOT / "gradtx" / "contract").glob("*.py")]
    nodes = (node for text in files for node in ast.walk(ast.parse(text)))
    said = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    assert 1000 * said < 20 * sum(text.count("\n") for text in files)
