"""The README is true: its code runs and prints what it says, its commands and tables fit the project."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib
import types

import jax.numpy as jnp
import pytest

import gradtx
from tests import markdown
from tests.test_clients import REAL_ONLY

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


BLOCKS = markdown.blocks(README)
COMMANDS = [block.text.strip() for block in BLOCKS if block.language == "bash"]


def _rows(heading: str) -> list[list[str]]:
    """The rows of the first table below the line that starts with `heading`: cells as they are."""
    below = README[README.index(f"\n{heading}") :]
    table = re.search(r"^\|[-|]+\|\n((?:\|.*\|\n)+)", below, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.group(1).splitlines()]


def _code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_python_blocks_run_in_order_and_print_what_the_text_blocks_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {block.language for block in BLOCKS} == {"bash", "python", "text"}
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)  # where pickle looks for its classes
    scope = vars(module)
    markdown.run(BLOCKS, scope, "README.md")
    assert scope["step"]._cache_size() == 1  # two learning rates: "not compiled again"


def _without_places(x):
    """A composition without the places that its chains keep for terms that are off."""
    if isinstance(x, gradtx.chain):
        parts = [_without_places(part) for part in x.parts if part != gradtx.identity()]
        return parts[0] if len(parts) == 1 else gradtx.chain(*parts)
    if isinstance(x, tuple):
        return tuple(map(_without_places, x))
    if isinstance(x, gradtx.GradientTransformation):
        return x.replace(**{f.name: _without_places(getattr(x, f.name)) for f in dataclasses.fields(x)})
    return x


def test_the_family_table_is_what_each_optimizer_expands_to() -> None:
    listed = set()
    for left, right in _rows("## The family"):
        (call,), (composition,) = _code(left), _code(right)
        tx, expected = (eval(text, vars(gradtx) | {"λ": 0.123}) for text in (call, composition))
        assert _without_places(tx.expand()) == _without_places(expected), f"{call} is {tx.expand()}"
        listed.add(type(tx).__name__)
    optimizers = {
        name
        for name, thing in vars(gradtx).items()
        if inspect.isclass(thing)
        and thing.__module__.startswith("gradtx.optimizers.")
        and "learning_rate" in getattr(thing, "__dataclass_fields__", {})
        and thing.is_composite  # a piece may have the rate in it
    }
    assert listed == optimizers


def test_the_optimizers_without_complex_parameters_are_named() -> None:
    (named,) = re.findall(r"complex for all but (.*?)whose docstrings", README, re.DOTALL)
    assert _code(named) == sorted(name for name in REAL_ONLY if not name.startswith("scale_by_"))


def test_the_conventions_are_options() -> None:
    """Each option can be written, and each of its keywords matters: without it, the value is another."""
    params = {"w": jnp.ones(3)}
    tx = gradtx.sgd(0.1, momentum=0.9)
    scope = vars(gradtx) | {"λ": 0.123, "params": params, "tx": tx, "state": tx.init(params)}
    options = [
        option for _, cell in _rows("Where authors, texts and libraries differ") for option in _code(cell)
    ]
    assert len(options) >= 10
    for option in options:
        made = eval(option, scope)
        call = ast.parse(option, mode="eval")
        for keyword in call.body.keywords.copy():
            call.body.keywords.remove(keyword)
            with contextlib.suppress(ValueError):  # it may need the others
                assert eval(compile(call, option, "eval"), scope) != made, f"{keyword.arg} in {option}"
            call.body.keywords.append(keyword)


def test_the_commands_name_what_exists() -> None:
    assert len(COMMANDS) == 2
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    scripts = []
    for command in COMMANDS:
        assert "\n" not in command
        make, install, run = (shlex.split(part) for part in command.split(" && "))
        assert make == ["python3", "-m", "venv", ".venv"]
        assert install[:4] == [".venv/bin/pip", "install", "-q", "-e"]
        assert re.fullmatch(r"\.\[(\w+)\]", install[4]).group(1) in extras
        scripts.append(run)
    assert scripts[0][0] == ".venv/bin/python"
    assert (ROOT / scripts[0][1]).is_file()
    assert scripts[1] == [".venv/bin/pytest", "-n", "auto"]
    assert {"pytest", "pytest-xdist"} <= {re.split(r"[<>=[]", name)[0] for name in extras["test"]}


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^set -euo pipefail$", script, re.MULTILINE)
    taken = re.search(r"^test_command=\$\((.*)\)$", script, re.MULTILINE).group(1)
    line = subprocess.run(["bash", "-c", taken], cwd=ROOT, capture_output=True, text=True, check=True)
    assert line.stdout.strip() == COMMANDS[1]
    assert "pip install" not in script  # nothing is installed beside the command


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:examples|gradtx|tests)/[\w/.<>]+)`", README))))
def test_the_paths_exist(path: str) -> None:
    assert (ROOT / path.replace("<name>", "adam")).exists()


def test_the_names_exist() -> None:
    """Every `name` or `name(...)` in the text is gradtx's, or known to come from elsewhere."""
    elsewhere = {"TrainState", "NamedTuple", "update", "as_optax", "from_optax", "step"}
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    names = {m.group(1) for text in _code(prose) if (m := re.match(r"(\w+)(?:\(|$)", text))}
    assert {"ema", "add_l2_penalty", "scale_by_learning_rate"} <= names
    assert not {name for name in names - elsewhere if not hasattr(gradtx, name) and name != "print"}
