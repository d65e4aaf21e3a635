"""What the drop-in's names return: Optax's pair of functions, with a value of gradtx behind it.

    tx = optax.adam(1e-3)
    isinstance(tx, the real optax.GradientTransformation)      True
    tx                                                         adam(learning_rate=0.001)
    tx.init(params)[0].mu                                      in optax.ScaleByAdamState

Its state is in Optax's classes and is converted where it comes in and goes out (see `states`). Extra
arguments that nothing reads are ignored, as in Optax.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

import jax
import optax

import gradtx
from gradtx import tree
from gradtx.contract.facts import read_by
from gradtx.interop.optax.states import Way, counting, inward, outward
from gradtx.tree import PyTree
from gradtx.values.value import kept

__all__ = ["Transformation", "makes", "plain"]

Arguments = ParamSpec("Arguments")


class Transformation(optax.GradientTransformationExtraArgs):
    """A transformation of gradtx as Optax's pair: it prints, compares, hashes and pickles as the value.

    Its fields are those of the value, `tx.learning_rate`, and so is `tx.replace(learning_rate=1e-4)`. Every
    function of gradtx takes it for the value. jax sees the numbers in it, as in the value.

    Args:
        value: the transformation.
    """

    __gradtx__: gradtx.GradientTransformation

    def __new__(cls, value: gradtx.GradientTransformation) -> Transformation:
        new = tuple.__new__(cls, kept(_pair, value))
        new.__gradtx__ = value
        return new

    @property
    def __gradtx_runs__(self) -> in_optaxs_form:
        return in_optaxs_form(self.__gradtx__)

    @property
    def running(self) -> gradtx.GradientTransformation:
        """What `update` runs: the value, with a counter where Optax's state has one and gradtx's has none."""
        return counting(self.__gradtx__)

    def replace(self, **changes: Any) -> Transformation:
        """The same transformation with some fields changed.

        Args:
            changes: fields of the value, and what they are to be.

        Raises:
            TypeError: a name is not a field.
        """
        return type(self)(self.__gradtx__.replace(**plain(changes)))

    def _replace(self, **changes: Any) -> Any:
        """Optax's pair with another function in it."""
        return optax.GradientTransformationExtraArgs(self.init, self.update)._replace(**changes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__gradtx__, name)

    def __repr__(self) -> str:
        return repr(self.__gradtx__)

    def __eq__(self, other: object) -> bool:
        return self.__gradtx__ == plain(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.__gradtx__)

    def __reduce__(self) -> Any:
        return type(self), (self.__gradtx__,)


jax.tree_util.register_pytree_with_keys(
    Transformation,
    lambda tx: (((jax.tree_util.GetAttrKey("value"), tx.__gradtx__),), None),
    lambda _, children: _unflattened(*children),
)


def _unflattened(value: Any) -> Any:
    """jax puts its own sentinels in the place of a value."""
    return Transformation(value) if isinstance(value, gradtx.GradientTransformation) else value


def _pair(value: gradtx.GradientTransformation) -> tuple[Callable[..., PyTree], Callable[..., PyTree]]:
    """`init` and `update` as functions, which is what Optax's pair holds."""
    running = counting(value)

    def init_fn(params: PyTree) -> PyTree:
        with _named_after(value):
            return outward(running, running.init(params), Way())

    def update_fn(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        # A micro-batch's weight is gradtx's: Optax's state has no place for the sum of them.
        extra = {n: v for n, v in extra_args.items() if n != "weight"}
        # A line search refuses what its objective does not read, as in Optax; nothing else does.
        extra = extra if _searches(running) else read_by(running, extra)
        with _named_after(value):
            before = inward(
                running, tree.as_arrays(state), Way()
            )  # Python's numbers, where a program set some
            updates, after = running.update(updates, before, params, **extra)
            return updates, outward(running, after, Way())

    return init_fn, update_fn


@contextlib.contextmanager
def _named_after(value: gradtx.GradientTransformation) -> Iterator[None]:
    """Errors about trees name the transformation, not what counts around it."""
    try:
        yield
    except tree.MismatchError as error:
        error.owner = type(value).__name__
        raise


def _searches(tx: gradtx.GradientTransformation) -> bool:
    """Whether there is a line search in it."""
    return "value_fn" in type(tx).passes_on or any(map(_searches, tx.made_of()))


class in_optaxs_form(gradtx.GradientTransformation, own_clock=True, takes_any_extra=True):
    """A transformation whose state is Optax's: what gradtx runs, where it is handed a pair of the drop-in.

    Args:
        tx: the transformation.
    """

    tx: gradtx.GradientTransformation

    @property
    def per_example(self) -> bool:
        """Whether the transformation takes gradients of single examples."""
        return self.tx.per_example

    def init(self, params: PyTree) -> Any:
        return kept(_pair, self.tx)[0](params)

    def update(
        self, updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        return kept(_pair, self.tx)[1](updates, state, params, **extra)


def plain(x: Any) -> Any:
    """The value behind a transformation; and so in lists, tuples and dictionaries."""
    if isinstance(x, Transformation):
        return x.__gradtx__
    if type(x) in (list, tuple):
        return type(x)(map(plain, x))
    if type(x) is dict:
        return {key: plain(held) for key, held in x.items()}
    return x


def makes(make: Callable[Arguments, Any]) -> Callable[Arguments, Transformation]:
    """`make`, which makes a value of gradtx, as a function with Optax's result.

    Args:
        make: a class of gradtx, or a function that returns a transformation.
    """

    @functools.wraps(make, updated=())
    def factory(*args: Any, **kwargs: Any) -> Transformation:
        plainly: Any = make  # given what is behind its arguments
        return Transformation(plainly(*map(plain, args), **{name: plain(x) for name, x in kwargs.items()}))

    factory.__gradtx__ = make  # type: ignore[attr-defined]
    return factory
