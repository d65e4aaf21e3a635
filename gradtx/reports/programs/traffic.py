"""What a compiled program costs: the bytes it moves to and from main memory, from its own text.

XLA compiles a step to kernels. Each reads its operands from main memory and writes its results
there, and an optimizer's step does little else: on an accelerator its time is the bytes moved over
the memory's speed. AdamW in one kernel per leaf reads p, m, v, g and writes p, m, v:

    7 · 4 = 28 bytes per float32 parameter

Nothing runs, so the program may be for a TPU or a GPU that is not there. Unlike `cost_analysis`
the count is the same for every target: on a TPU a transfer into the chip's own memory is one read,
and the kernel that finds its operand there reads nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from gradtx.reports.programs import hlo
from gradtx.reports.programs.hlo import Array, Computation, Instruction, Program, arrays

__all__ = ["Copy", "Traffic", "copies_in", "traffic"]


class Traffic(NamedTuple):
    """What one run of a program does."""

    read: int  # bytes, from main memory
    written: int  # bytes, to main memory
    kernels: int  # that touch an array; transfers and copies are not counted
    scalars: int  # instructions on numbers alone
    copies: int  # arrays copied from main memory to main memory
    copied: int  # bytes of those arrays, each of which is read and written
    temporary: int  # bytes of main memory besides arguments and results

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


def traffic(compiled: Any) -> Traffic:
    """Count what a compiled program reads, writes and copies.

    A loop counts as often as it runs, if the compiler knows how often that is, otherwise once; of
    a conditional the costliest branch counts. Bytes are those of the entries, without padding.

    Args:
        compiled: what `jax.jit(f).lower(...).compile()` returns, or its `as_text()`. From a text
            the temporary bytes are not known, and 0.

    Raises:
        ValueError: the text is not that of a compiled program.
        TypeError: it is neither a compiled program nor a text.
    """
    if not isinstance(compiled, str) and not hasattr(compiled, "memory_analysis"):
        raise TypeError(
            f"traffic: expected a compiled program, not {compiled!r}. "
            "Compile it: jax.jit(f).lower(...).compile()."
        )
    memory = None if isinstance(compiled, str) else compiled.memory_analysis()
    program = hlo.parse(compiled if isinstance(compiled, str) else compiled.as_text())
    count = _count(program, program.entry)
    count["temporary"] = memory.temp_size_in_bytes if memory is not None else 0
    return Traffic(**{name: count[name] for name in Traffic._fields})


# ---------------------------------------------------------------- counting

_FREE = {
    "add-dependency", "after-all", "bitcast", "constant", "domain", "get-tuple-element",
    "opt-barrier", "parameter", "partition-id", "replica-id", "tuple",
}  # fmt: skip
_FREE_TARGETS = {"AllocateBuffer", "ConcatBitcast"}  # other names for memory that is there
_SLICES = {"slice", "dynamic-slice", "gather", "slice-start", "dynamic-slice-start"}
_IN_PLACE = {"dynamic-update-slice": 1, "scatter": -1}  # and which operand is the update


def _count(program: Program, computation: Computation) -> Counter[str]:
    total: Counter[str] = Counter()
    for op in computation.instructions.values():
        total += _cost(program, computation, op)
    for copy in copies_in(computation):
        total += Counter(copies=1, copied=copy.bytes)
    return total


def _cost(program: Program, computation: Computation, op: Instruction) -> Counter[str]:
    if op.opcode in _FREE or op.opcode.endswith(("-done", "-update")):
        return Counter()
    if op.opcode == "custom-call" and op.attribute("custom_call_target") in _FREE_TARGETS:
        return Counter()
    if op.opcode not in ("while", "conditional", "call", "async-start"):
        return _kernel(program, computation, op)
    inner = [_count(program, program.computations[name]) for name in op.called()]
    if op.opcode == "conditional":
        return max(inner, key=lambda c: c["read"] + c["written"])
    trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', op.attributes)
    times = int(trips.group(1)) if trips else 1
    return Counter({k: times * n for k, n in sum(inner, Counter()).items()})


def _kernel(program: Program, computation: Computation, op: Instruction) -> Counter[str]:
    given = dict.fromkeys(op.operands)  # each once: a kernel keeps what it has read
    operands = [a for name in given for a in arrays(computation.instructions[name].result)]
    on_arrays = any(a.rank for a in [*operands, *arrays(op.result)])
    computes = op.opcode != "copy" and not op.opcode.endswith("-start")
    return Counter(
        read=sum(_read(program, computation, op, name) for name in given),
        written=_written(program, computation, op),
        kernels=int(on_arrays and computes),
        scalars=int(not on_arrays),
    )


def _in_main(result: Any) -> int:
    return sum(a.bytes for a in arrays(result) if a.space == 0)


def _read(program: Program, computation: Computation, op: Instruction, name: str) -> int:
    whole = _in_main(computation.instructions[name].result)
    place = op.operands.index(name)
    if op.opcode == "fusion":
        fused = program.computations[op.called()[0]]
        return min(whole, _used(fused, fused.parameters[place], whole))
    return min(whole, _portion(op, place, whole))


def _used(fused: Computation, name: str, whole: int) -> int:
    """How much of a value of `whole` bytes its users in a fused kernel read."""
    total = 0
    for user, place in fused.users.get(name, ()):
        if user.opcode == "bitcast":
            total += _used(fused, user.name, whole)
        else:
            total += _portion(user, place, whole)
    return total


def _portion(op: Instruction, place: int, whole: int) -> int:
    if op.opcode in _SLICES and place == 0:
        return sum(a.bytes for a in arrays(_destination(op)))
    if op.opcode in _IN_PLACE and place == 0:
        return 0
    return whole


def _written(program: Program, computation: Computation, op: Instruction) -> int:
    results = list(arrays(_destination(op)))
    made = [op]
    if op.opcode == "fusion":
        computation = program.computations[op.called()[0]]
        made = [computation.source(name) for name in computation.outputs()]
    if len(made) != len(results):
        return _in_main(_destination(op))
    sizes = [min(a.bytes, _changed(computation, m, a.bytes)) for a, m in zip(results, made, strict=True)]
    return sum(size for size, a in zip(sizes, results, strict=True) if a.space == 0)


def _changed(computation: Computation, op: Instruction, whole: int) -> int:
    if op.opcode not in _IN_PLACE:
        return whole
    update = op.operands[_IN_PLACE[op.opcode]]
    return sum(a.bytes for a in arrays(computation.instructions[update].result))


def _destination(op: Instruction) -> Any:
    """What an instruction writes; the tuple of an asynchronous one names its operands as well."""
    if op.opcode == "copy-start":
        return op.result[0]
    if op.opcode.endswith("-start") and op.opcode != "all-reduce-start" and isinstance(op.result, tuple):
        return op.result[1]
    return op.result


# ---------------------------------------------------------------- copies


class Copy(NamedTuple):
    """An array that is copied from main memory to main memory."""

    name: str  # of the instruction
    source: Instruction  # what made the array: a parameter, or a kernel
    bytes: int


def copies_in(computation: Computation) -> list[Copy]:
    """The arrays that a computation copies, also by way of the chip's own memory.

    A kernel's result that is copied out of the chip's memory does not count as a copy: it is written for the
    first time. Nor is a number.
    """
    found = []
    for op in computation.instructions.values():
        if op.opcode in ("copy", "copy-start"):
            new = _destination(op)
            source = _stored(computation, op.operands[0])
            if isinstance(new, Array) and new.rank and new.space == 0 and source is not None:
                found.append(Copy(op.name, source, new.bytes))
    return found


def _stored(computation: Computation, name: str) -> Instruction | None:
    """The value in main memory that `name` is, or was transferred from; None for a new one."""
    result, made = computation.instructions[name].result, computation.source(name)
    if isinstance(result, Array) and result.space == 0:
        return made
    moved = (
        made.opcode.startswith(("copy", "slice-")) or made.attribute("custom_call_target") in _FREE_TARGETS
    )
    return _stored(computation, made.operands[0]) if moved and made.operands else None
