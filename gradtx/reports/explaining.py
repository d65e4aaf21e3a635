"""What a value is: its composition as a tree, each piece with its formula and with what it keeps.

Formulas come from the docstrings, bytes from `init`; nothing is written down a second time.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.combine import add, chain, masked, named_chain, partition, ratio
from gradtx.contract.foreign import instead
from gradtx.contract.transformation import GradientTransformation
from gradtx.reports import latex as tex
from gradtx.reports.composition import Kept, Piece, held, nbytes, pieces
from gradtx.reports.docstrings import formula, is_formula, summary
from gradtx.reports.tables import human_bytes
from gradtx.rules.masks import everywhere
from gradtx.schedules.schedule import Schedule
from gradtx.tree import PyTree, leaf_names
from gradtx.values import registry
from gradtx.values.value import Value, behind

__all__ = ["Explanation", "explain"]

_STATELESS = (add, chain, masked, named_chain, partition, ratio)  # keep what their parts keep
_LONGEST = 100  # characters of a call; the arguments that are longer are cut


class Explanation:
    """A composition that can be read: `print` shows it, and a notebook sets its formulas.

    `text`, `markdown` and `latex` are its forms; the LaTeX is a fragment for a document that uses amsmath.
    """

    def __init__(self, root: _Node) -> None:
        self._root = root

    @property
    def text(self) -> str:
        """For a terminal."""
        return "\n".join(_text(self._root))

    @property
    def markdown(self) -> str:
        """A nested list, with formulas between dollar signs."""
        return "\n".join(_markdown(self._root, 0))

    @property
    def latex(self) -> str:
        """Indented paragraphs."""
        return "\n".join(_latex(self._root, 0))

    @property
    def equations(self) -> str:
        """The formula of the whole in LaTeX, without its parts; '' where it has none."""
        return tex.equations(self._root.lines) if is_formula("\n".join(self._root.lines)) else ""

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.markdown


class _Node(NamedTuple):
    label: str
    call: str
    lines: list[str]  # the formula, or a sentence
    state: str
    parts: list[_Node]


def explain(tx: Value, params: PyTree | None = None) -> Explanation:
    """The composition of `tx`, each piece with its formula, its state and that state's bytes.

    Args:
        tx: a transformation or a schedule.
        params: the parameters, or their shapes and dtypes. Without them the bytes are those for two large
            float32 matrices, all of which every mask selects.

    Returns:
        What prints as text; `.markdown` and `.latex` are its other forms.

    Raises:
        TypeError: `tx` is neither a transformation nor a schedule.
        ValueError: the parameters do not fit a mask or a label.
    """
    tx = behind(tx)
    if isinstance(tx, Schedule):
        return Explanation(_schedule("", tx))
    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"explain: expected a transformation or a schedule, {instead(tx)}")
    if params is None:
        return Explanation(_node(_tried("", tx), _size(_MATRICES)))
    return Explanation(_node(pieces(tx, params), _size(params)))


# ---------------------------------------------------------------- what is kept

_MATRICES = {
    name: jax.ShapeDtypeStruct((1024, width), jnp.float32) for name, width in (("a", 512), ("b", 1024))
}
_UNKNOWN = (Kept("?", (), ()),)  # depends on parameters that nobody has given


class _Size(NamedTuple):
    entries: int
    leaves: frozenset[str]  # their paths


def _size(params: PyTree) -> _Size:
    leaves = jax.tree.leaves(params)
    return _Size(sum(nbytes(x).size for x in leaves), frozenset(leaf_names(params)))


def _tried(label: str, tx: Any) -> Piece:
    """The pieces for two matrices; where masks or layouts do not fit them, each part by itself."""
    for value in (tx, everywhere(tx)):
        try:
            return pieces(value, _MATRICES)._replace(label=label, value=tx)
        except Exception:  # the stand-in matrices do not suit every transformation
            continue
    parts = tuple(_tried(name, part) for name, part in held(tx))
    known = parts and (tx.is_composite or isinstance(tx, _STATELESS))
    return Piece(label, tx, () if known else _UNKNOWN, parts)


def _amount(kept: list[Kept], size: _Size) -> str:
    per_entry = per_leaf = fixed = 0.0
    for field in kept:
        if any(array.size > 1 for array in field.arrays):
            per_entry += field.nbytes / size.entries
        elif set(field.paths) == size.leaves != {""}:
            per_leaf += field.nbytes / len(size.leaves)
        else:
            fixed += field.nbytes
    amounts = [(per_entry, " per parameter"), (per_leaf, " per leaf"), (fixed, "")]
    return " + ".join(f"{human_bytes(amount)}{of}" for amount, of in amounts if amount)


def _state(piece: Piece, size: _Size) -> str:
    if not piece.counted:
        return "state: counted above"
    if any(field in _UNKNOWN for field in piece.kept):
        return "state: depends on the parameters"
    parts = [f"{field.name} {_amount([field], size)}" for field in piece.keeps if field.nbytes]
    if piece.parts and (total := _amount(piece.kept, size)):
        parts.append(f"{total} in all" if parts else total)
    return f"state: {', '.join(parts)}" if parts else "no state"


# ---------------------------------------------------------------- nodes


def _node(piece: Piece, size: _Size) -> _Node:
    inside = piece.parts
    if piece.value.is_composite and isinstance(inside[0].value, chain):
        inside = inside[0].parts  # one after the other, which goes without saying
    parts = [_node(part, size) for part in inside]
    if not piece.value.is_composite:  # whose schedules are in its expansion again
        parts += _schedules(piece.value)
    return _Node(piece.label, _call(piece.value), _lines(piece.value), _state(piece, size), parts)


def _schedule(label: str, schedule: Schedule) -> _Node:
    return _Node(label, _call(schedule), _lines(schedule), "", _schedules(schedule))


def _schedules(value: Value) -> list[_Node]:
    """The schedules that are arguments of a value."""
    found = []
    for field in dataclasses.fields(value):
        inside = getattr(value, field.name)
        many = inside if isinstance(inside, (tuple, list)) else (inside,)
        found += [_schedule("" if many is inside else field.name, x) for x in many if isinstance(x, Schedule)]
    return found


def _lines(value: Value) -> list[str]:
    cls = type(value)
    return formula(cls) or ([summary(cls)] if summary(cls) else [])


def _call(value: Value) -> str:
    """The call that makes it, without the arguments that are pieces of their own."""
    composite = isinstance(value, GradientTransformation) and value.is_composite
    shown = []
    for name, argument in value._arguments():
        own = any(
            isinstance(x, Value) for x in jax.tree.leaves(argument, is_leaf=lambda x: isinstance(x, Value))
        )
        if own and not composite:
            continue
        text = one_line(argument)
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1] + "…"
        shown.append(text if name is None else f"{name}={text}")
    return type(value).__name__ + (f"({', '.join(shown)})" if shown else "")


def one_line(value: Any) -> str:
    """Its repr, which may have an argument to a line, in one."""
    return re.sub(r"\s+", " ", re.sub(r",?\n *(?=[)\]}])|(?<=[(\[{])\n *", "", repr(value)))


# ---------------------------------------------------------------- forms


def _text(node: _Node) -> list[str]:
    head = f"{node.label}: {node.call}" if node.label else node.call
    detail = [*node.lines, *([node.state] if node.state else [])]
    out = [head, *(f"{'│' if node.parts else ' '}    {line}" for line in detail)]
    for i, part in enumerate(node.parts):
        last = i == len(node.parts) - 1
        first, *rest = _text(part)
        out += [f"{'└' if last else '├'}─ {first}", *(f"{' ' if last else '│'}  {line}" for line in rest)]
    return [line.rstrip() for line in out]


def _markdown(node: _Node, depth: int) -> list[str]:
    pad = "  " * depth
    head = (f"{node.label}: " if node.label else "") + f"`{node.call}`"
    detail = [*map(tex.inline, node.lines), *([node.state] if node.state else [])]
    first = f"{pad}- " + "  \n".join([head, *(f"{pad}  {line}" for line in detail)])
    return [first, *(line for part in node.parts for line in _markdown(part, depth + 1))]


def _latex(node: _Node, depth: int) -> list[str]:
    head = (f"{tex.escape(node.label)}: " if node.label else "") + rf"\texttt{{{tex.escape(node.call)}}}"
    lines = [
        head,
        *(tex.inline(line, markdown=False) for line in node.lines),
        *([node.state] if node.state else []),
    ]
    out = [rf"\par\noindent\hspace*{{{2 * depth + (2 if i else 0)}em}}{line}" for i, line in enumerate(lines)]
    return [*out, *(line for part in node.parts for line in _latex(part, depth + 1))]


def _in_a_notebook(value: Value) -> Explanation | None:
    try:
        return explain(value)
    except (TypeError, ValueError):  # a rule, say, or a class that needs other parameters
        return None


registry.explain_by(_in_a_notebook)
