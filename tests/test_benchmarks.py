"""The benchmark's figures that do not depend on the machine, and that every row can be made.

Nothing here is timed: what took how long is only looked at for being there.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import pathlib
import re
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import accuracy, by_torch, eager, figures, machine, report, times, whole_step
from benchmarks.peers import NORM, OPTIMIZERS, Peer, Problem, peers
from gradtx.contract import leafwise

DOCS = pathlib.Path(__file__).parents[1] / "docs"
TINY = times.Scale(2, 2, 0.0, (Problem(1, 200), Problem(2, 400)), (Problem(3, 192),))
TIMED = {"trace", "lower", "trace + lower", "compile", "step"}
COUNTED = {"bytes", "temporary"}


@pytest.fixture(autouse=True)
def _as_optax_needs_it() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# ---------------------------------------------------------------- what is compared


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_peers_take_the_same_steps(optimizer: str) -> None:
    """Otherwise their times would not be those of the same thing."""
    problem, found = Problem(3, 600), {}
    for peer in peers(optimizer, packed=True):
        run = peer.make(problem)
        for _ in range(3):
            run.step()
        found[peer.name] = np.concatenate([x.ravel() for x in run.parameters()])
    start = np.concatenate([x.ravel() for x in problem.arrays(0)])
    assert np.median(np.abs(found["gradtx"] - start)) > 1e-3  # about three steps at a rate of 1e-3
    for name, parameters in found.items():
        # Of steps that sum up to 3e-3 and in Optax are wrong by 7e-6 of them: rounding is what is left.
        np.testing.assert_allclose(parameters, found["gradtx"], rtol=0, atol=3e-7, err_msg=name)


def test_the_clip_is_at_the_same_norm() -> None:
    """Which Adam's steps hardly show, whatever the norm: its first moment does."""
    for peer in peers("clip, adamw")[:2]:
        run = peer.make(Problem(3, 600))
        run.step()
        moments = [np.asarray(x).ravel() for x in jax.tree.leaves(run._now[1]) if x.ndim]
        # 1 - 0.9 of the clipped gradient; the second moment is a ten-thousandth of that.
        assert np.linalg.norm(np.concatenate(moments)) == pytest.approx(0.1 * NORM, rel=1e-3), peer.name


def test_the_peers_are_those_that_are_there() -> None:
    expected = ["gradtx", "optax", "gradtx, packed", "optax, packed"]
    torchs = [] if by_torch.missing() else ["torch, fused", "torch, foreach"]
    assert [p.name for p in peers("adamw", packed=True)] == expected + torchs
    assert [p.name for p in peers("lion")] == expected[:2]  # torch has no Lion


def test_packed_is_one_buffer() -> None:
    by_name = {peer.name: peer.make(Problem(5, 640)) for peer in peers("adamw", packed=True)[:4]}
    arrays = {name: len(jax.tree.leaves(run._now[0])) for name, run in by_name.items()}
    assert arrays == {"gradtx": 5, "optax": 5, "gradtx, packed": 1, "optax, packed": 1}


def test_nothing_is_remembered_of_what_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    planned, plan = [], leafwise._plan
    monkeypatch.setattr(leafwise, "_plan", lambda *of: planned.append(of) or plan(*of))
    peer = times.built_anew(peers("adamw")[:1])[0]
    found = []
    for _ in range(2):
        peer.make(Problem(30, 3000))
        found.append(len(planned))
    assert found[1] == 2 * found[0] > 0  # the second one has traced as much as the first


def test_a_problem_has_leaves_of_three_shapes_and_about_as_many_numbers_as_wanted() -> None:
    problem = Problem(100, 1_000_000)
    assert {rows for rows, _ in problem.shapes()} == {155, 156, 157}  # 10 000 numbers, in rows of 64
    assert problem.size == pytest.approx(1_000_000, rel=0.01)  # what rows of 64 leave over
    arrays = problem.arrays(1)
    assert sum(x.size for x in arrays) == problem.size
    assert [x.shape for x in arrays] == problem.shapes()
    assert Problem(4, 4).shapes() == [(1, 64)] * 4  # never empty


# ---------------------------------------------------------------- figures that do not depend on the machine


@pytest.fixture(scope="module")
def errors() -> dict[tuple[str, float, int], float]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return {(r["peer"], r["b2"], r["step"]): r["error"] for r in accuracy.rows()}


