"""The counter of memory traffic: on texts whose bytes can be counted by hand, and on real programs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

import gradtx
from gradtx.reports.programs import hlo
from gradtx.reports.programs.traffic import Traffic, copies_in, traffic

KB = 1024  # f32[256] has 1024 bytes


def module(entry: str, *computations: str, aliases: str = "") -> str:
    head = f"HloModule m, is_scheduled=true, input_output_alias={{ {aliases} }}, other={{()->()}}"
    body = "\n".join(f"  {line.strip()}" for line in entry.strip().splitlines())
    return "\n\n".join([head, *computations, f"ENTRY %main (p: f32[256]) -> f32[256] {{\n{body}\n}}\n"])


FUSED = """%fused (x: f32[256], y: f32[]) -> (f32[256], f32[256]) {
  %x = f32[256]{0} parameter(0)
  %y = f32[] parameter(1)
  %b = f32[256]{0} broadcast(%y), dimensions={}
  %m = f32[256]{0} multiply(%x, %b)
  ROOT %t = (f32[256]{0}, f32[256]{0}) tuple(%m, %x)
}"""


def test_a_kernel_reads_its_operands_once_and_writes_its_results() -> None:
    text = module(
        """
        %p = f32[256]{0} parameter(0), metadata={op_name="params[\\'a\\']"}
        %s = f32[] parameter(1)
        %f = (f32[256]{0}, /*index=1*/f32[256]{0}) fusion(%p, %s), kind=kLoop, calls=%fused
        %a = f32[256]{0} get-tuple-element(%f), index=0
        %b = f32[256]{0} get-tuple-element(%f), index=1
        %again = f32[256]{0} multiply(%a, %a)
        ROOT %r = (f32[256]{0}, f32[256]{0}) tuple(%again, %b)
        """,
        FUSED,
    )
    assert traffic(text) == Traffic(
        read=KB + 4 + KB, written=3 * KB, kernels=2, scalars=0, copies=0, copied=0, temporary=0
    )


@pytest.mark.parametrize(
    ("dtype", "bytes_"),
    [
        ("pred", 256),
        ("s4", 128),
        ("bf16", 512),
        ("f8e4m3fn", 256),
        ("s32", KB),
        ("c64", 2 * KB),
        ("f64", 2 * KB),
    ],
)
def test_an_entry_has_the_bytes_of_its_dtype(dtype: str, bytes_: int) -> None:
    text = module(
        f"""
        %p = {dtype}[16,16]{{1,0:T(8,128)(2,1)}} parameter(0)
        ROOT %n = {dtype}[16,16]{{1,0:T(8,128)(2,1)}} negate(%p)
        """
    )
    assert traffic(text)[:2] == (bytes_, bytes_)


def test_numbers_are_counted_apart() -> None:
    text = module(
        """
        %s = s32[]{:T(128)} parameter(0)
        %c = s32[]{:T(128)S(6)} copy(%s)
        %one = s32[]{:T(128)} constant(1)
        %a = s32[]{:T(128)} add(%c, %one)
        ROOT %d = s32[]{:T(128)} copy(%a)
        """
    )
    count = traffic(text)
    assert (count.kernels, count.scalars, count.copies) == (0, 3, 0)
    assert count.moved == 4 + 8 + 8  # %c is on the chip; the constant is read


def test_a_transfer_into_the_chips_memory_is_one_read() -> None:
    """A TPU prefetches whole or in slices, computes on chip, and writes back: one read, one write."""
    text = module(
        """
        %p = f32[256]{0:T(256)} parameter(0)
        %q = f32[256]{0:T(256)} parameter(1)
        %s0 = ((f32[256]{0:T(256)}), f32[128]{0:T(256)S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[0:128]}
        %s1 = ((f32[256]{0:T(256)}), f32[128]{0:T(256)S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[128:256]}
        %c = (f32[256]{0:T(256)S(1)}, f32[256]{0:T(256)}, u32[]{:S(2)}) copy-start(%q)
        %d0 = f32[128]{0:T(256)S(1)} slice-done(%s0)
        %d1 = f32[128]{0:T(256)S(1)} slice-done(%s1)
        %d = f32[256]{0:T(256)S(1)} copy-done(%c)
        %whole = f32[256]{0:T(256)S(1)} custom-call(%d0, %d1), custom_call_target="ConcatBitcast"
        %sum = f32[256]{0:T(256)S(1)} add(%whole, %d)
        %back = (f32[256]{0:T(256)}, f32[256]{0:T(256)S(1)}, u32[]{:S(2)}) copy-start(%sum)
        ROOT %out = f32[256]{0:T(256)} copy-done(%back)
        """
    )
    assert traffic(text) == Traffic(2 * KB, KB, kernels=1, scalars=0, copies=0, copied=0, temporary=0)


@pytest.mark.parametrize(
    "way",
    [
        "%out = f32[256]{0} copy(%p)",
        """%c = (f32[256]{0}, f32[256]{0}, u32[]) copy-start(%p)
        %out = f32[256]{0} copy-done(%c)""",
        """%c = (f32[256]{0:S(1)}, f32[256]{0}, u32[]{:S(2)}) copy-start(%p)
        %d = f32[256]{0:S(1)} copy-done(%c)
        %out = f32[256]{0} copy(%d)""",
        """%t = (f32[256]{0}, f32[256]{0}) tuple(%p, %p)
        %g = f32[256]{0} get-tuple-element(%t), index=1
        %b = f32[256]{0} bitcast(%g)
        %out = f32[256]{0} copy(%b)""",
    ],
    ids=["copy", "asynchronous", "by way of the chip", "out of a tuple"],
)
def test_a_copy_from_memory_to_memory_is_seen(way: str) -> None:
    text = module(f"%p = f32[256]{{0}} parameter(0)\n{way}\nROOT %r = (f32[256]{{0}}) tuple(%out)")
    count = traffic(text)
    assert count == Traffic(KB, KB, kernels=0, scalars=0, copies=1, copied=KB, temporary=0)
    (copy,) = copies_in(hlo.parse(text).entry)
    assert copy.source.name == "p"


def test_a_fused_slice_reads_what_it_slices_and_an_update_writes_what_it_updates() -> None:
    fused = """%fused (x: f32[256,256], y: f32[256], i: s32[]) -> f32[256,256] {
  %x = f32[256,256]{1,0} parameter(0)
  %y = f32[256]{0} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  %old = f32[1,256]{1,0} dynamic-slice(%x, %i, %zero), dynamic_slice_sizes={1,256}
  %row = f32[1,256]{1,0} bitcast(%y)
  %new = f32[1,256]{1,0} add(%old, %row)
  ROOT %u = f32[256,256]{1,0} dynamic-update-slice(%x, %new, %i, %zero)
}"""
    text = module(
        """
        %x = f32[256,256]{1,0} parameter(0)
        %y = f32[256]{0} parameter(1)
        %i = s32[] parameter(2)
        ROOT %f = f32[256,256]{1,0} fusion(%x, %y, %i), kind=kLoop, calls=%fused
        """,
        fused,
    )
    assert traffic(text)[:2] == (2 * KB + 4, KB)


BODY = """%body (t: (s32[], f32[256])) -> (s32[], f32[256]) {
  %t = (s32[], f32[256]{0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = f32[256]{0} get-tuple-element(%t), index=1
  %n = f32[256]{0} negate(%x)
  ROOT %r = (s32[], f32[256]{0}) tuple(%i, %n)
}"""
CONDITION = """%condition (t: (s32[], f32[256])) -> pred[] {
  %t = (s32[], f32[256]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}"""


@pytest.mark.parametrize(("known", "times"), [('{"known_trip_count":{"n":"10"}}', 10), ("{}", 1)])
def test_a_loop_counts_as_often_as_it_is_known_to_run(known: str, times: int) -> None:
    text = module(
        f"""
        %t = (s32[], f32[256]{{0}}) parameter(0)
        ROOT %w = (s32[], f32[256]{{0}}) while(%t), condition=%condition, body=%body, backend_config={known}
        """,
        BODY,
        CONDITION,
    )
    assert traffic(text)[:3] == (times * KB, times * KB, times)


def branch(name: str, line: str) -> str:
    return f"%{name} (x: f32[256]) -> f32[256] {{\n  %x = f32[256]{{0}} parameter(0)\n  ROOT {line}\n}}"


def test_of_a_conditional_the_costliest_branch_counts_and_a_call_counts_as_its_body() -> None:
    text = module(
        """
        %p = f32[256]{0} parameter(0)
        %i = s32[] parameter(1)
        %c = f32[256]{0} conditional(%i, %p, %p), branch_computations={%idle, %busy}
        ROOT %d = f32[256]{0} call(%c), to_apply=%busy
        """,
        branch("idle", "%b = f32[256]{0} bitcast(%x)"),
        branch("busy", "%n = f32[256]{0} negate(%x)"),
    )
    assert traffic(text)[:3] == (2 * KB, 2 * KB, 2)


def test_aliases_are_read_from_the_head() -> None:
    text = module(
        "ROOT %p = f32[256]{0} parameter(0)", aliases="{1}: (4, {}, may-alias), {0}: (2, {}, must-alias)"
    )
    assert hlo.parse(text).aliases == {1: 4, 0: 2}


@pytest.mark.parametrize("text", ["", "module { func.func public @main() }"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ENTRY"):
        traffic(text)


# ---------------------------------------------------------------- real programs

PARAMS = {"w": jax.ShapeDtypeStruct((256, 128), jnp.float32), "b": jax.ShapeDtypeStruct((512,), jnp.float32)}
SIZE = 256 * 128 + 512


@functools.cache
def adamw_program():
    tx = gradtx.adamw(1e-3)
    return gradtx.make_step(tx).lower(PARAMS, jax.eval_shape(tx.init, PARAMS), PARAMS).compile()


def test_adamw_moves_40_bytes_per_parameter_on_a_cpu_and_copies_nothing() -> None:
    """Three kernels per leaf: XLA for CPU has none with several results."""
    count = traffic(adamw_program())
    assert count.moved / SIZE == pytest.approx(40, abs=0.01)
    assert (count.kernels, count.copies, count.copied) == (6, 0, 0)
    assert count.temporary == adamw_program().memory_analysis().temp_size_in_bytes


def power(x):
    return jax.lax.fori_loop(0, 7, lambda _, y: y @ x, x)


PROGRAMS = {
    "adamw": adamw_program,
    "matmul": lambda: jax.jit(lambda x: jnp.tanh(x @ x.T) + 1).lower(PARAMS["w"]).compile(),
    "norm": lambda: jax.jit(lambda x: x / jnp.sqrt(jnp.sum(x * x))).lower(PARAMS["w"]).compile(),
    "slice": lambda: jax.jit(lambda x: jnp.sin(x[3]) + x[7]).lower(PARAMS["w"]).compile(),
    "update": lambda: (
        jax.jit(lambda x, y: x.at[5].set(y), donate_argnums=0)
        .lower(PARAMS["w"], jax.ShapeDtypeStruct((128,), jnp.float32))
        .compile()
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_agrees_with_the_compilers_own_count_for_a_cpu(name: str) -> None:
    program = PROGRAMS[name]()
    assert traffic(program).moved == pytest.approx(program.cost_analysis()["bytes accessed"], rel=2e-3)


def test_a_real_loop_is_counted_by_its_trips() -> None:
    square = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    once = traffic(jax.jit(lambda x, y: y @ x).lower(square, square).compile())
    loop = traffic(jax.jit(power).lower(square).compile())
    assert loop.kernels == 7 * once.kernels
    assert loop.moved >= 7 * once.moved
