"""Words that several messages share."""

from __future__ import annotations

import difflib
from typing import Any

__all__ = ["nearest"]


def nearest(name: str, known: Any) -> str:
    """' Did you mean ...?' for the known name nearest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
