"""The contract: `init(params) -> state`, `update(updates, state, params) -> (updates, state)`.

There are two ways to define a transformation. An *atom* says how to step: a subclass of
`GradientTransformation` with `init` and `update`. A *composite* says what it is made of: a
subclass of `Composite` with `expand()`.

What surrounds every `init` and `update`, whatever the subclass writes, is in `boundary`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import jax

from gradtx.contract.boundary import guard_init, guard_update
from gradtx.contract.reach import ENTRY, Reach
from gradtx.tree import MismatchError, PyTree
from gradtx.values.kinds import Kind
from gradtx.values.value import Value, kept

__all__ = ["Composite", "EmptyState", "GradientTransformation", "need_params", "values_in"]


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


def need_params(self: GradientTransformation, params: PyTree | None) -> PyTree:
    """`params`, or an error that says who needs them."""
    if params is None:
        raise MismatchError(
            f"{type(self).__name__} needs the parameters: call update(updates, state, params)."
        )
    return params


class GradientTransformation(Value, abstract=True):
    """A value with `init(params) -> state` and `update(updates, state, params) -> (updates, state)`.

    To write one, subclass it, annotate the hyperparameters and define `update`; and `init`, if it
    remembers something. Extra arguments that `update` needs are required keyword-only arguments.
    """

    kinds: ClassVar[dict[object, Kind]] = {}
    reach: ClassVar[Reach] = Reach.TREE
    """How far an entry of the update depends on others: see `Reach`. A class that holds transformations
    states it for the way in which it combines them. The widest, which is the default, is always right."""

    def __init_subclass__(
        cls,
        abstract: bool = False,
        *,
        reach: Reach | None = None,
        own_clock: bool | None = None,
        may_skip: bool | None = None,
        takes_any_extra: bool | None = None,
        passes_on: tuple[str, ...] | None = None,
        per_example: bool | None = None,
        real_only: bool | None = None,
    ) -> None:
        super().__init_subclass__(abstract=abstract)
        given = {
            "reach": reach,
            "own_clock": own_clock or may_skip,
            "may_skip": may_skip,
            "takes_any_extra": takes_any_extra,
            "passes_on": passes_on,
            "per_example": per_example,
            "real_only": real_only,
        }
        for name, value in given.items():
            if value is not None:
                setattr(cls, name, value)
        if "init" in vars(cls):
            cls.init = guard_init(cls.init)  # type: ignore[method-assign]
        if "update" in vars(cls):
            cls.update = guard_update(cls.update, expands="is_composite" in vars(cls))  # type: ignore[method-assign]

    is_composite: ClassVar[bool] = False
    own_clock: ClassVar[bool] = False
    """Whether what this holds counts its own steps, and looks up its own schedules."""
    may_skip: ClassVar[bool] = False
    """Whether what this holds may be updated more rarely than this; it then has a clock of its own."""
    takes_any_extra: ClassVar[bool] = False
    passes_on: ClassVar[tuple[str, ...]] = ()
    """Extra arguments that are functions of the parameters, whose own arguments are extra arguments too."""
    per_example: ClassVar[bool] = False
    """Whether it is given gradients of single examples: every leaf then has a first axis of examples,
    which the updates that it returns have lost."""

    real_only: ClassVar[bool] = False
    """Whether its formula has no meaning for complex leaves, which are then refused."""

    def made_of(self) -> list[GradientTransformation]:
        """The transformations that this one holds, or for a composite, its expansion."""
        held = values_in([getattr(self, f.name) for f in dataclasses.fields(self)])
        return [x for x in held if isinstance(x, GradientTransformation)]

    def init(self, params: PyTree) -> PyTree:
        """The state before the first update.

        Args:
            params: the parameters, or their shapes and dtypes (under `jax.eval_shape`), or a tree
                of placeholders without leaves.
        """
        return EmptyState()

    init = guard_init(init, keeps=False)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: PyTree
    ) -> tuple[PyTree, PyTree]:
        """Transform the updates.

        Args:
            updates: gradients, or what the transformation before this one returned.
            state: what `init` or the last `update` returned.
            params: the current parameters, for those that read them.
            extra: further arguments, by name, for those that read them.

        Returns:
            The updates, in the dtypes they came in, and the state, with every shape and dtype kept.

        Raises:
            ValueError: the parameters are missing where they are needed; updates, parameters and
                state do not fit each other, with the path of the leaf.
            TypeError: an extra argument is missing or unknown.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither update nor expand.")

    def __iter__(self) -> Iterator[Callable[..., PyTree]]:
        """`init, update = tx`, as Optax's pairs unpack."""
        return iter((self.init, self.update))


class Composite(GradientTransformation, abstract=True, reach=ENTRY):
    """A transformation that is made of others: a subclass defines `expand` and nothing else."""

    is_composite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._expansion()  # options that exclude each other are refused here, not at init
        except (TypeError, ValueError) as error:
            name, kind = type(self).__name__, TypeError if isinstance(error, TypeError) else ValueError
            if str(error).startswith((f"{name}(", f"{name}:")):
                raise
            raise kind(f"{name}: {error}") from None

    def _expansion(self) -> GradientTransformation:
        return kept(_expand, self)

    real_only: ClassVar[bool] = False
    """Whether its formula has no meaning for complex leaves, which are then refused."""

    def made_of(self) -> list[GradientTransformation]:
        return [self._expansion()]

    @property
    def per_example(self) -> bool:
        """Whether the expansion takes gradients of single examples."""
        return self._expansion().per_example

    def expand(self) -> GradientTransformation:
        """The composition that this stands for, as a transformation."""
        raise NotImplementedError(f"{type(self).__name__} does not define expand.")

    def init(self, params: PyTree) -> PyTree:
        return self._expansion().init(params)

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: PyTree
    ) -> tuple[PyTree, PyTree]:
        return self._expansion().update(updates, state, params, **extra)


def _expand(tx: Composite) -> GradientTransformation:
    return tx.expand()


def values_in(value: object) -> list[object]:
    """The values in a field's containers, and its other leaves."""
    return jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, Value))
