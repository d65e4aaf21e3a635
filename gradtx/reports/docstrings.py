"""What docstrings say of a class: its first sentence, its formula, its sources.

What a class does not say, its module says. Everything is read from the docstrings, so that no formula and no
citation is written twice:

    the summary     the first sentence
    the formula     the first indented block with mathematics in it, else a first sentence with some in it
    the sources     the links in front of the arguments; or `Source: none` and why, in brackets

Links to code (github.com) are not sources.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import textwrap
from typing import Any

__all__ = ["formula", "is_formula", "prose", "sources", "summary", "why_no_source"]

_LINK = re.compile(r"https?://[^\s<>\"'`]+")
_NO_SOURCE = re.compile(r"Source: none \((.+?)\)\.(?:\n\n|\s*$)", re.DOTALL)
_BLOCK = re.compile(r"(?:^    .*(?:\n+(?=    )|\n|$))+", re.MULTILINE)
_MATHEMATICS = re.compile(r" [-+=/<>] |[‖√²·⌊⌋|½₀-₉ₜᵗ]")
_CODE = re.compile(r"[\"`]|\b[A-Za-z_]\w*\.\w+\(|\b(?:def|import|lambda|return) |gradtx\.")


@functools.lru_cache(1024)  # an explanation asks for them at every node
def prose(thing: Any) -> str:
    """The docstring of a class or a module up to the arguments; '' where it has none of its own."""
    text = inspect.cleandoc(vars(thing).get("__doc__") or "")
    if inspect.isclass(thing) and text == thing.__name__ + str(inspect.signature(thing)).replace(
        " -> None", ""
    ):
        return ""  # which dataclasses puts there
    return re.split(r"\n\n(?:Args|Raises|Returns):\n", text)[0]


def summary(cls: type) -> str:
    """The first sentence."""
    first = " ".join(prose(cls).split("\n\n")[0].split())
    found = re.match(r".*?\.(?=\s+[A-Z(`]|$)", first)
    return found.group() if found else first


def formula(cls: type) -> list[str]:
    """The formula, a line each, as it stands in the docstring; [] where the docstring has none.

    A module's formula is that of its namesake, and of the classes that cite nothing themselves.
    """
    if block := _block(prose(cls)):
        return block
    sentence = summary(cls)
    if is_formula(sentence):
        return [sentence]
    module = sys.modules.get(cls.__module__)
    namesake = cls.__module__.rpartition(".")[2] == cls.__name__
    if module and (namesake or (_links(prose(module)) and _origin(cls) == prose(module))):
        return _block(prose(module))
    return []


def is_formula(text: str) -> bool:
    """Whether there is mathematics in a text, besides what stands there in `code`."""
    plain = re.sub(r"`[^`]*`", "", text)
    return bool(_MATHEMATICS.search(plain)) and not _CODE.search(plain)


def sources(cls: type) -> list[str]:
    """The links to what a class comes from, in the order in which they are cited."""
    return _links(_origin(cls))


def why_no_source(cls: type) -> str:
    """Why a class has no source, where it says so."""
    found = _NO_SOURCE.search(_origin(cls))
    return " ".join(found.group(1).split()) if found else ""


def _origin(cls: type) -> str:
    """The text that names sources, or says that there is none: the class's, else its module's."""
    module = sys.modules.get(cls.__module__)
    texts = [prose(cls), prose(module) if module else ""]
    return next((text for text in texts if _links(text) or _NO_SOURCE.search(text)), "")


def _links(text: str) -> list[str]:
    found = (_trimmed(match) for match in _LINK.findall(text))
    return list(dict.fromkeys(link for link in found if "://github.com/" not in link))


def _trimmed(link: str) -> str:
    """Without the punctuation that belongs to the sentence, and the slash at the end."""
    link = link.rstrip(".,;:/")
    while link.endswith(")") and link.count("(") < link.count(")"):
        link = link[:-1].rstrip(".,;:/")
    return link


def _block(text: str) -> list[str]:
    blocks = (textwrap.dedent(found.group()) for found in _BLOCK.finditer(text))
    block = next((b for b in blocks if is_formula(b)), "")
    return [line.rstrip() for line in block.splitlines() if line.strip()]
