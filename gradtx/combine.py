"""The algebra: `chain`, `ratio` and `add`, and which leaves a transformation sees.

    chain(f, g)      g reads what f returns; associative as a value
    ratio(n, d)      both read the same updates; n / (d + ε)
    add(f, g)        both read the same updates; f + g

A chain alone cannot express Adam, whose denominator must see the raw gradient while its numerator
sees momentum. Each of these is a transformation again, so they nest without limit.

Folklore: how transformations are composed; what they compose has its own sources.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax

from gradtx import numerics, tree
from gradtx.anatomy import FUNCTIONS, Reach, is_leafwise, read_by
from gradtx.hyperparameters import NonNegative
from gradtx.masks import Labels, Mask, select
from gradtx.transformation import GradientTransformation
from gradtx.tree import MismatchError, PyTree
from gradtx.value import is_off, nearest, optional, static

__all__ = ["MaskedNode", "add", "chain", "divided", "freeze", "masked", "named_chain", "partition", "ratio"]


def _part(owner: str, name: str, value: Any) -> GradientTransformation:
    return GradientTransformation.kinds[GradientTransformation].accept(owner, name, value)


class chain(GradientTransformation):
    """Apply transformations in order: each reads what the one before it returned.

    Computes in at least float32 from the first part to the last, and rounds once, at the end.
    Associative: chain(f, chain(g, h)) == chain(chain(f, g), h) == chain(f, g, h). A chain of
    nothing is the identity.

    Args:
        parts: transformations; Optax's are taken as they are.

    Raises:
        TypeError: a part is not a transformation.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    parts: tuple[GradientTransformation, ...]

    def __init__(self, *parts: GradientTransformation) -> None:
        flat: list[GradientTransformation] = []
        for i, part in enumerate(parts):
            part = _part("chain", f"part {i}", part)
            flat.extend(part.parts if isinstance(part, chain) else [part])
        object.__setattr__(self, "parts", tuple(flat))

    def _arguments(self) -> Any:
        return ((None, part) for part in self.parts)

    @property
    def per_example(self) -> bool:
        """Whether the first part takes gradients of single examples."""
        return bool(self.parts) and self.parts[0].per_example

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> chain:
        return cls(*fields["parts"])

    def init(self, params: PyTree) -> tuple:
        return tuple(part.init(params) for part in self.parts)

    def update(
        self, updates: PyTree, state: tuple, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, tuple]:
        _check_count(state, self.parts)
        after: list[Any] = []
        # Neighbours that are leafwise are traced together: once per shape for all of them.
        for together, group in itertools.groupby(self.parts, is_leafwise):
            parts = tuple(group)
            before = state[len(after) : len(after) + len(parts)]
            if together and len(parts) < len(self.parts):
                updates, new = chain(*parts).update(updates, before, params)
                after.extend(new)
                continue
            for part, old in zip(parts, before, strict=True):
                updates, new = part.update(updates, old, params, **read_by(part, extra))
                after.append(new)
        return updates, tuple(after)


class named_chain(GradientTransformation):
    """A chain whose parts have names; its state is a dictionary by those names.

    Args:
        parts: pairs of a name and a transformation, as in Optax.

    Raises:
        TypeError: a part is not such a pair.
        ValueError: a name occurs twice.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    names: tuple[str, ...] = static()
    parts: tuple[GradientTransformation, ...]

    def __init__(self, *parts: tuple[str, GradientTransformation]) -> None:
        for part in parts:
            if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)):
                raise TypeError(f"named_chain: each part is a pair (name, transformation), not {part!r}.")
        names = tuple(name for name, _ in parts)
        if len(set(names)) < len(names):
            raise ValueError(f"named_chain: the names must differ; they are {names}.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "parts", tuple(_part("named_chain", n, tx) for n, tx in parts))

    def _arguments(self) -> Any:
        return ((None, pair) for pair in zip(self.names, self.parts, strict=True))

    @property
    def per_example(self) -> bool:
        """Whether the first part takes gradients of single examples."""
        return bool(self.parts) and self.parts[0].per_example

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> named_chain:
        return cls(*zip(fields["names"], fields["parts"], strict=True))

    def init(self, params: PyTree) -> dict:
        return {name: part.init(params) for name, part in zip(self.names, self.parts, strict=True)}

    def update(
        self, updates: PyTree, state: dict, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, dict]:
        _check_names(state, list(self.names))
        after = {}
        for name, part in zip(self.names, self.parts, strict=True):
            updates, after[name] = part.update(updates, state[name], params, **read_by(part, extra))
        return updates, after


class RatioState(NamedTuple):
    numerator: PyTree
    denominator: PyTree


class ratio(GradientTransformation):
    """numerator(u) / (denominator(u) + ε): both read the same updates.

    Args:
        numerator: a transformation, such as momentum.
        denominator: a transformation whose results are not negative, such as a root mean square.
        eps: ε, at least 0, added *outside* any root that the denominator takes. With ε = 0 a
            leaf of zeros gives 0 / 0, unless the denominator has an ε of its own.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    numerator: GradientTransformation
    denominator: GradientTransformation
    eps: NonNegative = optional(default=0.0)

    def init(self, params: PyTree) -> RatioState:
        return RatioState(self.numerator.init(params), self.denominator.init(params))

    def update(
        self, updates: PyTree, state: RatioState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, RatioState]:
        top, numerator = self.numerator.update(
            updates, state.numerator, params, **read_by(self.numerator, extra)
        )
        bottom, denominator = self.denominator.update(
            updates, state.denominator, params, **read_by(self.denominator, extra)
        )
        return divided(top, bottom, self.eps), RatioState(numerator, denominator)


