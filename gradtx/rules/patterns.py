"""Regular expressions on leaves' names, in a time that is bounded: they come from JSON too.

Python's engine tries `(a+)+$` on thirty a's and a b for minutes. Where a pattern repeats what can be read in
several ways, or has many repetitions, it is searched for here: each instruction of its program is tried once
at each character,

    O(length of the pattern × length of the name)

and as often again for what looks ahead or behind. It asks whether there is a match, not where, so that the
answer is that of `re.search`.

Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009.
https://swtch.com/~rsc/regexp/regexp2.html
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["check_pattern", "found_in"]

_parser: Any = importlib.import_module("re._parser")
_codes: Any = importlib.import_module("re._constants")

_LARGEST = 20_000  # instructions


class _Instruction(NamedTuple):
    """What is tried at a place, and where to go on."""

    kind: str  # 'one': a character; 'at': a place; 'look': what is around; 'split'; 'found'
    what: Any = None
    then: tuple[int, ...] = ()


def check_pattern(text: str) -> None:
    """Raise re.error where a pattern is none, or where its time can't be bounded."""
    found_in(text, "")


@functools.lru_cache(10_000)  # of texts, which are small: a mask is asked at every update
def found_in(pattern: str, name: str) -> bool:
    """Whether a pattern is found in a name, as by `re.search`."""
    program = _program(pattern)
    if program is None:
        return re.search(pattern, name) is not None
    start, instructions = program
    tried: set[tuple[int, int]] = set()
    return any(_runs(instructions, start, name, at, tried) for at in range(len(name) + 1))


@functools.lru_cache(256)
def _program(pattern: str) -> tuple[int, list[_Instruction]] | None:
    """Where the program of a pattern begins, and the program; None where Python's own engine is quick."""
    re.compile(pattern)
    tree = _parser.parse(pattern)
    if _degree(tree) < _STEEP:
        return None
    made = _Compiler(tree.state.flags)
    return made.add(tree, made.put("found")), made.instructions


_STEEP = 4  # names have some hundred characters, of which the third power is milliseconds


def _degree(tree: Any) -> int:
    """At most which power of a name's length Python's engine takes, but for its start; or more than any."""
    degree = 0
    for code, argument in tree:
        if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT, _codes.POSSESSIVE_REPEAT):
            _, most, inner = argument
            if most <= 1:
                degree += _degree(inner)
            else:
                degree += 1 if _is_fixed(inner) else _STEEP
        elif code is _codes.BRANCH:
            degree += max(map(_degree, argument[1]))
        else:
            degree += sum(_degree(part) for part in _parts(argument))
    return degree


def _parts(argument: Any) -> list[Any]:
    """The patterns in a pattern: of a group, of what looks around, of a condition."""
    held = argument if isinstance(argument, tuple) else (argument,)
    return [x for x in held if isinstance(x, _parser.SubPattern)]


def _is_fixed(tree: Any) -> bool:
    """Whether it is found in one way at most: characters one after the other."""
    return all(
        code in _ONE or (code is _codes.SUBPATTERN and _is_fixed(argument[-1])) for code, argument in tree
    )


_ONE = (_codes.LITERAL, _codes.NOT_LITERAL, _codes.ANY, _codes.IN)


