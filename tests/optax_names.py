"""Write docs/optax-names.md: whose each public name of the installed Optax is in `gradtx.interop.optax`.

python -m tests.optax_names
"""

from __future__ import annotations

import inspect
import pathlib
from typing import Any

import optax as peer

from gradtx.interop import optax
from gradtx.interop.optax.names import public

FILE = pathlib.Path(__file__).parent.parent / "docs" / "optax-names.md"

HEAD = """# Optax's names in gradtx

`from gradtx.interop import optax` has every public name of Optax {version}. The first are gradtx's, with
Optax's arguments; the others are Optax's own, and work with them.

"""


def arguments(f: Any) -> list[tuple[str, Any]] | None:
    """Names and defaults of a callable's arguments."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, p.default) for p in parameters]


def names() -> list[tuple[str, Any, Any]]:
    """(name, Optax's object, ours) for every public name, those of optax.contrib too."""
    top = [(n, getattr(peer, n), getattr(optax, n)) for n in public(peer)]
    return top + [
        (f"contrib.{n}", getattr(peer.contrib, n), getattr(optax.contrib, n)) for n in public(peer.contrib)
    ]


def text() -> str:
    """The whole page."""
    found = names()
    mine = [n for n, _, _ in found if optax.whose(n) == "gradtx"]
    others = [n for n, _, _ in found if optax.whose(n) == "optax"]
    return (
        HEAD.format(version=peer.__version__)
        + f"## gradtx's ({len(mine)})\n\n"
        + ", ".join(f"`{n}`" for n in mine)
        + f"\n\n## Optax's own ({len(others)})\n\n"
        + ", ".join(f"`{n}`" for n in others)
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(text())
