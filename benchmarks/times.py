"""Interleaved rounds: in each, every peer takes its turn, and the next round goes the other way.

What loads the machine then loads all of them. Trace, lower, compile and the step are timed over many
sizes, everything built anew in each round; the call alone over leaves so small that their arithmetic
costs nothing, built once.
"""

from __future__ import annotations

import functools
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.peers import OPTIMIZERS, Peer, Problem, Run, forget, peers
from benchmarks.report import compared

Rounds = dict[str, list[dict[str, float]]]  # by peer, what was measured in each round


class Scale(NamedTuple):
    """How much is measured."""

    rounds: int  # with everything built anew
    calls: int  # rounds of what is built once
    seconds: float  # for the steps of one turn; five are made in any case
    sizes: tuple[Problem, ...]
    small: tuple[Problem, ...]  # where a call costs more than its arithmetic
    whole_step: bool = True


FULL = Scale(
    rounds=4,
    calls=6,
    seconds=0.25,
    sizes=(
        *(Problem(leaves, 16_000_000) for leaves in (10, 100, 1000)),
        *(Problem(100, parameters) for parameters in (100_000, 1_000_000)),
    ),
    small=(*(Problem(leaves, 64 * leaves) for leaves in (10, 100, 1000)), Problem(1000, 1024 * 1000)),
)
SHORT = Scale(
    rounds=2,
    calls=3,
    seconds=0.05,
    sizes=(Problem(10, 4_000_000), Problem(100, 4_000_000), Problem(10, 400_000)),
    small=(Problem(100, 1024 * 100),),
    whole_step=False,
)


def turns(
    peers: Sequence[Peer], problem: Problem, rounds: int, measure: Callable[[Run, bool], dict[str, float]]
) -> Rounds:
    """Measure each peer once in each round, the order of every second one turned round.

    Args:
        peers: who takes turns.
        problem: what they step through.
        rounds: how many.
        measure: of what a peer made, in the first round or not, -> figures.
    """
    found: Rounds = {peer.name: [] for peer in peers}
    for i in range(rounds):
        for peer in reversed(peers) if i % 2 else peers:
            gc.collect()  # what the one before has left
            found[peer.name].append(measure(peer.make(problem), i == 0))
    return found


def median_step(run: Run, seconds: float) -> float:
    """The median of as many steps as fit into `seconds`, and of five at least."""
    run.step()  # the first one brings its memory into being
    made: list[float] = []
    while len(made) < 5 or sum(made) < seconds:
        start = time.perf_counter()
        run.step()
        made.append(time.perf_counter() - start)
    return statistics.median(made)


def built_anew(peers: Sequence[Peer]) -> list[Peer]:
    """The same peers, for each of which nothing is remembered."""

    def anew(make: Callable[[Problem], Run], problem: Problem) -> Run:
        forget()
        return make(problem)

    return [Peer(peer.name, functools.partial(anew, peer.make)) for peer in peers]


def built_once(peers: Sequence[Peer]) -> list[Peer]:
    """The same peers, each of which builds a problem's step the first time only."""
    return [Peer(peer.name, functools.cache(peer.make)) for peer in peers]


def rows(
    scale: Scale, say: Callable[[list[dict[str, Any]]], None], optimizers: Sequence[str] = tuple(OPTIMIZERS)
) -> list[dict[str, Any]]:
    """All times and bytes, a dictionary for each peer and measure.

    Args:
        scale: how much is measured.
        say: gets the rows of each problem as soon as they are there.
        optimizers: names of `peers.OPTIMIZERS`.
    """
    table: list[dict[str, Any]] = []
    for optimizer, problem, found in _measured(scale, optimizers):
        about = {"optimizer": optimizer, "leaves": problem.leaves, "parameters": problem.size}
        table.extend(new := compared(about, found))
        say(new)
    return table


def _measured(scale: Scale, optimizers: Sequence[str]) -> Iterator[tuple[str, Problem, Rounds]]:
    def everything(run: Run, first: bool) -> dict[str, float]:
        counted = run.counted() if first else {}  # which is the same in each round
        return run.built | counted | {"step": median_step(run, scale.seconds)}

    def call(run: Run, first: bool) -> dict[str, float]:
        return {"call": median_step(run, scale.seconds)}

    for optimizer in optimizers:  # what a process imports or remembers once is paid here
        turns(peers(optimizer), Problem(3, 600), 1, everything)
    gc.collect()
    gc.freeze()  # and no collection walks through it again
    for optimizer in optimizers:
        for problem in scale.sizes:
            anew = built_anew(peers(optimizer))
            yield optimizer, problem, turns(anew, problem, scale.rounds, everything)
        for problem in scale.small:
            once = built_once(peers(optimizer, packed=True))
            yield optimizer, problem, turns(once, problem, scale.calls, call)
