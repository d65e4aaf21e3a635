"""Write docs/optax-names.md: every public name of the installed Optax, and what it is here.

python -m tests.interop.optax_names
"""

from __future__ import annotations

import inspect
import pathlib
from typing import Any, NamedTuple

import optax as peer

from gradtx.interop import optax
from gradtx.interop.optax.names import every, find

FILE = pathlib.Path(__file__).parents[2] / "docs" / "optax-names.md"

HEAD = """# Optax's names in gradtx

`from gradtx.interop import optax` has every public name of Optax {version}, in all of its modules:
`optax.contrib.ademamix`, `optax.transforms.ema`, `optax.tree.get`. Names that are one object are one line.
This page is written by `python -m tests.interop.optax_names`; [migrating.md](migrating.md) says what differs.

"""

OURS = """## gradtx's ({count})

Optax's arguments in Optax's order; *more* are gradtx's own, by name. A *value* prints, compares, hashes and
can be edited; a transformation is Optax's pair of functions at the same time.

| name | is there | is here | arguments |
|---|---|---|---|
"""

YET = """
## Optax's own, not there yet ({count})

They work with gradtx's.

"""

TYPES = """
## Optax's own: states and types ({count})

Classes of Optax's states, in which the states here are too, what reads such states, and type aliases.

"""

OUTSIDE = """
## Optax's own: not gradtx's subject ({count})

Losses, projections, perturbations, assignments, second-order measures, arithmetic on trees, and what is
experimental.

"""

NOT_OF_GRADIENTS = {
    "assignment",
    "experimental.aggregating",
    "losses",
    "perturbations",
    "projections",
    "second_order",
    "tree",
    "tree_utils",
}
"""The modules of what gradtx does not do; of `tree`, what reads states is done."""

OTHER_FUNCTIONS = {"multi_normal", "nnls", "scale_gradient", "monte_carlo"}
"""Functions elsewhere in Optax that make no transformation, and are no part of one."""


OF_STATES = {"init_empty_state", "schedule_free_eval_params", "value_and_grad_from_state"}
"""Functions that make or read a state."""


class Row(NamedTuple):
    """One object of Optax's."""

    names: tuple[str, ...]  # all ways to it, the shortest first
    theirs: Any
    here: Any

    @property
    def ours(self) -> bool:
        return self.theirs is not self.here

    @property
    def group(self) -> str:
        """'ours', 'types', 'outside' or 'yet'."""
        if self.ours:
            return "ours"
        if any(n.rpartition(".")[0] in NOT_OF_GRADIENTS or n in OTHER_FUNCTIONS for n in self.names):
            return "outside"
        of_states = any(n.rpartition(".")[2] in OF_STATES for n in self.names)
        return "yet" if kind(self.theirs) == "function" and not of_states else "types"


def rows() -> list[Row]:
    """Every object of Optax that has a public name, in the order of the shortest."""
    ways: dict[int, list[str]] = {}
    objects: dict[int, tuple[Any, Any]] = {}
    for name in every():
        theirs, here = find(name)
        ways.setdefault(id(theirs), []).append(name)
        objects[id(theirs)] = theirs, here
    found = [Row(tuple(sorted(n, key=_order)), *objects[i]) for i, n in ways.items()]
    return sorted(found, key=lambda row: _order(row.names[0]))


def _order(name: str) -> tuple[int, str, str]:
    at, _, last = name.rpartition(".")
    return name.count("."), at, last.lower()


def kind(x: Any) -> str:
    """What an object is, in a word."""
    if inspect.isclass(x) and hasattr(x, "_fields"):
        return "named tuple"
    if inspect.isclass(x):
        return "class"
    return "alias" if type(x).__module__ == "typing" or hasattr(x, "__origin__") else "function"


def here(row: Row) -> str:
    """What gradtx has for it, in a word."""
    return "value" if hasattr(getattr(row.here, "__gradtx__", row.here), "replace") else kind(row.here)


def arguments(f: Any) -> list[tuple[str, Any]] | None:
    """Names and defaults of a callable's arguments."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, p.default) for p in parameters]


class Difference(NamedTuple):
    """How the arguments here differ from Optax's."""

    renamed: list[tuple[str, str]]  # Optax's name or place, ours
    missing: list[str]
    defaults: list[tuple[str, Any, Any]]  # name, Optax's, ours
    more: list[str]

    def __str__(self) -> str:
        parts = [f"`{a}` is `{b}`" for a, b in self.renamed]
        parts += [f"without `{a}`" for a in self.missing]
        parts += [f"`{a}={_shown(there)}` there, `{_shown(mine)}` here" for a, there, mine in self.defaults]
        parts += [f"more: {', '.join(f'`{a}`' for a in self.more)}"] if self.more else []
        return "; ".join(parts) or "the same"


def _shown(x: Any) -> str:
    return "no default" if x is inspect.Parameter.empty else getattr(x, "__name__", repr(x))


def difference(theirs: Any, ours: Any) -> Difference:
    """How the arguments of ours differ from those of theirs."""
    wanted, found = arguments(theirs) or [], arguments(ours) or []
    pairs = list(zip(wanted, found, strict=False))
    return Difference(
        renamed=[(a, b) for (a, _), (b, _) in pairs if a != b],
        missing=[a for a, _ in wanted[len(found) :]],
        defaults=[(a, x, y) for (a, x), (b, y) in pairs if a == b and not _same(x, y)],
        more=[b for b, _ in found[len(wanted) :]],
    )


def _same(there: Any, mine: Any) -> bool:
    """Whether a default means the same; one where Optax has none is no difference to a program."""
    if there is inspect.Parameter.empty or there is mine:
        return True
    if isinstance(there, peer.GradientTransformation) or (callable(there) and not inspect.isclass(there)):
        return True  # Optax's pair or function; gradtx has its own value, or None for it
    if getattr(there, "__name__", None) == "float32":
        return mine in (None, "float32")  # None is at least float32
    try:
        return bool(there == mine)
    except (TypeError, ValueError):
        return False


def text() -> str:
    """The whole page."""
    groups: dict[str, list[Row]] = {"ours": [], "yet": [], "types": [], "outside": []}
    for row in rows():
        groups[row.group].append(row)
    lines = [
        f"| {_names(row)} | {kind(row.theirs)} | {here(row)} | {_arguments(row)} |" for row in groups["ours"]
    ]
    page = HEAD.format(version=peer.__version__)
    page += OURS.format(count=len(groups["ours"])) + "\n".join(lines) + "\n"
    for head, group in ((YET, "yet"), (TYPES, "types"), (OUTSIDE, "outside")):
        if groups[group]:
            page += head.format(count=len(groups[group])) + ", ".join(map(_names, groups[group])) + "\n"
    return page


def _arguments(row: Row) -> str:
    return str(difference(row.theirs, row.here)) if kind(row.theirs) == "function" else ""


def _names(row: Row) -> str:
    return " = ".join(f"`{name}`" for name in row.names)


if __name__ == "__main__":
    FILE.write_text(text())
    print(optax.__name__, "->", FILE)