@pytest.mark.parametrize("b2", accuracy.DECAYS)
@pytest.mark.parametrize("step", accuracy.AT)
def test_gradtxs_adam_in_float32_is_as_near_to_float64_as_float32_can_be(errors, b2, step) -> None:
    assert errors["gradtx", b2, step] <= 5e-7  # about four roundings


@pytest.mark.parametrize(("b2", "rounded"), [(0.999, 1.3e-5), (0.9999, 1.7e-4)])
def test_optaxs_is_off_by_how_float32_rounds_one_minus_b2(errors, b2: float, rounded: float) -> None:
    """The root halves the error of 1 - b2, which is the same in every step."""
    assert abs((1 - float(np.float32(b2))) / (1 - b2) - 1) == pytest.approx(rounded, rel=0.05)
    for step in accuracy.AT:
        assert errors["optax", b2, step] == pytest.approx(rounded / 2, rel=0.25)


@pytest.mark.skipif(by_torch.missing() is not None, reason="needs torch")
@pytest.mark.parametrize("kind", by_torch.KINDS)
def test_torchs_first_step_is_exact_too(errors, kind: str) -> None:
    """It corrects in Python's float64; that its b2 is rounded shows later."""
    for b2 in accuracy.DECAYS:
        assert errors[f"torch, {kind}", b2, 1] <= 5e-7
        # A thousand factors, each wrong by up to 1.7e-8; the root halves that, and not all are that old.
        assert 1e-6 < errors[f"torch, {kind}", b2, 1000] < 1e-5


