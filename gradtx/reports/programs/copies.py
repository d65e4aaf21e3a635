"""Find the arrays that a compiled step copies needlessly.

The usual cause is that donated inputs and outputs are in different orders.

`gradtx.step` says how donated memory is paired with outputs. A pair that does not belong together
is not an error, and gives the right numbers: the program copies an array out of the way before it
is overwritten, or into the place that it was promised.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax

from gradtx.reports.programs import hlo
from gradtx.reports.programs.hlo import Computation, Instruction
from gradtx.reports.programs.traffic import copies_in
from gradtx.reports.tables import human_bytes
from gradtx.tree import name

__all__ = ["NeedlessCopies", "needless_copies"]


_SHOWN = 12  # lines; one mistake repeats for every leaf


class NeedlessCopies(NamedTuple):
    """What a step copies at every call. False where that is nothing; prints what to do."""

    where: tuple[str, ...]  # one line per array, the largest first
    moved: int  # bytes read and written to make the copies
    temporary: int  # bytes of memory that the step needs besides arguments and results

    def __bool__(self) -> bool:
        return bool(self.where)

    def __str__(self) -> str:
        if not self:
            return "Nothing is copied needlessly."
        return (
            f"{len(self.where)} needless copies, {human_bytes(self.moved)} moved at every call; "
            f"{human_bytes(self.temporary)} of temporary memory:\n"
            + "".join(f"    {line}\n" for line in self.where[:_SHOWN])
            + (f"    ... and {len(self.where) - _SHOWN} more\n" if len(self.where) > _SHOWN else "")
            + "jit gives the k-th donated array of a shape to the k-th output of that shape, in flattening\n"
            "order. Return what replaces the donated arguments in their order, and in front of everything\n"
            "else: step(params, state, grads) -> (params, state) with donate_argnums=(0, 1). Donate what\n"
            "is returned unchanged. `gradtx.make_step(tx)` does both."
        )


def needless_copies(step: Any, *args: Any, **kwargs: Any) -> NeedlessCopies:
    """Compile a jitted step for these arguments, and say which arrays it copies needlessly.

        report = gradtx.needless_copies(step, params, state, grads)
        assert not report, report

    Counted are copies of arguments, and copies to outputs, on the device that the arguments are on:
    an order that costs a GPU two copies may cost a TPU none. A step that donates nothing copies
    nothing, but holds its old and its new arrays at the same time.

    Args:
        step: a function made by `jax.jit`.
        args: its arguments, or their shapes and dtypes, `jax.eval_shape`'s; nothing runs, and
            nothing is donated.
        kwargs: its arguments by name.

    Raises:
        TypeError: `step` is not jitted.
    """
    if not hasattr(step, "lower"):
        raise TypeError(
            f"needless_copies: expected a function made by jax.jit, with its donate_argnums, not {step!r}."
        )
    compiled = step.lower(*args, **kwargs).compile()
    program = hlo.parse(compiled.as_text())
    entry = program.entry
    paths, _ = jax.tree_util.tree_flatten_with_path(compiled.out_info)
    outputs = [name(path, "output") for path, _ in paths]
    filled_by = {_copied(entry, name): i for i, name in enumerate(entry.outputs())}
    takes = {number: outputs[i] for i, number in program.aliases.items()}
    lines, moved = [], 0
    for copy in sorted(copies_in(entry), key=lambda c: -c.bytes):
        place = filled_by.get(copy.name)
        if place is None and copy.source.opcode != "parameter":
            continue  # inside the step's own arithmetic
        lines.append(
            f"{human_bytes(copy.bytes):>9}  "
            + _line(entry, copy.source, place, outputs, program.aliases, takes)
        )
        moved += 2 * copy.bytes
    return NeedlessCopies(tuple(lines), moved, compiled.memory_analysis().temp_size_in_bytes)


def _line(
    entry: Computation,
    source: Instruction,
    place: int | None,
    outputs: list[str],
    aliases: dict[int, int],
    takes: dict[int, str],
) -> str:
    argument = _argument(source)
    if place is None:
        taker = takes.get(int(source.literal))
        return f"{argument}: saved before {taker or 'another output'} is written into its memory"
    if place not in aliases:
        return f"{outputs[place]}: {argument}, returned unchanged and not donated"
    donated = _argument(entry.instructions[entry.parameters[aliases[place]]])
    return f"{outputs[place]}: copied into the memory of {donated}"


def _copied(entry: Computation, name: str) -> str:
    """The copy, or its start, that makes an output."""
    made = entry.source(name)
    return made.operands[0] if made.opcode == "copy-done" else made.name


def _argument(parameter: Instruction) -> str:
    """The name of an argument, as state/0/mean/kernel; jit leaves state[0].mean['kernel'] in the program."""
    path = re.search(r'op_name="((?:[^"\\]|\\.)*)"', parameter.attributes)
    if path is None:
        return parameter.name
    return re.sub(r"\['(.*?)'\]|\[(\d+)\]|\.(\w+)", _key, path.group(1).replace("\\'", "'"))


def _key(found: re.Match[str]) -> str:
    return f"/{found[found.lastindex or 0]}"
