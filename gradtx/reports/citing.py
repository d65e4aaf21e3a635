"""BibTeX of what a value is made of.

Docstrings cite with links, and `references.bib` has an entry for each link: the link is the key.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

import jax

from gradtx.contract.clock import is_transformation
from gradtx.contract.foreign import instead
from gradtx.reports.docstrings import sources
from gradtx.values.value import Value, behind

__all__ = ["cite", "references"]


def cite(tx: Value) -> str:
    """BibTeX entries of every source in `tx`, each once, in the order in which its composition names them.

    A composite's own sources stand in front of those of its parts; schedules have theirs too. A class of
    your own is cited by the links in front of the arguments in its docstring, or its module's.

    Args:
        tx: a transformation or a schedule.

    Returns:
        Entries with an empty line between them; '' where nothing has a source, such as `scale(0.1)`.

    Raises:
        TypeError: `tx` is neither.
    """
    tx = behind(tx)
    if not isinstance(tx, Value):
        raise TypeError(f"cite: expected a transformation or a schedule, {instead(tx)}")
    known = references()
    return "\n\n".join(known.get(link) or _unknown(link, name) for link, name in _cited(tx).items())


@functools.cache
def references() -> dict[str, str]:
    """link -> BibTeX entry, for every source that gradtx's docstrings cite."""
    text = importlib.resources.files("gradtx").joinpath("references.bib").read_text("utf-8")
    entries = [part.strip() for part in text.split("\n\n") if part.lstrip().startswith("@")]
    return {_link(entry): entry for entry in entries}


def _link(entry: str) -> str:
    found = re.search(r"^  url = \{(.+)\},$", entry, re.MULTILINE)
    assert found, f"references.bib: no url in {entry}"
    return found.group(1)


def _unknown(link: str, name: str) -> str:
    key = re.sub(r"\W+", "-", link.partition("://")[2]).strip("-")
    return f"@misc{{{key},\n  title = {{The source of {name}}},\n  url = {{{link}}},\n}}"


def _cited(tx: Value) -> dict[str, str]:
    """link -> the class that names it first."""
    found: dict[str, str] = {}
    for value in _values(tx):
        for link in sources(type(value)):
            found.setdefault(link, type(value).__name__.replace("_", " "))
    return found


def _values(value: Value) -> Iterator[Value]:
    """The value and all that it is made of: parts of its expansion first, then what its fields hold."""
    yield value
    if is_transformation(value) and value.is_composite:  # type: ignore[attr-defined]
        yield from _values(value.made_of()[0])  # type: ignore[attr-defined]
    for field in dataclasses.fields(value):
        held: list[Any] = jax.tree.leaves(getattr(value, field.name), is_leaf=lambda x: isinstance(x, Value))
        for inner in held:
            if isinstance(inner, Value):
                yield from _values(inner)
