"""The classes that gradtx exports, by name: what `repr` prints, JSON holds and the command line reads.

    registry.public(Schedule)["cosine_decay_schedule"]

`gradtx/__init__.py` fills it with its last line, so that no module below has to import the package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["explain_by", "explained", "names", "public", "publish"]

_names: dict[str, type[Any]] = {}
_explain: list[Callable[[Any], Any]] = []


def publish(namespace: Mapping[str, Any]) -> None:
    """Take over the classes of a namespace: those whose instances are values."""
    _names.update(
        {n: c for n, c in namespace.items() if inspect.isclass(c) and hasattr(c, "__dataclass_fields__")}
    )


def names() -> dict[str, type[Any]]:
    """Every exported class by its name: eval(repr(tx), names()) == tx."""
    return dict(_names)


def public(base: type[Any]) -> dict[str, Any]:
    """The exported classes of a kind that can be built, by name.

    Args:
        base: `Value` for all, or a class below it.
    """
    return {n: c for n, c in _names.items() if issubclass(c, base) and not c._abstract}


def explain_by(explain: Callable[[Any], Any]) -> None:
    """Let a notebook show values by this function, which is defined far above them."""
    _explain[:] = [explain]


def explained(value: Any) -> Any:
    """The explanation of a value; None where it has none."""
    return _explain[0](value) if _explain else None
