"""Imports go down only: from values up to the command line, wing by wing."""

from __future__ import annotations

import ast
import graphlib
import importlib
import pathlib
import re
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "gradtx"

# The wings, from the ground up: a module imports from its own wing and from floors below.
FLOORS = (
    {"values"},
    {"numerics"},
    {"tree", "schedules"},
    {"rules"},
    {"contract"},
    {"combine", "states", "layouts", "searches", "training"},
    {"atoms", "matrices", "laws", "reports"},
    {"wrappers", "telemetry"},
    {"optimizers"},
    {"gallery"},
    {"__init__"},
    {"interop", "command"},
    {"__main__"},
)
# Within the contract, which is the one wing that has an order of its own.
CONTRACT = (
    {"hyperparameters", "names", "reach"},
    {"protocol"},
    {"clock", "mirror", "running", "sweeps"},
    {"extras"},
    {"facts"},
    {"arriving", "hoist", "leafwise", "noted", "runtime"},
    {"boundary"},
    {"transformation"},
    {"foreign"},
    {"__init__"},
)
ENTRANCE = "__init__"  # the public names

OUTSIDE = {"jax", "numpy", *sys.stdlib_module_names}
OPTAX = ("interop/bridge", "interop/optax")  # the only places that may know Optax
COMMANDS = {"__main__", "command"}  # the only ones that may know click
PICTURES = {"gallery/__main__", "gallery/pictures", "reports/plot"}  # matplotlib and Pillow, in functions


def _modules() -> dict[str, pathlib.Path]:
    """'tree/maps' or 'optimizers/adam' -> its file. A folder's __init__ is the folder's name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).with_suffix("").as_posix()
        found[name.removesuffix("/__init__")] = file
    return found


MODULES = _modules()


def _place(name: str, floors: tuple[set[str], ...]) -> int:
    homes = [i for i, names in enumerate(floors) if name in names]
    assert len(homes) == 1, f"{name} stands on no floor, or on two"
    return homes[0]


def _wing(module: str) -> str:
    return module.partition("/")[0]


def _imports(module: str) -> tuple[set[str], set[str], set[str]]:
    """What a module imports: modules of gradtx, the same where it runs later or never, other packages."""
    tree = ast.parse(MODULES[module].read_text())
    later = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef)
        or (isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING"))
        for node in ast.walk(block)
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
            (late if id(node) in later else top).add(own)
    return top, late, outside


def test_the_parser_sees_the_imports() -> None:
    top, _, outside = _imports("optimizers/adam")
    assert {"combine", "atoms/moments", "contract/transformation", "values/value"} <= top
    assert "tree" in _imports("atoms/norms")[0]  # `from gradtx import tree`
    assert _imports(ENTRANCE)[1] == {"gallery", "interop", "laws", "reports/plot"}  # when asked for
    assert "jax" in _imports("atoms/norms")[2]
    assert "jax" not in outside


def test_the_build_notes_show_the_floors() -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([^|]*) \|", (PACKAGE.parent / "BUILD_NOTES.md").read_text(), re.MULTILINE
    )
    assert [(int(floor), set(re.findall(r"`(\w+)`", names))) for floor, names in rows] == [*enumerate(FLOORS)]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    top, late, outside = _imports(module)
    wing = _wing(module)
    floor = _place(wing, FLOORS)
    for other in top:
        below = _place(_wing(other), FLOORS)
        assert _wing(other) == wing or below < floor, (
            f"{module} (floor {floor}) imports {other} (floor {below})"
        )
    assert not late or module == ENTRANCE, f"{module} imports {late} inside a function"
    allowed = OUTSIDE | ({"optax"} if module.startswith(OPTAX) else set())
    allowed |= {"matplotlib", "PIL"} if module in PICTURES else set()
    allowed |= {"click"} if module in COMMANDS else set()
    assert outside <= allowed, f"{module} imports {outside - allowed}; the run-time dependency is jax alone"


@pytest.mark.parametrize("module", [m for m in MODULES if _wing(m) == "contract"])
def test_the_contract_is_built_from_the_ground_up(module: str) -> None:
    def place(name: str) -> int:
        return _place(name.removeprefix("contract").removeprefix("/") or "__init__", CONTRACT)

    for other in _imports(module)[0]:
        if _wing(other) == "contract":
            assert place(other) <= place(module), f"{module} imports {other}"


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
    assert not {m for m in reached if _wing(m) in ("gallery", "interop", "laws") or m in COMMANDS | PICTURES}


def test_every_floor_is_lived_on() -> None:
    """A name in FLOORS without a file would let a file of that name stand anywhere."""
    assert set().union(*FLOORS) == {_wing(module) for module in MODULES}
    assert {f"contract/{m}" for m in set().union(*CONTRACT) - {"__init__"}} <= MODULES.keys()


def test_no_function_hides_its_own_module() -> None:
    """`import gradtx.layouts.buffers as b` gives the module: no package has another thing by that name."""
    for module in MODULES:
        if module in (ENTRANCE, "__main__", "gallery/__main__"):
            continue
        dotted = f"gradtx.{module.replace('/', '.')}"
        package, _, name = dotted.rpartition(".")
        try:
            found = importlib.import_module(dotted)
        except ImportError as error:  # an extra that is not installed
            assert (error.name or "").partition(".")[0] in ("click", "matplotlib", "PIL")  # noqa: PT017
            continue
        assert getattr(importlib.import_module(package), name) is found, dotted


@pytest.mark.parametrize(
    ("spelling", "home"),
    [
        (r"core\.Tracer", "values/kinds"),  # is_traced
        (r"zeros\(\(\), jnp\.int32\)", "numerics/leaf"),  # counter
        (r"Integer\((low=)?1\)\]", "values/kinds"),  # AtLeastOne
        (r"keystr\(", "tree/paths"),  # name
        (r"jax\.extend", "contract/hoist"),  # semi-public: it has changed twice in two years
    ],
)
def test_an_idea_has_one_spelling(spelling: str, home: str) -> None:
    found = {module for module, file in MODULES.items() if re.search(spelling, file.read_text())}
    assert found == {home}
