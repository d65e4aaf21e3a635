"""One after the other: chain(f, g), where g reads what f returns.

Source: none (how transformations are composed; what they compose has its own sources).
"""

from __future__ import annotations

import itertools
from typing import Any

import jax

from gradtx.combine.parts import check_count, check_names, part_of
from gradtx.contract.facts import facts
from gradtx.contract.reach import ENTRY
from gradtx.contract.running import as_part, now
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.kinds import several
from gradtx.values.value import kept, static
from gradtx.values.wording import shown

__all__ = ["chain", "named_chain"]


def _first_takes_examples(self: Any) -> bool:
    """Whether the first part takes gradients of single examples."""
    return bool(self.parts) and self.parts[0].per_example


class chain(GradientTransformation, reach=ENTRY):
    """Apply transformations in order: each reads what the one before it returned.

    Computes in at least float32 from the first part to the last, and rounds once, at the end.
    Associative: chain(f, chain(g, h)) == chain(chain(f, g), h) == chain(f, g, h). A chain of
    nothing is the identity.

    Args:
        parts: transformations; Optax's are taken as they are.

    Raises:
        TypeError: a part is not a transformation.

    Examples:
        >>> gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(0.1))
        chain(clip_by_global_norm(max_norm=1.0), sgd(learning_rate=0.1))
    """

    parts: tuple[GradientTransformation, ...]

    def __init__(self, *parts: GradientTransformation) -> None:
        flat: list[GradientTransformation] = []
        for i, part in enumerate(parts):
            part = part_of("chain", f"part {i}", part)
            flat.extend(part.parts if isinstance(part, chain) else [part])
        object.__setattr__(self, "parts", tuple(flat))

    def _arguments(self) -> Any:
        return ((None, part) for part in self.parts)

    per_example = property(_first_takes_examples)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> chain:
        return cls(*several("chain", "parts", fields["parts"]))

    def init(self, params: PyTree) -> tuple[Any, ...]:
        return tuple(part.init(params) for part in self.parts)

    def update(
        self, updates: PyTree, state: tuple[Any, ...], params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, tuple[Any, ...]]:
        check_count(state, self.parts)
        frame = now()
        each = frame.each
        if each and (groups := kept(_groups, self)):
            return self._by_groups(groups, updates, state, params, extra)
        after: list[Any] = []
        for (part, behind), old in zip(itertools.zip_longest(self.parts, self.parts[1:]), state, strict=True):
            if hasattr(part, "not_yet") and hasattr(behind, "averages_squares"):
                # The square by itself may overflow. What is not an array yet can't be traced leaf by leaf.
                updates, new = jax.tree.map(part.not_yet, updates), old
                frame.each = False
            else:
                updates, new = part.update(updates, old, params, **extra)
                frame.each = each
            after.append(new)
        return updates, tuple(after)

    def _by_groups(
        self, groups: list[chain], updates: PyTree, state: tuple, params: PyTree | None, extra: dict[str, Any]
    ) -> tuple[PyTree, tuple]:
        """Neighbours that are leafwise are traced together: once per shape for all of them."""
        after: list[Any] = []
        for group in groups:
            before = state[len(after) : len(after) + len(group.parts)]
            if len(group.parts) == 1:
                updates, new = group.parts[0].update(updates, before[0], params, **extra)
                after.append(new)
            else:
                updates, news = as_part(group).update(updates, before, params, **extra)
                after.extend(news)
        return updates, tuple(after)


def _groups(of: chain) -> list[chain]:
    """The leafwise neighbours as one chain each, and every other part alone; none if that gains nothing."""
    found: list[chain] = []
    for leafwise, group in itertools.groupby(of.parts, lambda part: facts(part).leafwise):
        parts = tuple(group)
        found += [chain(*parts)] if leafwise else [chain(part) for part in parts]
    return found if 1 < len(found) < len(of.parts) else []


class named_chain(GradientTransformation, reach=ENTRY):
    """A chain whose parts have names; its state is a dictionary by those names.

    Args:
        parts: pairs of a name and a transformation, as in Optax.

    Raises:
        TypeError: a part is not such a pair.
        ValueError: a name occurs twice.

    Examples:
        >>> tx = gradtx.named_chain(("clip", gradtx.clip(1.0)), ("average", gradtx.ema(0.9)))
        >>> tx.init(jnp.ones(2))["average"]
        EmaState(mean=Array([0., 0.], dtype=float32))
    """

    names: tuple[str, ...] = static()
    parts: tuple[GradientTransformation, ...]

    def __init__(self, *parts: tuple[str, GradientTransformation]) -> None:
        for part in parts:
            if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)):
                raise TypeError(
                    f"named_chain: each part is a pair (name, transformation), not {shown(part)}."
                )
        names = tuple(name for name, _ in parts)
        if len(set(names)) < len(names):
            raise ValueError(f"named_chain: the names must differ; they are {names}.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "parts", tuple(part_of("named_chain", f"part {n!r}", tx) for n, tx in parts))

    def _arguments(self) -> Any:
        return ((None, pair) for pair in zip(self.names, self.parts, strict=True))

    per_example = property(_first_takes_examples)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> named_chain:
        names, parts = (several("named_chain", name, fields[name]) for name in ("names", "parts"))
        if len(names) != len(parts):
            raise ValueError(f"named_chain: {len(names)} names for {len(parts)} parts.")
        return cls(*zip(names, parts, strict=True))

    def init(self, params: PyTree) -> dict[str, Any]:
        return {name: part.init(params) for name, part in zip(self.names, self.parts, strict=True)}

    def update(
        self, updates: PyTree, state: dict[str, Any], params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, dict[str, Any]]:
        check_names(state, list(self.names))
        after = {}
        for name, part in zip(self.names, self.parts, strict=True):
            updates, after[name] = part.update(updates, state[name], params, **extra)
        return updates, after
