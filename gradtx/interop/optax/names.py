"""Which of Optax's names are gradtx's."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any

import optax

import gradtx
from gradtx.interop.optax import adapters

__all__ = ["CONTRIB", "OURS", "Names", "public"]

_OTHER_CONCEPT = {
    "GradientTransformation",  # the pair of functions; gradtx takes it anywhere
    "Schedule",  # the type of a function of the step
    "bias_correction",  # a function of a moment
    "lookahead",  # of parameters that hold both weights
}


def public(library: Any) -> list[str]:
    """The public names of a module that are no modules."""
    names = (n for n in dir(library) if not n.startswith("_"))
    return [n for n in names if not inspect.ismodule(getattr(library, n))]


def _shared(library: Any) -> dict[str, Any]:
    found = {n: getattr(gradtx, n) for n in public(library) if hasattr(gradtx, n) and n not in _OTHER_CONCEPT}
    return found | {n: getattr(adapters, n) for n in public(library) if n in adapters.__all__}


OURS: Mapping[str, Any] = types.MappingProxyType(_shared(optax))
CONTRIB: Mapping[str, Any] = types.MappingProxyType(_shared(optax.contrib))


class Names(types.ModuleType):
    """A module's names, some of them replaced."""

    def __init__(self, name: str, ours: Mapping[str, Any], library: Any) -> None:
        super().__init__(name, library.__doc__)
        self._ours, self._library = ours, library

    def __getattr__(self, name: str) -> Any:
        return self._ours[name] if name in self._ours else getattr(self._library, name)

    def __dir__(self) -> list[str]:
        return sorted({*self._ours, *public(self._library)})
