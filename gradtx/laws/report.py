"""Laws and the results of trying them: `Law`, `Finding`, `Report`, `LawError`."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["LAWS", "Finding", "Law", "LawError", "Report", "Skip", "law"]

SHOWN = 4  # findings per law in a message; a transformation that is wrong is often wrong at every leaf


class Finding(NamedTuple):
    """One thing that breaks a law."""

    seen: str
    expected: str
    at: str = ""  # the leaf, as "updates['dense']['kernel']" or "state.mean['scale'][0]"
    error: Exception | None = None

    def __str__(self) -> str:
        return f"{f'at {self.at}: ' if self.at else ''}saw {self.seen}; expected {self.expected}."


class Skip(Exception):  # noqa: N818 (not an error)
    """Raised by a law that has nothing to say about a transformation, with the reason."""


Check = Callable[[Any], Iterator[Finding]]


@dataclasses.dataclass(frozen=True)
class Law:
    """A sentence that holds for every transformation, and the function that tries it."""

    name: str
    about: str  # 'value', 'update' or 'state'
    sentence: str
    advice: str  # what to do where it is broken
    needs: tuple[str, ...]  # laws without which this one says nothing new
    check: Check


LAWS: dict[str, Law] = {}
"""Every law by its name, in the order in which they are tried."""


def law(about: str, advice: str, needs: tuple[str, ...] = ()) -> Callable[[Check], Check]:
    """Make a law of a generator function: its name is the law's, its docstring the sentence.

    Args:
        about: 'value', 'update' or 'state'.
        advice: what to do where it is broken.
        needs: laws above it; where one of them is broken, this one is not tried, since it could not
            be, or would say the same once more.
    """

    def register(check: Check) -> Check:
        sentence = " ".join((check.__doc__ or "").partition("\n\n")[0].split())
        LAWS[check.__name__] = Law(check.__name__, about, sentence, advice, needs, check)
        return check

    return register


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of each law. Its text is for reading; its fields are for programs."""

    subject: str
    held: tuple[Law, ...]
    skipped: tuple[tuple[Law, str], ...]  # with the reason
    broken: tuple[tuple[Law, tuple[Finding, ...]], ...]
    untried: tuple[Law, ...]  # those that need one that is broken, or not tried

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._broken(), *self._held(), *self._others()])

    def _headline(self) -> str:
        if not self.broken:
            return f"{self.subject} keeps {len(self.held)} laws."
        tried = len(self.held) + len(self.broken)
        return f"{self.subject} breaks {len(self.broken)} of {tried} laws."

    def _broken(self) -> Iterator[str]:
        for broken, findings in self.broken:
            yield f"\n{broken.name}: {broken.sentence}"
            yield from (f"    {finding}" for finding in findings[:SHOWN])
            if len(findings) > SHOWN:
                yield f"    ... and {len(findings) - SHOWN} more."
            yield f"    What to do: {broken.advice}"

    def _held(self) -> Iterator[str]:
        if self.broken:  # then only their names, so that the message stays readable
            yield from _names("Held", self.held)
            return
        for about in dict.fromkeys(held.about for held in self.held):
            yield f"\nThe {about}:"
            yield from (f"    {held.name}: {held.sentence}" for held in self.held if held.about == about)

    def _others(self) -> Iterator[str]:
        if self.skipped:
            yield "\nDoes not apply:"
            yield from (f"    {skipped.name}: {reason}." for skipped, reason in self.skipped)
        yield from _names("Not tried, because of the above", self.untried)


def _names(title: str, laws: tuple[Law, ...]) -> Iterator[str]:
    if laws:
        names = textwrap.fill(", ".join(x.name for x in laws), 96, break_long_words=False)
        yield f"\n{title}:\n{textwrap.indent(names, '    ')}"


class LawError(AssertionError):
    """A transformation breaks laws; the message lists all that it breaks, `report` has the rest."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