class _Compiler:
    """Writes the program from its end: each part is told where to go on."""

    def __init__(self, flags: int) -> None:
        self.instructions: list[_Instruction] = []
        self.flags = flags

    def put(self, kind: str, what: Any = None, *then: int) -> int:
        if len(self.instructions) >= _LARGEST:
            raise re.error("it repeats too many parts too often")
        self.instructions.append(_Instruction(kind, what, then))
        return len(self.instructions) - 1

    def add(self, tree: Any, then: int) -> int:
        """Where a part begins, that goes on at `then`."""
        for code, argument in reversed(list(tree)):
            then = self.one(code, argument, then)
        return then

    def one(self, code: Any, argument: Any, then: int) -> int:
        if code in _ONE:
            return self.put("one", _single(code, argument, self.flags), then)
        if code is _codes.AT:
            return self.put("at", _place(argument, self.flags), then)
        if code is _codes.BRANCH:
            return self.put("split", None, *(self.add(part, then) for part in argument[1]))
        if code is _codes.SUBPATTERN:
            _, more, less, inner = argument
            before, self.flags = self.flags, (self.flags | more) & ~less
            try:
                return self.add(inner, then)
            finally:
                self.flags = before
        if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT):
            least, most, inner = argument
            return self.repeat(least, most, inner, then)
        if code in (_codes.ASSERT, _codes.ASSERT_NOT):
            direction, inner = argument
            back = inner.getwidth()[0] if direction < 0 else 0
            begin = self.add(inner, self.put("found"))
            return self.put("look", (begin, back, code is _codes.ASSERT), then)
        raise re.error(
            "it may take for ever: beside such repetitions, references to groups and possessive "
            "repetitions can't be bounded"
        )

    def repeat(self, least: int, most: int, inner: Any, then: int) -> int:
        if most is _codes.MAXREPEAT:
            loop = self.put("split")
            begin = self.add(inner, loop)
            self.instructions[loop] = _Instruction("split", None, (begin, then))
            then = loop
        else:
            last = then
            for _ in range(most - least):
                then = self.put("split", None, self.add(inner, then), last)
        for _ in range(least):
            then = self.add(inner, then)
        return then


def _runs(program: list[_Instruction], start: int, name: str, at: int, tried: set[tuple[int, int]]) -> bool:
    """Whether the program is found from this place on; what was `tried` without success is left."""
    waiting = [(start, at)]
    while waiting:
        here = waiting.pop()
        if here in tried:
            continue
        tried.add(here)
        (kind, what, then), place = program[here[0]], here[1]
        if kind == "found":
            return True
        if kind == "split":
            waiting.extend((to, place) for to in then)
        elif kind == "one":
            if place < len(name) and what(name[place]):
                waiting.append((then[0], place + 1))
        elif kind == "at":
            if what(name, place):
                waiting.append((then[0], place))
        else:
            begin, back, wanted = what
            holds = place >= back and _runs(program, begin, name, place - back, set())
            if holds is wanted:
                waiting.append((then[0], place))
    return False


def _single(code: Any, argument: Any, flags: int) -> Callable[[str], bool]:
    """Whether a character fits: asked of Python's engine, which knows all classes and cases."""
    if code is _codes.ANY:
        return (lambda c: True) if flags & re.DOTALL else (lambda c: c != "\n")
    if not flags & re.IGNORECASE and code in (_codes.LITERAL, _codes.NOT_LITERAL):
        wanted = code is _codes.LITERAL
        return lambda c: (ord(c) == argument) is wanted
    fits = re.compile(_written(code, argument), flags & (re.IGNORECASE | re.ASCII)).fullmatch
    return functools.lru_cache(256)(lambda c: fits(c) is not None)


def _written(code: Any, argument: Any) -> str:
    if code is _codes.LITERAL:
        argument = [(code, argument)]
    elif code is _codes.NOT_LITERAL:
        argument = [(_codes.NEGATE, None), (_codes.LITERAL, argument)]
    parts = []
    for kind, what in argument:
        if kind is _codes.NEGATE:
            parts.append("^")
        elif kind is _codes.LITERAL:
            parts.append(_escaped(what))
        elif kind is _codes.RANGE:
            parts.append(f"{_escaped(what[0])}-{_escaped(what[1])}")
        else:
            parts.append(_CATEGORIES[what])
    return f"[{''.join(parts)}]"


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


_CATEGORIES = {
    _codes.CATEGORY_DIGIT: r"\d",
    _codes.CATEGORY_NOT_DIGIT: r"\D",
    _codes.CATEGORY_SPACE: r"\s",
    _codes.CATEGORY_NOT_SPACE: r"\S",
    _codes.CATEGORY_WORD: r"\w",
    _codes.CATEGORY_NOT_WORD: r"\W",
}


def _place(code: Any, flags: int) -> Callable[[str, int], bool]:
    written = {
        _codes.AT_BEGINNING: "^",
        _codes.AT_BEGINNING_STRING: r"\A",
        _codes.AT_BOUNDARY: r"\b",
        _codes.AT_NON_BOUNDARY: r"\B",
        _codes.AT_END: "$",
        _codes.AT_END_STRING: r"\Z",
    }[code]
    here = re.compile(written, flags & (re.MULTILINE | re.ASCII)).match
    return lambda name, at: here(name, at) is not None
