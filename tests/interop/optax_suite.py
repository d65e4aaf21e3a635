"""Optax's own tests, run against ours: `python -m tests.interop.optax_suite [--every=N] [modules]`.

Optax's wheel has its tests. Each module of them is loaded anew while `optax` and all that is in it, private
modules too, are replaced by stand-ins that give gradtx's object wherever gradtx has one.

The whole run takes long, and writes docs/optax-suite.md; with --every=N it takes one in N of each test's sets
of parameters. gradtx's tests run a part of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import pathlib
import re
import sys
import time
import types
import unittest
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax as peer

from gradtx.interop.optax.names import resolve

CONCERN_GRADIENTS = [
    "_src.alias_test",
    "_src.base_test",
    "_src.combine_test",
    "_src.factorized_test",
    "_src.float64_test",
    "_src.lookahead_test",
    "_src.linear_algebra_test",
    "_src.linesearch_test",
    "_src.numerics_test",
    "_src.sharding_test",
    "_src.transform_test",
    "_src.update_test",
    "_src.utils_test",
    "contrib._common_test",
    "contrib._complex_valued_test",
    "contrib._galore_test",
    "contrib._mechanic_test",
    "contrib._muon_test",
    "contrib._privacy_test",
    "contrib._reduce_on_plateau_test",
    "contrib._sam_test",
    "contrib._schedule_free_test",
    "experimental._aggregating_test",
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
    "tree_utils._casting_test",
    "tree_utils._random_test",
    "tree_utils._state_utils_test",
    "tree_utils._tree_math_test",
]


ZERO = "An injected zero stays in the program, so that it can be set; without it the term is not there."
CURVATURE = "L-BFGS leaves out pairs of negative curvature, which this function has where it starts."
SHORTER = "GaLore projects a matrix's shorter side, as in the paper and the authors' code; Optax the longer."
MAY_PASS = {CURVATURE, SHORTER, ZERO}  # for some parameters both do the same

REASONS: dict[str, list[str]] = {
    "A subtree that is masked leaves a stand-in for each leaf in the state, where Optax leaves one.": [
        r"_masking_test .*test_masked_state_structure",
    ],
    "Averages and injected numbers are float32, also for bfloat16 parameters.": [
        r"alias_test .*test_explicit_dtype\(params_dtype='bfloat16', state_dtype=None",
        r"_galore_test .*test_mu_dtype_controls_moment_dtype",
        r"_inject_test .*test_hyperparam_default_dtype_bf16",
        r"_schedule_free_test .*test_explicit_dtype\(params_dtype='bfloat16', state_dtype=None",
    ],
    "Integer parameters and gradients are refused where a state would be kept of them.": [
        r"combin(e|ing)_test ExtraArgsTest.test_extra_args(_positional_params)?$",
        r"_inject_test .*starts_with_step_count_zero",
    ],
    "Arguments without a meaning are refused where they are given, not at the first update or with a log.": [
        r"transform_test .*test_lion_invalid_mode_raises",
        r"_schedule_test ExponentialTest.test_nonvalid",
        r"_schedule_test PolynomialTest.test_zero_steps_schedule",  # and a phase of -1 steps
        r"linesearch_test ZoomLinesearchTest.test_dtype_stability",  # a step that grows by a factor of 1e-5
    ],
    "The mistake is refused, or printed, in other words than Optax's.": [
        r"_freezing_test .*test_.*bad_structure",
        r"linesearch_test .*_raises_on_unused_extra_args",
        r"linesearch_test ZoomLinesearchTest.test_failure_(descent_direction|flat_fun|too_small)",
    ],
    CURVATURE: [
        r"alias_test LBFGSTest.test_against_plain_implementation\(problem_name='himmelblau'",
    ],
    ZERO: [r"(alias|_common)_test .*wrapped_in_inject_hyperparams"],
    "The cosine goes on from a peak of 0 to the end value, as its formula says; Optax's stays at 0.": [
        r"_schedule_test .*test_zero_peak_value",
    ],
    "Equal to one float32 rounding, which the test does not grant.": [
        r"_clipping_test .*test_clip_by_block_rms",
    ],
    SHORTER: [
        r"_galore_test .*(_right_projection|_projection_state_shapes|rank_is_clipped|3d_memory_reduction)",
    ],
}
"""Why a test does not pass -> the tests, as patterns of their names."""

SLOW = (
    r"test_add_noise_has_correct_variance_scaling|test_multi_steps_mixed_precision|LBFGSTest|linesearch_test"
    r"|_microbatching_test|_common_test|_muon_test|_galore_test|test_newton_schulz|test_monotonicity_and_exponent_ordering"
)
"""Tests that only the whole run has."""


def why_not(module: str, name: str) -> str | None:
    """Why a test is known not to pass; None if it should."""
    for reason, patterns in REASONS.items():
        if any(re.search(pattern, f"{module} {name}") for pattern in patterns):
            return reason
    return None


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
    with replaced(ours), settings_kept():
        spec.loader.exec_module(module)
    if hasattr(module, "jax"):
        module.jax = _Newest("jax")  # type: ignore[attr-defined]
    return module


class _Newest(types.ModuleType):
    """jax for Optax's tests: they compare versions as texts, so that 0.10 is older than 0.7, and skip."""

    __version__ = "9"

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Optax's tests need jax's ordinary settings, and change some: here they are put back."""
    flags, x64 = os.environ.get("XLA_FLAGS", ""), jax.config.jax_enable_x64
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.environ["XLA_FLAGS"] = flags
            jax.config.update("jax_enable_x64", x64)


class Outcome(NamedTuple):
    """What became of one test."""

    name: str  # Class.method, with its parameters
    result: str  # 'passed', 'skipped' or 'failed'
    why: str  # the last line of the error
    seconds: float


def part(tests: list[unittest.TestCase], every: int) -> list[unittest.TestCase]:
    """One in so many of each method's sets of parameters, the first among them."""
    seen: dict[str, int] = {}
    chosen = []
    for test in tests:
        method = name_of(test).partition("(")[0]
        nth = seen[method] = seen.get(method, -1) + 1
        if nth % every == 0:
            chosen.append(test)
    return chosen


