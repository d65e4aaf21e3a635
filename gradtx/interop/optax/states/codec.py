"""How the state of a transformation is converted between gradtx's classes and Optax's: the mechanism.

    gradtx   (RatioState(numerator=(EmaState(m), ...), denominator=(..., EmaState(v), ...)), EmptyState())
    Optax    (ScaleByAdamState(count, mu=m, nu=v), EmptyState())

A transformation of the drop-in converts where it is entered and left, and nowhere else: what runs between is
gradtx's own program. Arrays are handed over as they are. Optax has one count where gradtx has a counter
beside each average; where gradtx has no counter at all, `counted` keeps one.

A state that Optax's class can't hold stays gradtx's, and so does that of a schedule of a number that is no
schedule in Optax.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

from gradtx.contract.facts import facts
from gradtx.contract.runtime import HyperparamsState, at_step, levels_of
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.tree import MismatchError, PyTree

__all__ = ["Codec", "Convert", "Way", "codec_of", "inward", "known", "outward", "unfit"]


@dataclasses.dataclass(frozen=True)
class Way:
    """What is known on the way through a state. The lists are of what one transformation looks up."""

    top: bool = True  # whether the transformation here looks up its schedules itself
    masked: bool = False  # whether some leaves may be left out here
    step: Any = None  # where the schedules are read
    count: Any = None  # what `counted` has counted
    rates: list[Any] = dataclasses.field(default_factory=list)  # counts of schedules that were met
    counts: list[Any] = dataclasses.field(default_factory=list)  # other counts that were met
    levels: list[Any] | None = None  # states of levels that follow a report, in the order of the parts

    def on(self) -> Way:
        """The way to a part of a chain, which looks up nothing itself."""
        return dataclasses.replace(self, top=False)

    def into(self, holder: GradientTransformation, masked: bool = False) -> Way:
        """The way to what a transformation holds, which counts for itself."""
        some = self.masked or masked
        if type(holder).own_clock:
            return Way(masked=some)
        return dataclasses.replace(self, top=False, masked=some, count=None)


class Codec:
    """How the state of one class of transformations is converted."""

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        """gradtx's state -> Optax's."""
        raise NotImplementedError

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        """Optax's state -> gradtx's."""
        raise NotImplementedError

    def lacks_count(self, tx: Any) -> bool:
        """Whether Optax's state has a count that gradtx's does not have."""
        return False


class Convert(Codec):
    """Two functions.

    Args:
        out: (transformation, gradtx's state, way) -> Optax's state.
        back: the other way round.
        lacks_count: see `Codec`.
    """

    def __init__(
        self,
        out: Callable[[Any, Any, Way], PyTree],
        back: Callable[[Any, Any, Way], PyTree],
        lacks_count: Callable[[Any], bool] = lambda tx: False,
    ) -> None:
        self._out, self._back, self._lacks_count = out, back, lacks_count

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return self._out(tx, state, way)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return self._back(tx, state, way)

    def lacks_count(self, tx: Any) -> bool:
        return self._lacks_count(tx)


known: dict[type, Codec] = {}
"""The class of a transformation -> its codec."""


def codec_of(tx: GradientTransformation) -> Codec:
    """The codec of a transformation: a composite without one is converted as what it expands to."""
    found = known.get(type(tx))
    if found is not None:
        return found
    return _EXPANDED if isinstance(tx, Composite) else _AS_IT_IS


def outward(tx: GradientTransformation, state: PyTree, way: Way) -> PyTree:
    """The state in Optax's classes.

    Args:
        tx: whose state it is.
        state: gradtx's.
        way: to it; `Way()` at the top.
    """
    codec, looks_up = codec_of(tx), _looks_up(tx, way)
    if looks_up is None or not isinstance(state, HyperparamsState):
        return codec.out(tx, state, way.on())
    if isinstance(state.inner, HyperparamsState):  # what was looked up has made another schedule
        return state
    levels = [state.memory[name] for name, _ in levels_of(looks_up)]
    here = Way(top=False, masked=way.masked, step=state.step, count=way.count, levels=levels)
    inner = codec.out(tx, state.inner, here)
    follows_the_step = len(state.scheduled) > len(state.memory)
    if not state.hyperparams and not levels and (here.rates or here.counts or not follows_the_step):
        return inner
    return state._replace(inner=codec.out(tx, state.inner, dataclasses.replace(here, levels=None)))


def inward(tx: GradientTransformation, state: PyTree, way: Way) -> PyTree:
    """The state in gradtx's own classes; the arguments are those of `outward`."""
    codec, looks_up = codec_of(tx), _looks_up(tx, way)
    if looks_up is None:
        return codec.back(tx, state, way.on())
    if isinstance(state, HyperparamsState):
        if isinstance(state.inner, HyperparamsState):
            return state
        return state._replace(inner=codec.back(tx, state.inner, way.on()))
    here = Way(top=False, masked=way.masked, levels=[])
    inner = codec.back(tx, state, here)
    step = next(iter((*here.rates, *here.counts)), None)
    return at_step(looks_up, step, here.levels or [], inner)


def unfit(state: PyTree, expected: str) -> MismatchError:
    """The error for a state that is neither Optax's nor gradtx's of this transformation."""
    found = f"a tuple of {len(state)}" if type(state) is tuple else f"of type {type(state).__name__}"
    return MismatchError(
        f"the state is {found}, expected {expected}. It belongs to another transformation, or was restored "
        "without its structure: make one with init(params)."
    )


def _looks_up(tx: GradientTransformation, way: Way) -> GradientTransformation | None:
    """Which transformation keeps a `HyperparamsState` around the state of `tx`, if one does."""
    if facts(tx).follows:
        return tx if way.top else None
    if isinstance(tx, Composite) and facts(tx._expansion()).follows:  # a schedule that it makes itself
        return tx._expansion()
    return None


class _AsItIs(Codec):
    """A state that both have alike, or that Optax does not have."""

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return optax.EmptyState() if isinstance(state, EmptyState) else state

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        return EmptyState() if isinstance(state, optax.EmptyState) else state


class _Expanded(Codec):
    """A composite, by what it expands to."""

    def out(self, tx: Composite, state: PyTree, way: Way) -> PyTree:
        return outward(tx._expansion(), state, way)

    def back(self, tx: Composite, state: PyTree, way: Way) -> PyTree:
        return inward(tx._expansion(), state, way)

    def lacks_count(self, tx: Composite) -> bool:
        return codec_of(tx._expansion()).lacks_count(tx._expansion())


_AS_IT_IS, _EXPANDED = _AsItIs(), _Expanded()
