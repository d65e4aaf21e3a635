"""The contract: `init(params) -> state`, `update(updates, state, params) -> (updates, state)`.

There are two ways to define a transformation. An *atom* says how to step: a subclass of
`GradientTransformation` with `init` and `update`. A *composite* says what it is made of: a
subclass of `Composite` with `expand()`.

Whatever the subclass writes, its `init` and `update` are guarded: see `guard.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.anatomy import Reach, keywords, remembered_by_value
from gradtx.guard import guard_init, guard_update
from gradtx.hyperparameters import Hyperparameter
from gradtx.kinds import Flag, Integer, Kind, is_array
from gradtx.tree import PyTree
from gradtx.value import Value, static

__all__ = [
    "Composite",
    "EmptyState",
    "GradientTransformation",
    "apply_updates",
    "foreign",
    "need_params",
    "rebuilt",
]


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


def need_params(self: GradientTransformation, params: PyTree | None) -> PyTree:
    """`params`, or an error that says who needs them."""
    if params is None:
        raise ValueError(f"{type(self).__name__} needs the parameters: call update(updates, state, params).")
    return params


class _Transformation:
    """A field that holds a transformation: ours, or any object with Optax's `init` and `update`."""

    def accept(self, owner: str, name: str, value: Any) -> GradientTransformation:
        if isinstance(value, GradientTransformation):
            return value
        pair = not isinstance(value, type) and hasattr(value, "init") and hasattr(value, "update")
        if pair and callable(value.init) and callable(value.update):
            return foreign(value.init, value.update)
        hint = (
            f" Call it: {value.__name__}(...)."
            if isinstance(value, type) and issubclass(value, GradientTransformation)
            else ""
        )
        raise TypeError(f"{owner}: {name} must be a gradient transformation, not {value!r}.{hint}")


class GradientTransformation(Value, abstract=True):
    """A value with `init(params) -> state` and `update(updates, state, params) -> (updates, state)`.

    To write one, subclass it, annotate the hyperparameters and define `update`; and `init`, if it
    remembers something. Extra arguments that `update` needs are required keyword-only arguments.
    """

    kinds: ClassVar[dict[Any, Kind]] = {}
    reach: ClassVar[Reach] = Reach.TREE
    """What an entry of the update depends on, besides that entry: see `Reach`. In what holds others,
    it is said of the way they are combined. The widest, which is the default, is always right."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(abstract=abstract, **kwargs)
        if "init" in vars(cls):
            cls.init = guard_init(cls.init)  # type: ignore[method-assign]
        if "update" in vars(cls):
            cls.update = guard_update(cls.update)  # type: ignore[method-assign]

    is_composite: ClassVar[bool] = False
    own_clock: ClassVar[bool] = False
    """Whether what this holds may be updated more rarely than this: it then looks up its own schedules."""
    takes_any_extra: ClassVar[bool] = False
    passes_on: ClassVar[tuple[str, ...]] = ()
    """Extra arguments that are functions of the parameters, whose own arguments are extra arguments too."""
    per_example: ClassVar[bool] = False
    """Whether it is given gradients of single examples: every leaf then has a first axis of examples,
    which the updates that it returns have lost."""

    def made_of(self) -> list[GradientTransformation]:
        """The transformations that this one holds, or for a composite, its expansion."""
        held = _held([getattr(self, f.name) for f in dataclasses.fields(self)])
        return [x for x in held if isinstance(x, GradientTransformation)]

    def init(self, params: PyTree) -> Any:
        """The state before the first update.

        Args:
            params: the parameters, or their shapes and dtypes (under `jax.eval_shape`), or a tree
                of placeholders without leaves.
        """
        return EmptyState()

    init = guard_init(init)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
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

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        """`init, update = tx`, as Optax's pairs unpack."""
        return iter((self.init, self.update))


