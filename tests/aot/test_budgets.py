"""Every optimizer on every target: no worse than its budget, and the budget no looser than it is."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

import gradtx
from gradtx import make_step, needless_copies, traffic
from tests.aot import budgets
from tests.aot.budgets import SLACK, Figures, complaints
from tests.aot.rows import ROWS, Row, count, exported, gpt2_small, rows_for
from tests.aot.targets import NEEDS, compile_for, device, missing

# Rows that move more than a loop by hand would, or hold temporary arrays, and why.
MISSES: dict[tuple[str, str], str] = {
    ("h100", "adafactor"): "the means of rows and of columns are kernels of their own, which both read g",
    ("h100", "noisy_sgd"): "it copies the key, eight bytes",
    ("h100", "galore"): "the decompositions are branches, and their results are copied",
    ("h100", "lbfgs"): "each pair is read in two sweeps, whose products wait for each other",
    ("tpu-v5e", "lbfgs"): "each pair is read in two sweeps, whose products wait for each other",
    ("h100", "muon"): "five times three products read a matrix and what they made of it",
    ("tpu-v5e", "muon"): "the matrix's norm comes before its products",
    ("h100", "sophia"): "the estimate of the Hessian is a branch, whose results are copied",
    ("tpu-v5e", "sophia"): "the estimate of the Hessian has a gradient of its own",
    ("h100", "sm3"): "the second kernel of maxima reads copies of those that the first has overwritten",
}


def or_skip(target: str):
    reason = missing(target)
    return pytest.param(target, marks=pytest.mark.skipif(reason is not None, reason=f"{target}: {reason}"))


each_target = pytest.mark.parametrize("target", [or_skip(t) for t in NEEDS])


@functools.cache
def recorded() -> dict[str, dict[str, Figures]]:
    return budgets.read()


@pytest.mark.parametrize(
    ("target", "name"),
    [pytest.param(*or_skip(t).values, name, marks=or_skip(t).marks) for t in NEEDS for name in rows_for(t)],
)
def test_a_step_costs_what_its_budget_says(target: str, name: str) -> None:
    said = complaints(budgets.measure(name, target), recorded()[target].get(name))
    assert not said, f"{name} on {target}: {'; '.join(said)}. If it shall be so: python -m tests.aot {name!r}"


# ---------------------------------------------------------------- the budgets themselves


@pytest.mark.parametrize("target", NEEDS)
def test_every_exported_optimizer_has_a_budget_and_no_other_row_has(target: str) -> None:
    assert {"adamw", "lion", "sgd", "lamb"} <= exported().keys() <= ROWS.keys()
    assert recorded()[target].keys() == set(rows_for(target)), "python -m tests.aot writes what is missing"


@pytest.mark.parametrize(("target", "name"), [(t, name) for t in NEEDS for name in rows_for(t)])
def test_no_budget_is_above_what_a_loop_by_hand_moves(target: str, name: str) -> None:
    figures = budgets.read(version=budgets.FIRST)[target][name]
    by_hand = ROWS[name].by_hand(budgets.LAYERS)
    missed = figures.bytes > by_hand + SLACK or figures.copies > 0
    assert missed == ((target, name) in MISSES), f"{figures} against {by_hand:.2f} bytes by hand"


@pytest.mark.parametrize(
    ("name", "bytes_"), [("adamw", 28), ("lion", 20), ("sgd momentum", 20), ("sgd", 12), ("clip, adamw", 32)]
)
def test_the_count_by_hand_is_as_on_paper(name: str, bytes_: int) -> None:
    assert ROWS[name].by_hand(12) == pytest.approx(bytes_, abs=1e-6)  # and one or two step counters


def test_the_tree_is_gpt2_small() -> None:
    assert count(gpt2_small(12)) == 124_439_808
    assert len(jax.tree.leaves(gpt2_small(12))) == 148
    distinct = [{x.shape for x in jax.tree.leaves(gpt2_small(n))} for n in (budgets.LAYERS, 12)]
    assert distinct[0] == distinct[1]


def test_worse_and_better_are_both_said() -> None:
    budget = Figures(28.0, 0.0, 0, 1.0)
    assert complaints(budget, budget) == []
    assert complaints(Figures(28.01, 0.01, 0, 1.0), budget) == []
    assert complaints(Figures(32.0, 0.0, 1, 1.0), budget) == [
        "bytes got worse: 32.0, the budget is 28.0",
        "copies got worse: 1, the budget is 0",
    ]
    assert complaints(Figures(24.0, 0.0, 0, 0.5), budget) == [
        "bytes got better: 24.0, tighten the budget of 28.0",
        "kernels got better: 0.5, tighten the budget of 1.0",
    ]
    assert "no budget" in complaints(budget, None)[0]


def test_what_is_written_is_what_is_read() -> None:
    assert budgets.read(budgets.written(recorded())) == recorded()


# ---------------------------------------------------------------- what the targets show


@functools.cache
def shapes(target: str) -> tuple[dict, tuple]:
    where = SingleDeviceSharding(device(target))
    params = {
        "a": jax.ShapeDtypeStruct((16384, 3072), jnp.float32),  # too large for a TPU's own memory
        "b": jax.ShapeDtypeStruct((512,), jnp.float32),
    }
    state = jax.eval_shape(gradtx.adamw(1e-3).init, params)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), (params, state))


def misordered():
    tx = gradtx.adamw(1e-3)

    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return gradtx.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(1, 2))


@pytest.mark.parametrize("target", [or_skip("h100")])
def test_a_mis_ordered_donation_moves_44_bytes_instead_of_28_on_a_gpu(target: str) -> None:
    params, state = shapes(target)
    cost = traffic(compile_for(target, misordered(), params, state, params))
    assert cost.moved / count(params) == pytest.approx(44, abs=0.01)
    assert cost.copies == 4  # both moments of both leaves
    report = needless_copies(misordered(), params, state, params)
    assert report.moved == 16 * count(params)
    assert "output/1/0/numerator/0/mean/a: copied into the memory of" in str(report)
    assert not needless_copies(make_step(gradtx.adamw(1e-3)), params, state, params)


@pytest.mark.parametrize("target", [or_skip("tpu-v5e")])
def test_a_mis_ordered_donation_costs_a_tpu_nothing(target: str) -> None:
    """Its kernels read a tile of every operand before they write one."""
    params, state = shapes(target)
    assert not needless_copies(misordered(), params, state, params)
    cost = traffic(compile_for(target, misordered(), params, state, params))
    assert cost.moved / count(params) == pytest.approx(28, abs=0.01)


@each_target
def test_a_clipped_tree_that_is_stored_is_seen_and_ours_is_not_stored(target: str) -> None:
    def stored(params, grads):
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        clipped = jax.tree.map(lambda g: jnp.where(norm < 1, g, g / norm), grads)
        return jax.tree.map(lambda p, g: p - g, params, jax.lax.optimization_barrier(clipped))

    params, _ = shapes(target)
    tx = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(1.0))
    ours = compile_for(target, make_step(tx), params, jax.eval_shape(tx.init, params), params)
    theirs = compile_for(target, jax.jit(stored, donate_argnums=0), params, params)
    assert traffic(ours).moved / count(params) == pytest.approx(16, abs=0.01)
    assert traffic(theirs).moved / count(params) == pytest.approx(24, abs=0.01)
    assert traffic(theirs).temporary >= 4 * count(params)


@pytest.mark.parametrize("target", [or_skip("tpu-v5e")])
def test_what_a_compiler_refuses_is_named(target: str, monkeypatch) -> None:
    """A TPU's compiler refuses what does not fit its memory; a GPU's does not."""
    huge = Row(lambda: gradtx.adamw(1e-3))
    monkeypatch.setitem(ROWS, "huge", huge)
    monkeypatch.setattr(
        "tests.aot.rows.gpt2_small", lambda layers, dtype: {"a": jax.ShapeDtypeStruct((2**34,), dtype)}
    )
    with pytest.raises(RuntimeError, match=f"the compiler for {target} refuses 'huge'"):
        budgets.measure("huge", target)