def cases_in(module: Any) -> Iterator[unittest.TestCase]:
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
    shown = re.sub(r" at 0x[0-9a-f]+", "", shown)
    return f"{type(test).__name__}.{re.sub(r'[0-9]+$', '', method) if shown else method}{shown}"


def run(test: unittest.TestCase) -> Outcome:
    """Run one test."""
    result = unittest.TestResult()
    begin = time.process_time()  # others may be using the machine
    with settings_kept(), contextlib.redirect_stdout(io.StringIO()):
        test.run(result)
    seconds = time.process_time() - begin
    wrong = [*result.errors, *result.failures]
    if wrong:
        return Outcome(name_of(test), "failed", _last(wrong[0][1]), seconds)
    return Outcome(name_of(test), "skipped" if result.skipped else "passed", "", seconds)


def _last(trace: str) -> str:
    lines = [
        line for line in trace.strip().splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)
    ]
    return (lines or trace.strip().splitlines())[-1][:300]


# ---------------------------------------------------------------- the whole run


FILE = pathlib.Path(__file__).parents[2] / "docs" / "optax-suite.md"

HEAD = """# Optax's own tests against gradtx

The tests in Optax {version} that concern gradients, with `from gradtx.interop import optax` in the place of
Optax: {passed} of {ran} pass; {skipped} skip themselves. Written by `{command}`, which takes a while;
a part of them runs with gradtx's tests.{sampled} Of what gradtx does not have, Optax's own is tested.

| module | pass | do not | skipped |
|---|---|---|---|
"""


def page(outcomes: dict[str, list[Outcome]], every: int = 1) -> str:
    """What became of the tests, module by module, and why some do not pass."""
    run = [o for found in outcomes.values() for o in found]

    def count(result: str, found: list[Outcome]) -> int:
        return sum(o.result == result for o in found)

    passed, failed = count("passed", run), count("failed", run)
    text = HEAD.format(
        version=peer.__version__,
        passed=passed,
        ran=passed + failed,
        skipped=count("skipped", run),
        command="python -m tests.interop.optax_suite" + (f" --every={every}" if every > 1 else ""),
        sampled=f" One in {every} of each test's sets of parameters has been run." if every > 1 else "",
    )
    for module, found in outcomes.items():
        numbers = " | ".join(str(count(result, found)) for result in ("passed", "failed", "skipped"))
        text += f"| `{module}` | {numbers} |\n"
    text += "\n## Why some do not pass\n"
    known: dict[str, dict[str, list[str]]] = {reason: {} for reason in REASONS}
    for module, found in outcomes.items():
        for o in found:
            if o.result == "failed":
                method, bracket, parameters = o.name.partition("(")
                group = known.setdefault(why_not(module, o.name) or f"**Unknown**: {o.why}", {})
                group.setdefault(f"`{module}` {method}", []).append(bracket + parameters)
    for reason, methods in known.items():
        if methods:
            text += f"\n{reason}\n\n"
        for method, parameters in methods.items():
            shown = "" if parameters == [""] else f" ({len(parameters)} sets of parameters)"
            text += f"- {method}{shown}\n"
    return text


def main(arguments: list[str]) -> None:
    """Run all tests, or those of some modules; write the page if all."""
    names = [x for x in arguments if not x.startswith("--every=")]
    every = next((int(x.partition("=")[2]) for x in arguments if x not in names), 1)
    outcomes: dict[str, list[Outcome]] = {}
    for name in names or CONCERN_GRADIENTS:
        outcomes[name] = [run(test) for test in part(list(cases_in(load(name))), every)]
        for o in outcomes[name]:
            known = why_not(name, o.name)
            if (
                (o.result == "failed") != (known is not None)
                and o.result != "skipped"
                and known not in MAY_PASS
            ):
                print(f"{name} {o.name}: {o.result}. Known: {known}. {o.why}")
        print(
            f"{name}: {len(outcomes[name])} tests, {sum(o.seconds for o in outcomes[name]):.0f} s", flush=True
        )
    if not names:
        FILE.write_text(page(outcomes, every))


if __name__ == "__main__":  # before jax looks for devices
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    main(sys.argv[1:])
