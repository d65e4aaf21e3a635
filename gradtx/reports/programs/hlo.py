"""The text of a compiled program, XLA's HLO, as computations of instructions.

    ENTRY %main (p: f32[8]) -> f32[8] {
      %p = f32[8]{0} parameter(0)
      ROOT %negate = f32[8]{0} negate(%p)
    }

A type says where an array lies: `f32[8]{0:T(1024)S(1)}` is in memory space 1, on a TPU the chip's
own; without an S it is in main memory. The text is what `jax.stages.Compiled.as_text` returns, the
same language for CPU, TPU and GPU.

The XLA authors, "HLO text format". https://openxla.org/xla/operation_semantics
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Array", "Computation", "Instruction", "Program", "arrays", "parse"]


class Array(NamedTuple):
    """One array of an instruction's result."""

    bytes: int  # of its entries, without the padding of tiles
    rank: int
    space: int  # 0 is main memory


Type = Any
"""An Array, or a tuple of Types."""


class Instruction(NamedTuple):
    """`name = result opcode(operands), attributes`."""

    name: str
    result: Type
    opcode: str
    operands: tuple[str, ...]
    literal: str  # what stands in the parentheses; of a parameter, its number
    attributes: str

    def attribute(self, key: str) -> str | None:
        """The name or number that stands for `key`, as in index=1."""
        found = re.search(rf'\b{key}=%?"?([\w.\-]+)', self.attributes)
        return found and found.group(1)

    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        return [n for group in _CALLED.findall(self.attributes) for n in re.findall(r"[\w.\-]+", group)]


class Computation:
    """Instructions by name, in order; the root's result is the computation's."""

    def __init__(self) -> None:
        self.instructions: dict[str, Instruction] = {}
        self.users: dict[str, list[tuple[Instruction, int]]] = {}  # and at which place it is read
        self.parameters: dict[int, str] = {}  # by number
        self.root: Instruction | None = None

    def _append(self, instruction: Instruction, is_root: bool) -> None:
        self.instructions[instruction.name] = instruction
        if instruction.opcode == "parameter":
            self.parameters[int(instruction.literal)] = instruction.name
        for i, operand in enumerate(instruction.operands):
            self.users.setdefault(operand, []).append((instruction, i))
        self.root = instruction if is_root else self.root

    def outputs(self) -> list[str]:
        """The names of what the computation returns: of a tuple, its entries."""
        assert self.root is not None
        return list(self.root.operands) if self.root.opcode == "tuple" else [self.root.name]

    def source(self, name: str) -> Instruction:
        """Where a value was made: behind bitcasts, and tuples that were taken apart again."""
        made = self.instructions[name]
        if made.opcode == "bitcast":
            return self.source(made.operands[0])
        if made.opcode == "get-tuple-element":
            whole = self.source(made.operands[0])
            if whole.opcode == "tuple":
                return self.source(whole.operands[int(made.attribute("index") or 0)])
        return made


class Program(NamedTuple):
    """A compiled module."""

    entry: Computation
    computations: dict[str, Computation]
    aliases: dict[int, int]  # number of an output -> number of the parameter whose buffer it takes


def arrays(result: Type) -> Iterator[Array]:
    """The arrays of a type, in order."""
    if isinstance(result, Array):
        yield result
    else:
        for part in result:
            yield from arrays(part)


_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation|branch_computations)="
    r"(%?[\w.\-]+|\{[^}]*\})"
)
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\](?:\{([^}]*)\})?")
_ALIAS = re.compile(r"\{(\d*)\}: \((\d+), \{\}, \w+-alias\)")


def parse(text: str) -> Program:
    """Read a module's text.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry: Computation | None = None
    current: Computation | None = None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations[head.group(2)] = Computation()
            entry = current if head.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (start := _LINE.match(line)):
            current._append(_instruction(start.group(2), line[start.end() :]), bool(start.group(1)))
    if entry is None:
        raise ValueError("expected the HLO text of a compiled module, with an ENTRY computation.")
    aliases = {int(o or 0): int(p) for o, p in _ALIAS.findall(text.partition("\n")[0])}
    return Program(entry, computations, aliases)


def _instruction(name: str, text: str) -> Instruction:
    text = re.sub(r"/\*.*?\*/", "", text)  # long tuples are numbered in comments
    result, at = _type(text, 0)
    opcode, _, rest = text[at:].strip().partition("(")
    literal, attributes = _close(rest)
    return Instruction(name, result, opcode, tuple(re.findall(r"%([\w.\-]+)", literal)), literal, attributes)


def _type(text: str, at: int) -> tuple[Type, int]:
    """The type that starts at `at`, and where it ends."""
    if text[at] == "(":
        parts = []
        at += 1
        while text[at] != ")":
            part, at = _type(text, at)
            parts.append(part)
            while text[at] in ", ":
                at += 1
        return tuple(parts), at + 1
    found = _ARRAY.match(text, at)
    if found is None:
        raise ValueError(f"expected a type in HLO text, not {text[at : at + 40]!r}.")
    dtype, shape, layout = found.groups()
    sizes = [int(re.sub(r"\D", "", n)) for n in shape.split(",") if n]
    space = re.search(r"S\((\d+)\)", layout or "")
    size = (math.prod(sizes) * _bits(dtype) + 7) // 8
    return Array(size, len(sizes), int(space.group(1)) if space else 0), found.end()


def _bits(dtype: str) -> int:
    if dtype == "pred":
        return 8
    number = re.search(r"\d+", dtype)  # f32, bf16, c64, s4, f8e4m3fn; a token has none
    return int(number.group()) if number else 0


def _close(text: str) -> tuple[str, str]:
    """What stands before the closing parenthesis, and what after it."""
    depth = 1
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""