BYTES = {  # on a CPU: gradtx, Optax; and what Optax keeps besides. tests/test_costs.py says why.
    "sgd, momentum": (24, 24, 0),
    "adamw": (40, 40, 0),
    "clip, adamw": (44, 60, 4),
    "lion": (28, 36, 4),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bytes_per_parameter_are_counted(optimizer: str) -> None:
    problem = Problem(6, 60_000)
    ours, optaxs = (peer.make(problem).counted() for peer in peers(optimizer)[:2])
    moved, optax_moved, optax_keeps = BYTES[optimizer]
    # Besides the parameters a few numbers are moved: hundreds of bytes, of 60 000 parameters.
    assert ours["bytes"] == pytest.approx(moved, abs=0.05)
    assert optaxs["bytes"] == pytest.approx(optax_moved, abs=0.05)
    assert ours["temporary"] == pytest.approx(0, abs=0.05)
    assert optaxs["temporary"] == pytest.approx(optax_keeps, abs=0.05)


# ---------------------------------------------------------------- rounds and ratios


class Counting:
    """A peer's run that only counts."""

    def __init__(self) -> None:
        self.built, self.steps = {"trace": 1.0, "lower": 2.0, "compile": 3.0}, 0

    def step(self) -> None:
        self.steps += 1


def test_peers_take_turns_and_the_order_turns_round() -> None:
    took: list[str] = []

    def peer(name: str) -> Peer:
        return Peer(name, lambda problem: took.append(name) or Counting())

    found = times.turns([peer("a"), peer("b")], Problem(1, 64), 3, lambda run, first: {"first": first})
    assert took == ["a", "b", "b", "a", "a", "b"]
    assert found == {name: [{"first": True}, {"first": False}, {"first": False}] for name in "ab"}


def test_steps_are_timed_after_the_first_and_at_least_five_times() -> None:
    run = Counting()
    assert times.median_step(run, 0.0) >= 0
    assert run.steps == 6


def test_what_is_built_once_is_built_once_and_the_other_in_each_round() -> None:
    made: list[Problem] = []
    peer = Peer("a", lambda problem: made.append(problem) or Counting())
    for build, times_built in ((times.built_once, 1), (times.built_anew, 3)):
        made.clear()
        times.turns(build([peer]), Problem(1, 64), 3, lambda run, first: {})
        assert len(made) == times_built


def test_a_ratio_is_taken_in_each_round() -> None:
    # 2/4, 9/3 and 4/5: the median of the quotients, not 4/4, the quotient of the medians.
    assert report.ratio([2, 9, 4], [4, 3, 5]) == {"median": 0.8, "min": 0.5, "max": 3.0}
    assert report.ratio([1.0], [0.0]) is None
    with pytest.raises(ValueError, match=r"shorter|longer"):
        report.ratio([1.0, 2.0], [1.0])


def test_rows_have_medians_sums_and_ratios() -> None:
    def rounds(*figures: tuple[float, float]) -> list[dict[str, float]]:
        found = [{"trace": trace, "lower": lower, "temporary": 1.0} for trace, lower in figures]
        return [found[0] | {"bytes": 40.0}, *found[1:]]

    table = report.compared(
        {"about": "x"}, {"gradtx": rounds((1, 2), (3, 4)), "peer": rounds((2, 2), (2, 3))}
    )
    at = {(row["peer"], row["measure"]): row for row in table}
    assert at["peer", "trace + lower"]["rounds"] == [4, 5]
    assert at["peer", "trace + lower"]["median"] == 4.5  # of 4 and 5
    assert at["peer", "trace + lower"]["ratio"] == pytest.approx({"median": 1.075, "min": 0.75, "max": 1.4})
    assert at["gradtx", "trace + lower"]["ratio"] is None
    assert at["peer", "temporary"]["ratio"] is None
    assert at["peer", "bytes"]["rounds"] == [40]  # counted in the first round alone
    assert {row["about"] for row in table} == {"x"}
    assert {row["unit"] for row in table} == {"s", "B/param"}


def test_figures_are_printed_with_three_digits() -> None:
    step, kept = report.MEASURES["step"], report.MEASURES["temporary"]
    assert [step.text(s) for s in (1.23456, 0.0167891, 9.26e-6)] == ["1235", "16.8", "0.00926"]
    assert kept.text(0.0) == "0.00"
    assert [report.count(n) for n in (640, 1000, 8512, 102_336, 998_336, 15_999_936)] == [
        "640",
        "1 thousand",
        "8.5 thousand",
        "102 thousand",
        "1 million",
        "16 million",
    ]


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole command at a tiny size: what it printed, and the folder that it filled."""
    folder = tmp_path_factory.mktemp("out") / "new"
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.setattr(times, "SHORT", TINY)
        patch.setattr(accuracy.rows, "__defaults__", (10,))
        patch.setattr(whole_step, "ROWS", whole_step.ROWS[:1])
        patch.setattr(whole_step.rows, "__defaults__", ("cpu", 16))
        patch.setattr(whole_step, "temporary", functools.partial(whole_step.temporary, layers=2))
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *lines, **_: printed.extend(map(str, lines)))
        with jax.numpy_rank_promotion("allow"):
            command.main(["--short", "--out", str(folder)])
    gc.unfreeze()
    return "\n".join(printed), folder


def test_every_row_runs_at_a_tiny_size(made) -> None:
    table = json.loads((made[1] / "benchmarks.json").read_text())["times"]
    found = {(r["optimizer"], r["leaves"], r["peer"], r["measure"]) for r in table}
    for optimizer in OPTIMIZERS:
        jax_peers, torchs = ("gradtx", "optax"), [p.name for p in peers(optimizer)[2:]]
        for leaves in (1, 2):
            expected = {(p, m) for p in jax_peers for m in TIMED | COUNTED} | {(p, "step") for p in torchs}
            assert {(p, m) for o, n, p, m in found if (o, n) == (optimizer, leaves)} == expected
        calls = {p for o, n, p, m in found if (o, n, m) == (optimizer, 3, "call")}
        assert calls == {p.name for p in peers(optimizer, packed=True)}


def test_the_json_names_the_machine_and_has_numbers_only(made) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found = json.loads((made[1] / "benchmarks.json").read_text(), parse_constant=refuse)
    assert found.keys() >= {"machine", "times", "accuracy", "whole step", "load at the start", "short"}
    assert found["machine"].keys() == machine.machine().keys()
    assert found["machine"]["versions"]["jax"] == jax.__version__
    for row in found["times"]:
        rounds = 1 if row["measure"] in COUNTED else 2  # as TINY says, and counted once
        assert len(row["rounds"]) == rounds
        assert all(math.isfinite(x) and x >= 0 for x in [*row["rounds"], row["median"]])
        compares = row["peer"] != "gradtx" and row["measure"] != "temporary"
        assert (row["ratio"] is not None) == compares
    assert {r["step"] for r in found["accuracy"]} == {1, 10}
    assert [r["what"] for r in found["whole step"]] == ["adamw"]


def test_it_prints_every_problem_the_ratios_and_whether_torch_is_there(made) -> None:
    printed = made[0]
    assert printed.count("adamw: 3 leaves, ") == 2  # with a clip too
    assert "trace + lower: gradtx to the peer" in printed
    assert ("its rows are left out" in printed) == (by_torch.missing() is not None)


def test_it_draws_every_picture(made) -> None:
    for name in ("steps", "building", "calls", "memory", "accuracy"):
        content = (made[1] / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000  # an empty one of this size has about 5000


def test_eager_steps_are_timed_in_every_round() -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = eager.rows(leaves=1, rounds=2)
    assert [row["what"] for row in found] == [*eager.ROWS]
    for row in found:
        assert row["ratio"] == [a / b for a, b in zip(row["gradtx"], row["optax"], strict=True)]
        assert len(row["ratio"]) == 2
        assert min(row["gradtx"] + row["optax"]) > 0


def test_each_peer_has_a_colour_and_a_marker_of_its_own() -> None:
    assert len({s["color"] for s in figures.STYLES.values()}) == len(figures.STYLES)
    assert len({s["marker"] for s in figures.STYLES.values()}) == len(figures.STYLES)
    assert {p.name for o in OPTIMIZERS for p in peers(o, packed=True)} <= figures.STYLES.keys()


def test_a_picture_is_over_leaves_at_the_largest_size_or_over_sizes_at_the_same_leaves() -> None:
    rows = [
        {"leaves": leaves, "parameters": size}
        for leaves, size in ((10, 1000), (100, 980), (100, 64), (9, 64))
    ]
    assert figures.by_leaves(rows) == rows[:2]
    assert figures.by_size(rows) == rows[1:3]


def test_a_points_line_reaches_from_the_smallest_round_to_the_largest() -> None:
    middle, ((below,), (above,)) = figures.spread(
        {"measure": "step", "rounds": [0.002, 0.001, 0.004], "median": 0.002}
    )
    assert (middle, below, above) == pytest.approx((2, 1, 2))  # milliseconds: from 2 - 1 to 2 + 2


def test_without_torch_its_rows_are_left_out_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch is not installed: its rows are left out" in (by_torch.missing() or "")
    assert [p.name for p in peers("adamw")] == ["gradtx", "optax"]
    assert list(accuracy.paths()) == ["gradtx", "optax"]


def test_where_jax_has_an_accelerator_torchs_rows_would_compare_unlike_things(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "jax runs on gpu" in (by_torch.missing() or "")


def test_without_matplotlib_nothing_is_drawn_and_a_line_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "no pictures: they need matplotlib" in figures.draw({}, tmp_path)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what the docs say


RECORD = json.loads((DOCS / "static/benchmarks.json").read_text())
NAMES = {
    "SGD with momentum": "sgd, momentum",
    "AdamW": "adamw",
    "global clip, AdamW": "clip, adamw",
    "Lion": "lion",
}


def recorded(optimizer: str, leaves: int, measure: str, peer: str) -> dict[str, float]:
    """The ratio at 16 million parameters."""
    (row,) = (
        r
        for r in RECORD["times"]
        if (r["optimizer"], r["leaves"], r["measure"], r["peer"]) == (optimizer, leaves, measure, peer)
        and r["parameters"] > 15_000_000
    )
    return row["ratio"]


def test_the_page_shows_the_ratios_of_the_record() -> None:
    assert not RECORD["short"]
    page = (DOCS / "performance.md").read_text()
    rows = re.findall(r"^\|([^|]*)\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 2 * len(NAMES)
    optimizer = ""
    for name, leaves, cells in rows:
        optimizer = NAMES.get(name.strip(), optimizer)
        for peer, cell in zip(("optax", "torch, fused", "torch, foreach"), cells.split(" | "), strict=True):
            if cell != "–":
                ratio = recorded(optimizer, int(leaves), "step", peer)
                assert cell == f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def test_the_page_says_what_building_took() -> None:
    page = " ".join((DOCS / "performance.md").read_text().split())
    adamw, clipped = (
        [f"{recorded(name, n, 'trace + lower', 'optax')['median']:.2f}" for n in (10, 100, 1000)]
        for name in ("adamw", "clip, adamw")
    )
    assert f"takes {adamw[0]}, {adamw[1]} and {adamw[2]} of Optax's time at 10, 100 and 1000 leaves" in page
    assert f"behind a clip {clipped[0]}, {clipped[1]} and {clipped[2]}" in page
    compiling = [
        recorded(name, n, "compile", "optax")["median"]
        for name in ("adamw", "clip, adamw")
        for n in (10, 100, 1000)
    ]
    assert f"{min(compiling):.2f} to {max(compiling):.2f} of Optax's time for AdamW" in page