class Composite(GradientTransformation, abstract=True):
    """A transformation that is made of others: a subclass defines `expand` and nothing else."""

    reach: ClassVar[Reach] = Reach.ENTRY
    is_composite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expansion()  # options that exclude each other are refused here, not at init

    def _expansion(self) -> GradientTransformation:
        return remembered_by_value(_expand, self)

    def made_of(self) -> list[GradientTransformation]:
        return [self._expansion()]

    @property
    def per_example(self) -> bool:
        """Whether the expansion takes gradients of single examples."""
        return self._expansion().per_example

    def expand(self) -> GradientTransformation:
        """What this is made of, as a transformation."""
        raise NotImplementedError(f"{type(self).__name__} does not define expand.")

    def init(self, params: PyTree) -> Any:
        return self._expansion().init(params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        return self._expansion().update(updates, state, params, **extra)


def _expand(tx: Composite) -> GradientTransformation:
    return tx.expand()


def rebuilt(
    tx: GradientTransformation,
    change: Callable[[GradientTransformation], GradientTransformation],
    whole: Callable[[GradientTransformation], bool] = lambda tx: False,
    again: Callable[[GradientTransformation], GradientTransformation] | None = None,
) -> GradientTransformation:
    """`tx` composed anew of its parts, each of them changed.

    Args:
        tx: a transformation; composites are expanded.
        change: gives the new part for an old one: for an atom, or for what holds others and reads
            more of their results than entry by entry.
        whole: parts that hold others, and are given to `change` as they are.
        again: the same change as a transformation, for what is held by one with a clock of its own: that
            names the numbers in it, so they must stay where they are.
    """
    if tx.is_composite:
        return rebuilt(tx.made_of()[0], change, whole, again)
    if not tx.made_of() or type(tx).reach != Reach.ENTRY or whole(tx):
        return change(tx)

    def inside(x: Any) -> Any:
        if not isinstance(x, GradientTransformation):
            return x
        return again(x) if again is not None and tx.own_clock else rebuilt(x, change, whole, again)

    fields = {f.name: getattr(tx, f.name) for f in dataclasses.fields(tx)}
    held = {
        name: jax.tree.map(inside, value, is_leaf=lambda x: isinstance(x, Value))
        for name, value in fields.items()
        if any(isinstance(x, GradientTransformation) for x in _held(value))
    }
    return tx.replace(**held)


def _held(value: Any) -> list[Any]:
    return jax.tree.leaves(value, is_leaf=lambda x: isinstance(x, Value))


class foreign(GradientTransformation):
    """A transformation given as two functions, which is Optax's protocol.

    It compares and hashes by the functions. `chain` and the other combinators wrap Optax's
    transformations in it by themselves.

    Folklore: it knows nothing of the functions that it holds; cite what you wrap.

    Args:
        init_fn: params -> state.
        update_fn: (updates, state, params) -> (updates, state), with or without extra arguments.

    Raises:
        TypeError: one of them is no function.
    """

    init_fn: Callable[..., Any] = static()
    update_fn: Callable[..., Any] = static()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, given in (("init_fn", self.init_fn), ("update_fn", self.update_fn)):
            if not callable(given):
                raise TypeError(f"foreign({name}={given!r}): expected a function.")

    @property
    def takes_any_extra(self) -> bool:
        """Whether `update_fn` takes any extra argument."""
        return keywords(self.update_fn)[1]

    def init(self, params: PyTree) -> Any:
        return self.init_fn(params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        out, after = self.update_fn(updates, state, params, **(extra if self.takes_any_extra else {}))
        return out, _in_the_dtypes_of(state, after)


def _in_the_dtypes_of(before: PyTree, after: PyTree) -> PyTree:
    """A foreign state with its dtypes kept: of float32 updates, Optax would make a bfloat16 one float32."""
    structure: Any = jax.tree.structure(before)
    if structure != jax.tree.structure(after):
        return after

    def keep(old: Any, new: Any) -> Any:
        if not is_array(old) or not is_array(new) or old.dtype == new.dtype:
            return new
        return new.astype(old.dtype)

    return jax.tree.map(keep, before, after)


GradientTransformation.kinds = {
    float: Hyperparameter(),
    int: Integer(),
    bool: Flag(),
    GradientTransformation: _Transformation(),
}


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """params + updates, added in at least float32 and rounded once to the parameters' dtype.

    Args:
        params: the parameters; a leaf that is None stays None.
        updates: of the same structure and shapes; a leaf that is None leaves its parameter alone.

    Raises:
        ValueError: a shape differs, with the leaf's path.
    """

    def add(path: Any, update: Any, param: Any) -> Any:
        if update is None or param is None:
            return param
        if np.shape(update) != np.shape(param):
            raise ValueError(
                f"apply_updates: the update at {jax.tree_util.keystr(path) or 'the root'} has shape "
                f"{np.shape(update)}, its parameter {np.shape(param)}."
            )
        dtype = jnp.result_type(param)
        if isinstance(update, jax.Array) and update.dtype == dtype == jnp.float32:
            return numerics.plus(update, param)
        wide = numerics.wide_dtype(numerics.wider(dtype, jnp.result_type(update)))
        return (jnp.asarray(param, wide) + jnp.asarray(update, wide)).astype(dtype)

    return jax.tree_util.tree_map_with_path(add, updates, params, is_leaf=lambda x: x is None)
