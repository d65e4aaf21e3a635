"""Words that several messages share."""

from __future__ import annotations

import difflib
import types
from typing import Any

__all__ = ["a_kind", "nearest", "shown"]

_LONGEST = 200  # characters of what arrived, in a message


def shown(x: Any) -> str:
    """What arrived, for a message: its repr, cut short; its type where it has none."""
    try:
        text = x.__qualname__ if isinstance(x, types.FunctionType) else repr(x)
    except Exception:  # whole numbers of more than 4300 digits, and objects whose repr fails
        return f"<{type(x).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def a_kind(x: Any) -> str:
    """The type of what arrived, for a message: 'a str', 'an int', 'the class adam'."""
    if isinstance(x, type):
        return f"the class {x.__name__}"
    name = type(x).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def nearest(name: str, known: Any) -> str:
    """' Did you mean ...?' for the known name nearest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
