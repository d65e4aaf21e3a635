"""`memory_report`: ZeRO's own table, and the bytes of every real state."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import pytest

import gradtx
from tests.laws.test_laws import PARAMS, TRANSFORMATIONS, TREE, build, elaborate

MIXED = {"param_dtype": "bfloat16", "master_dtype": "float32"}


@pytest.mark.parametrize(
    ("zero", "gigabytes"),
    [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)],  # ZeRO's figure 1: 7.5 billion parameters on 64 devices
)
def test_the_table_of_the_paper(zero: int, gigabytes: float) -> None:
    report = gradtx.memory_report(gradtx.adam(1e-3), 7.5e9, devices=64, zero=zero, **MIXED)
    assert round(report.per_device / 1e9, 1) == gigabytes
    assert round(report.bytes_per_parameter, 6) == 16  # 2 + 2 + 12


def test_the_rows_are_named_parts_that_add_up() -> None:
    report = gradtx.memory_report(gradtx.adam(1e-3), 1000, **MIXED)
    rows = {row.part: row.whole for row in report.rows}
    assert rows == {
        "parameters": 2000,
        "gradients": 2000,
        "master copy": 4000,
        "numerator.ema.mean": 4000,
        "numerator.bias_correction.decays": 8,
        "denominator.ema.mean": 4000,
        "denominator.bias_correction.decays": 8,
    }
    assert report.whole == report.per_device == sum(rows.values())
    assert report.state == 8016


def test_without_a_master_copy_the_state_follows_the_parameters() -> None:
    plain = gradtx.memory_report(gradtx.trace(0.9), 1000, grad_dtype="bfloat16")
    assert [(row.part, row.whole) for row in plain.rows] == [
        ("parameters", 4000),
        ("gradients", 2000),
        ("trace.velocity", 4000),
    ]
    narrow = gradtx.memory_report(
        gradtx.trace(0.9, accumulator_dtype="bfloat16"), 1000, param_dtype="bfloat16"
    )
    assert narrow.whole == 6000


def test_pieces_that_are_alike_have_rows_of_their_own() -> None:
    report = gradtx.memory_report(gradtx.chain(gradtx.trace(0.9), gradtx.trace(0.5)), 10)
    assert [row.part for row in report.rows[2:]] == ["trace[0].velocity", "trace[1].velocity"]


def test_what_is_divided_is_rounded_up_and_single_numbers_are_everywhere() -> None:
    report = gradtx.memory_report(gradtx.adam(1e-3), 10, devices=3, zero=1)
    per_device = {row.part: row.per_device for row in report.rows}
    assert per_device["parameters"] == 40
    assert per_device["numerator.ema.mean"] == 14  # 40 / 3
    assert per_device["numerator.bias_correction.decays"] == 8


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_it_equals_the_real_state(name: str) -> None:
    params = PARAMS.get(name, TREE)
    plain = build(TRANSFORMATIONS[name])
    for tx in {plain, elaborate(plain)} if name not in PARAMS else {plain}:
        real = sum(leaf.nbytes for leaf in jax.tree.leaves(tx.init(params)))
        report = gradtx.memory_report(tx, params)
        assert report.state == real
        assert report.whole == real + 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        assert len({row.part for row in report.rows}) == len(report.rows)


def test_it_prints_as_a_table() -> None:
    report = gradtx.memory_report(gradtx.sgd(0.1, momentum=0.9), 7e9, devices=8, zero=3)
    assert str(report) == (
        "7,000,000,000 parameters on 8 devices, ZeRO stage 3\n"
        "part            bytes per parameter  whole  on each device\n"
        "parameters                        4  28 GB          3.5 GB\n"
        "gradients                         4  28 GB          3.5 GB\n"
        "trace.velocity                    4  28 GB          3.5 GB\n"
        "total                            12  84 GB         10.5 GB"
    )


def test_a_notebook_shows_the_same_cells_as_a_table() -> None:
    report = gradtx.memory_report(gradtx.adam(1e-3), 1000)
    title, *rows = str(report).splitlines()
    shown = report._repr_markdown_().splitlines()
    assert shown[:2] == [title, ""]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in shown[2:] if "--:" not in line]
    assert [re.split(r" {2,}", row.strip()) for row in rows] == cells


def test_no_array_is_made() -> None:
    """More than any machine has; and a tree of shapes will do."""
    tx, shape = gradtx.adam(1e-3), jax.ShapeDtypeStruct((2**20, 2**20), jnp.float32)
    assert gradtx.memory_report(tx, {"w": shape}).parameters == 2**40


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"params": 0}, ValueError, "a whole number of them"),
        ({"params": 1.5}, ValueError, "a whole number of them"),
        ({"params": 10, "devices": 0}, ValueError, r"devices=0, zero=0.*at least one device"),
        ({"params": 10, "zero": 4}, ValueError, "a stage from 0 to 3"),
        ({"params": None}, ValueError, r"params=None\): there is no array in it"),
        (
            {"params": "all"},
            TypeError,
            "the parameters at the root are 'all': expected arrays, their shapes and dtypes",
        ),
        (
            {"params": {"w": (3, 4)}},
            TypeError,
            "the parameters at 'w/0' are 3: expected arrays, .* or how many",
        ),
        ({"params": 10, "param_dtype": "float33"}, TypeError, "float33"),
    ],
)
def test_what_is_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        gradtx.memory_report(gradtx.adam(1e-3), **arguments)


def test_what_is_no_transformation_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"memory_report: expected a transformation, not 'x'\. Pass the value"
    ):
        gradtx.memory_report("x", 3)
