"""Optax's names, with gradtx behind them: `from gradtx.interop import optax` in an existing program.

A name whose concept gradtx has is gradtx's, with Optax's arguments: a value that prints, compares and
serialises. Every other name, such as a loss, is Optax's own; `whose` says which is which. Both kinds can
be chained with each other. Optax's modules are here too: `optax.contrib.adopt`, `optax.tree.get`.

`as_optax` and `from_optax` are for programs that use both libraries under their own names.
"""

from __future__ import annotations

import sys
from typing import Any

import optax as _optax

from gradtx.interop.bridge import as_optax, from_optax
from gradtx.interop.optax import names as _names

# What `import *` takes: Optax's list, and what is here besides.
__all__ = [*_optax.__all__, "as_optax", "from_optax", "whose"]

# Registered, so that `from gradtx.interop.optax.contrib import adopt` finds them.
for _at, _module in _names.MODULES.items():
    sys.modules[_module.__name__] = _module
    if "." not in _at:
        globals()[_at] = _module


def whose(name: str) -> str:
    """'gradtx' or 'optax': whose the public name of Optax is here, `adam` or `contrib.adopt`.

    Raises:
        AttributeError: Optax has no such public name.
    """
    theirs, here = _names.find(name)
    return "optax" if here is theirs else "gradtx"


def __getattr__(name: str) -> Any:
    return _names.resolve(getattr(_optax, name))


def __dir__() -> list[str]:
    return sorted({*__all__, *_names.public(_optax), *(at for at in _names.MODULES if "." not in at)})
