"""Optax's names, with gradtx behind them: `from gradtx.interop import optax` in an existing program.

A name whose concept gradtx has is gradtx's, with Optax's arguments: a value that prints, compares and
serialises. Every other name, such as a loss, is Optax's own; `whose` says which is which. Both kinds can
be chained with each other.

`as_optax` and `from_optax` are for programs that use both libraries under their own names.
"""

from __future__ import annotations

from typing import Any

import optax as _optax

from gradtx.interop.bridge import as_optax, from_optax
from gradtx.interop.optax.names import CONTRIB, OURS, Names, public

__all__ = ["as_optax", "contrib", "from_optax", "whose"]

contrib: Any = Names("gradtx.interop.optax.contrib", CONTRIB, _optax.contrib)


def whose(name: str) -> str:
    """'gradtx' or 'optax': whose the public name of Optax is here, `adam` or `contrib.adopt`.

    Raises:
        AttributeError: Optax has no such public name.
    """
    group, _, inner = name.rpartition(".")
    library, ours = (_optax.contrib, CONTRIB) if group == "contrib" else (_optax, OURS)
    if inner not in public(library):
        raise AttributeError(f"Optax {_optax.__version__} has no public name {name!r}.")
    return "gradtx" if inner in ours else "optax"


def __getattr__(name: str) -> Any:
    return OURS[name] if name in OURS else getattr(_optax, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *OURS, *public(_optax)})