def divided(top: PyTree, bottom: PyTree, eps: Any) -> PyTree:
    """n / (d + ε), for each leaf."""
    return jax.tree.map(
        lambda n, d: numerics.over(n, d if is_off(eps) else numerics.plus(d, eps)), top, bottom
    )


class add(GradientTransformation):
    """The sum of transformations that all read the same updates.

    Args:
        terms: transformations, at least one.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    terms: tuple[GradientTransformation, ...]

    def __init__(self, *terms: GradientTransformation) -> None:
        if not terms:
            raise TypeError("add: expected at least one transformation.")
        object.__setattr__(self, "terms", tuple(_part("add", f"term {i}", t) for i, t in enumerate(terms)))

    def _arguments(self) -> Any:
        return ((None, term) for term in self.terms)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> add:
        return cls(*fields["terms"])

    def init(self, params: PyTree) -> tuple:
        return tuple(term.init(params) for term in self.terms)

    def update(
        self, updates: PyTree, state: tuple, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, tuple]:
        _check_count(state, self.terms)
        results = [
            term.update(updates, before, params, **read_by(term, extra))
            for term, before in zip(self.terms, state, strict=True)
        ]
        total = jax.tree.map(lambda first, *rest: sum(rest, first), *(u for u, _ in results))
        return total, tuple(s for _, s in results)


# ---------------------------------------------------------------- which leaves


class MaskedNode(NamedTuple):
    """What stands where a masked transformation sees no leaf: a container without leaves."""


def _keep(mask: PyTree, values: PyTree) -> PyTree:
    return jax.tree.map(lambda keep, x: x if keep else MaskedNode(), mask, values)


def _restricted(extra: dict[str, Any], mask: PyTree, params: PyTree | None) -> dict[str, Any]:
    """The extra arguments that are about all leaves, for some: in the objective the others stand still."""

    def of_some(name: str, given: Any) -> Any:
        shaped: Any = jax.tree.structure(given)
        if name == "grad" and shaped == jax.tree.structure(mask):
            return _keep(mask, given)
        if name not in FUNCTIONS or params is None:
            return given

        @functools.wraps(given)  # its signature too
        def restricted(some: PyTree, *args: Any, **kwargs: Any) -> Any:
            whole = jax.tree.map(lambda m, mine, other: mine if m else other, mask, some, params)
            out = given(whole, *args, **kwargs)
            return _keep(mask, out) if name == "grad_fn" else out

        return restricted

    return {name: of_some(name, given) for name, given in extra.items()}


class MaskedState(NamedTuple):
    inner: PyTree  # the inner state, kept for the selected leaves only


class masked(GradientTransformation):
    """Apply a transformation to some leaves only; the others have no state.

    Args:
        inner: the transformation.
        mask: the leaves that it applies to: a tree of booleans, a function of the parameters, or
            a regular expression on the leaf's path.
        otherwise: what becomes of the other leaves. 'pass' leaves their updates as they are, which
            is Optax's rule and right inside a chain; 'freeze' sets them to zero, so that their
            parameters stay.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    inner: GradientTransformation
    mask: Mask = static()
    otherwise: Literal["pass", "freeze"] = static(default="pass", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.otherwise not in ("pass", "freeze"):
            raise ValueError(f"masked(otherwise={self.otherwise!r}): expected 'pass' or 'freeze'.")

    def init(self, params: PyTree) -> MaskedState:
        return MaskedState(self.inner.init(_keep(select(self.mask, params), params)))

    def update(
        self, updates: PyTree, state: MaskedState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, MaskedState]:
        mask = select(self.mask, updates if params is None else params)
        mine = None if params is None else _keep(mask, params)
        seen = _restricted(read_by(self.inner, extra), mask, params)
        new, inner = self.inner.update(_keep(mask, updates), state.inner, mine, **seen)
        rest = tree.zeros_of(updates) if self.otherwise == "freeze" else updates
        return jax.tree.map(lambda m, n, o: n if m else o, mask, new, rest), MaskedState(inner)


class freeze(GradientTransformation):
    """Set the updates of some leaves, or of all, to zero: their parameters stay as they are.

    Args:
        mask: the leaves to freeze; None is all of them.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    mask: Mask | None = static(default=None)

    def update(self, updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, Any]:
        if self.mask is None:
            return tree.zeros_of(updates), state
        frozen = select(self.mask, updates if params is None else params)
        return jax.tree.map(lambda f, u, z: z if f else u, frozen, updates, tree.zeros_of(updates)), state


class PartitionState(NamedTuple):
    groups: dict  # the state of each label's transformation, for its leaves


class partition(GradientTransformation):
    """Each leaf goes to the transformation of its label.

    Args:
        transforms: label -> transformation. `freeze()` keeps a group as it is.
        labels: the leaf's label: a tree of labels, a function of the parameters, or `by_path`
            rules. Every leaf has one.

    Raises:
        ValueError: a leaf's label has no transformation.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    transforms: Mapping[str, GradientTransformation]
    labels: Labels = static()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.transforms, Mapping) or not self.transforms:
            raise TypeError(
                f"partition: transforms must map labels to transformations, not {self.transforms!r}."
            )
        checked = {
            k: _part("partition", f"transforms[{k!r}]", self.transforms[k]) for k in sorted(self.transforms)
        }
        object.__setattr__(self, "transforms", checked)

    def _groups(self, params: PyTree) -> dict[str, PyTree]:
        """label -> a tree of booleans: the leaves that are its."""
        labels = select(self.labels, params)
        flat, structure = jax.tree.flatten(labels)
        for name, label in zip(tree.paths(params), flat, strict=True):
            if label not in self.transforms:
                raise MismatchError(
                    f"the leaf {name!r} has the label {label!r}, which no transformation has."
                    f"{nearest(str(label), self.transforms)} Labels: {', '.join(self.transforms)}."
                )
        return {k: jax.tree.unflatten(structure, [label == k for label in flat]) for k in self.transforms}

    def init(self, params: PyTree) -> PartitionState:
        if not jax.tree.leaves(params):
            return PartitionState({k: tx.init(params) for k, tx in self.transforms.items()})
        groups = self._groups(params)
        return PartitionState({k: tx.init(_keep(groups[k], params)) for k, tx in self.transforms.items()})

    def update(
        self, updates: PyTree, state: PartitionState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, PartitionState]:
        _check_names(state.groups, list(self.transforms))
        groups = self._groups(updates if params is None else params) if jax.tree.leaves(updates) else {}
        out, after = updates, {}
        for k, tx in self.transforms.items():
            mask = groups.get(k, updates)
            mine = None if params is None else _keep(mask, params)
            seen = _restricted(read_by(tx, extra), mask, params)
            new, after[k] = tx.update(_keep(mask, updates), state.groups[k], mine, **seen)
            out = jax.tree.map(lambda m, n, o: n if m else o, mask, new, out)
        return out, PartitionState(after)


# ---------------------------------------------------------------- shared


def _check_count(state: tuple, parts: tuple) -> None:
    if len(state) != len(parts):
        raise MismatchError(
            f"the state has {len(state)} entries for {len(parts)} parts. It belongs to another "
            "transformation: make one with init(params)."
        )


def _check_names(state: dict, names: list[str]) -> None:
    if set(state) != set(names):
        raise MismatchError(
            f"the state has the parts {sorted(state)}, expected {sorted(names)}. It belongs to "
            "another transformation: make one with init(params)."
        )
