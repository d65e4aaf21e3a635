"""Imports go down only: value, contract, pieces, optimizers, and on top what serves other libraries."""

from __future__ import annotations

import ast
import graphlib
import pathlib
import re
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "gradtx"

# A new module belongs on one of these floors; a module may import from its own floor and below.
FLOORS = (
    {
        "compiled",
        "dispatch",
        "docstrings",
        "donation",
        "hlo",
        "kinds",
        "latex",
        "numerics",
        "pairs",
        "serial",
        "tables",
        "tree",
        "value",
    },
    {
        "anatomy",
        "guard",
        "hoist",
        "hyperparameters",
        "keys",
        "leafwise",
        "masks",
        "naming",
        "packing",
        "runtime",
        "schedules",
        "step",
        "transformation",
    },
    {
        "clipping",
        "combine",
        "constraints",
        "curvature",
        "decay",
        "functions",
        "layers",
        "matrices",
        "moments",
        "noise",
        "movement",
        "norms",
        "microbatching",
        "packed",
        "pointwise",
        "privacy",
        "rate",
        "resume",
        "searches",
        "slow_copies",
        "states",
        "tunable",
        "wrappers",
    },
    {"optimizers"},
    {"citing", "explaining", "gallery", "interop", "laws", "memory", "pieces", "plot"},
    {"__main__", "command", "expression"},
)
ENTRANCE = "__init__"  # the public names; above every floor
READS_PUBLIC_NAMES = {"serial", "laws", "value"}  # look up what is exported, inside a function

OUTSIDE = {"jax", "numpy", *sys.stdlib_module_names}
DROPIN = {
    f"interop/optax/{m}" for m in ("adapters", "fast_and_slow", "injection", "lookup", "names", "pairs")
}
OPTAX = {"interop/bridge", "interop/optax", *DROPIN}  # the only places that may know Optax
CLIENTS = {"command", "expression", *DROPIN}  # use the public names, as a program does
COMMANDS = {"__main__", "command"}  # the only ones that may know click
PICTURES = {
    "gallery/__main__",
    "gallery/pictures",
    "plot",
}  # may know matplotlib and Pillow, inside functions


def _modules() -> dict[str, pathlib.Path]:
    """'moments' or 'optimizers/adam' -> its file. A folder's __init__ is the folder's name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).with_suffix("").as_posix()
        found[name.removesuffix("/__init__")] = file
    return found


MODULES = _modules()


def _floor(module: str) -> int:
    top = module.partition("/")[0]
    homes = [i for i, names in enumerate(FLOORS) if top in names]
    assert len(homes) == 1, f"gradtx/{module}.py stands on no floor, or on two: place it in FLOORS"
    return homes[0]


def _imports(module: str) -> tuple[set[str], set[str], set[str]]:
    """What a module imports: modules of gradtx, the same inside functions, and other packages."""
    tree = ast.parse(MODULES[module].read_text())
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    top, late, outside = set(), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            if target.partition(".")[0] != "gradtx":
                testing = target.startswith("numpy.testing")  # belongs to tests
                outside.add("numpy.testing" if testing else target.partition(".")[0])
                continue
            path = target.replace(".", "/").removeprefix("gradtx").removeprefix("/")
            own = path if path in MODULES else path.rpartition("/")[0] or ENTRANCE
            (late if id(node) in inner else top).add(own)
    return top, late, outside


def test_the_parser_sees_the_imports() -> None:
    top, _, outside = _imports("optimizers/adam")
    assert {"combine", "moments", "transformation", "value"} <= top
    assert "tree" in _imports("norms")[0]  # `from gradtx import tree`
    assert _imports("serial")[1] == {ENTRANCE}  # `import gradtx`, late
    assert "jax" in _imports("norms")[2]
    assert "jax" not in outside


def test_the_build_notes_show_the_floors() -> None:
    rows = re.findall(
        r"^\| (\d) \| ([^|]*) \|", (PACKAGE.parent / "BUILD_NOTES.md").read_text(), re.MULTILINE
    )
    assert [(int(floor), set(re.findall(r"`(\w+)`", names))) for floor, names in rows] == [*enumerate(FLOORS)]


@pytest.mark.parametrize("module", [m for m in MODULES if m != ENTRANCE])
def test_imports_go_down_only(module: str) -> None:
    top, late, outside = _imports(module)
    floor = _floor(module)
    for other in top:
        if other == ENTRANCE:
            assert module in CLIENTS, f"{module} imports the public names, which are above it"
            continue
        assert _floor(other) <= floor, f"{module} (floor {floor}) imports {other} (floor {_floor(other)})"
    if late:
        assert late == {ENTRANCE}, f"{module} imports {late} inside a function"
        assert module in READS_PUBLIC_NAMES
    allowed = OUTSIDE | ({"optax"} if module in OPTAX else set())
    allowed |= {"matplotlib", "PIL"} if module in PICTURES else set()
    allowed |= {"click"} if module in COMMANDS else set()
    assert outside <= allowed, f"{module} imports {outside - allowed}; the run-time dependency is jax alone"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: _imports(module)[0] for module in MODULES}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


def test_nothing_imports_optax_or_flax_at_run_time() -> None:
    """`import gradtx` needs jax and what jax needs; interop is imported when it is asked for."""
    reached, queue = set(), [ENTRANCE]
    while queue:
        module = queue.pop()
        if module not in reached:
            reached.add(module)
            queue += _imports(module)[0]
    assert "optimizers/adam" in reached
    assert not {m for m in reached if m.startswith("interop/") or m in COMMANDS}


def test_every_floor_is_lived_on() -> None:
    """A name in FLOORS without a file would let a file of that name stand anywhere."""
    tops = {module.partition("/")[0] for module in MODULES}
    assert set().union(*FLOORS) <= tops
