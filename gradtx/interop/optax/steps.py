"""Schedules with the step counts that programs give Optax: 1e3, 0.1 * steps, 0.

A whole number is one, whatever its type, and the schedule is gradtx's. For a count that is none (a fraction,
a phase without steps, one beyond 32 bits) it is Optax's own function, which every optimizer takes.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np

from gradtx.values.kinds import Integer, Maybe
from gradtx.values.value import accepted

__all__ = ["with_any_steps"]

Arguments = ParamSpec("Arguments")
_NAMED_SO = ("steps", "boundaries", "boundaries_and_scales", "cosine_kwargs")
"""Arguments that hold step counts: in containers, or by the end of their names."""


def with_any_steps(make: Callable[Arguments, Any], theirs: Callable[..., Any]) -> Callable[Arguments, Any]:
    """`make`, a class of schedules, with step counts as Optax takes them.

    Args:
        make: gradtx's class.
        theirs: Optax's function.
    """
    signature = inspect.signature(make)
    counts = {n for n, kind in _kinds(make) if isinstance(kind, Integer)}

    @functools.wraps(make, updated=())
    def factory(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return make(*args, **kwargs)  # which says it better
        given = bound.arguments
        for name in given:
            if name in counts or name.endswith(_NAMED_SO):
                given[name] = _whole(given[name])
        try:
            return make(*bound.args, **bound.kwargs)
        except (TypeError, ValueError):
            if any(_is_no_count(given[n]) for n in given if n in counts or n.endswith(_NAMED_SO)):
                return theirs(*args, **kwargs)
            raise

    factory.__gradtx__ = make  # type: ignore[attr-defined]
    return factory


def _kinds(make: Any) -> list[tuple[str, Any]]:
    return [(name, kind.inner if isinstance(kind, Maybe) else kind) for name, kind in accepted(make)]


def _whole(x: Any) -> Any:
    """A step count as a whole number where it is one; and so in containers, and for the keys of phases."""
    if isinstance(x, (float, np.floating)) and math.isfinite(x) and x == int(x):
        return int(x)
    if isinstance(x, dict):
        return {_whole(k): _whole(v) if str(k).endswith(_NAMED_SO) else v for k, v in x.items()}
    return type(x)(map(_whole, x)) if type(x) in (list, tuple) else x


def _is_no_count(x: Any) -> bool:
    """Whether Optax takes this for a step count and gradtx does not."""
    if isinstance(x, bool):
        return False
    if isinstance(x, (int, float, np.integer, np.floating)):
        return bool(math.isfinite(x) and (x != int(x) or x == 0 or x >= 2**31))
    if isinstance(x, dict):
        held = [v for k, v in x.items() if str(k).endswith(_NAMED_SO)]
        return any(map(_is_no_count, held or x))
    return isinstance(x, (list, tuple)) and any(map(_is_no_count, x))
