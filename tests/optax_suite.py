"""Optax's own tests, run against `gradtx.interop.optax`: `python -m tests.optax_suite`.

Optax's wheel has its tests. Each module of them is loaded anew while `optax` and all that is in it, private
modules too, are replaced by stand-ins that give gradtx's object wherever gradtx has one.

The whole run takes long; its result is written to tests/recorded/optax-suite.md. The tests hold what it says
of a part of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import pathlib
import re
import sys
import time
import types
import unittest
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import optax as peer

from gradtx.interop.optax.names import resolve

CONCERN_GRADIENTS = [
    "_src.alias_test",
    "_src.base_test",
    "_src.combine_test",
    "_src.factorized_test",
    "_src.float64_test",
    "_src.lookahead_test",
    "_src.linesearch_test",
    "_src.sharding_test",
    "_src.transform_test",
    "_src.update_test",
    "contrib._common_test",
    "contrib._complex_valued_test",
    "contrib._galore_test",
    "contrib._mechanic_test",
    "contrib._muon_test",
    "contrib._privacy_test",
    "contrib._reduce_on_plateau_test",
    "contrib._sam_test",
    "contrib._schedule_free_test",
    "microbatching._microbatching_test",
    "optax_test",
    "schedules._inject_test",
    "schedules._join_test",
    "schedules._schedule_test",
    "transforms._accumulation_test",
    "transforms._adding_test",
    "transforms._clipping_test",
    "transforms._combining_test",
    "transforms._conditionality_test",
    "transforms._constraining_test",
    "transforms._freezing_test",
    "transforms._layouts_test",
    "transforms._masking_test",
    "transforms._monitoring_test",
    "tree_utils._state_utils_test",
]


class StandIn(types.ModuleType):
    """One of Optax's modules with gradtx's objects in it; its modules are stand-ins as well."""

    def __init__(self, library: Any, ours: bool) -> None:
        super().__init__(library.__name__, library.__doc__)
        self.__path__: list[str] = []
        self._library, self._ours = library, ours

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_test"):
            return load(f"{self._library.__name__}.{name}".removeprefix("optax."), self._ours)
        found = getattr(self._library, name)
        if inspect.ismodule(found) and found.__name__.startswith("optax."):
            return StandIn(found, self._ours)
        return resolve(found) if self._ours else found


@contextlib.contextmanager
def replaced(ours: bool) -> Iterator[None]:
    """While this holds, `import optax` and `from optax._src import alias` give stand-ins."""
    root = pathlib.Path(peer.__path__[0])
    for file in sorted(root.rglob("*.py")):
        if not file.stem.endswith("_test") and file.stem != "__init__":
            importlib.import_module(".".join(["optax", *file.relative_to(root).with_suffix("").parts]))
    real = {name: m for name, m in sys.modules.items() if name.partition(".")[0] == "optax"}
    sys.modules.update({name: StandIn(m, ours) for name, m in real.items()})
    try:
        yield
    finally:
        sys.modules.update(real)


def load(name: str, ours: bool = True) -> Any:
    """One of Optax's test modules, with gradtx behind Optax's names, or with Optax itself."""
    file = pathlib.Path(peer.__path__[0], *name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(f"optax_suite.{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    with replaced(ours):
        spec.loader.exec_module(module)
    return module


class Outcome(NamedTuple):
    """What became of one test."""

    name: str  # Class.method, with its parameters
    result: str  # 'passed', 'skipped' or 'failed'
    why: str  # the last line of the error
    seconds: float


def tests_of(module: Any) -> Iterator[unittest.TestCase]:
    """The tests in a module, one by one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        todo: list[Any] = [unittest.defaultTestLoader.loadTestsFromModule(module)]
    while todo:
        test = todo.pop()
        if isinstance(test, unittest.TestSuite):
            todo.extend(reversed(list(test)))
        else:
            yield test


def name_of(test: unittest.TestCase) -> str:
    """Class.method, and the parameters where there are some."""
    method = test._testMethodName
    description = (test.shortDescription() or "").split("\n")[0]
    parameters = re.search(r"\((.*)\)$", description)
    shown = f"({parameters[1]})" if parameters and re.search(r"\d$", method) else ""
    return f"{type(test).__name__}.{re.sub(r'[0-9]+$', '', method) if shown else method}{shown}"


def run(test: unittest.TestCase) -> Outcome:
    """Run one test."""
    import jax

    result = unittest.TestResult()
    begin = time.perf_counter()
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        test.run(result)
    seconds = time.perf_counter() - begin
    wrong = [*result.errors, *result.failures]
    if wrong:
        return Outcome(name_of(test), "failed", _last(wrong[0][1]), seconds)
    return Outcome(name_of(test), "skipped" if result.skipped else "passed", "", seconds)


def _last(trace: str) -> str:
    lines = [
        line for line in trace.strip().splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)
    ]
    return (lines or trace.strip().splitlines())[-1][:300]
