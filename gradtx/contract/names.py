"""Readable names for the numbers and schedules in a composition: `adamw.learning_rate`.

A name is the class that holds the number, and the field. Where two are alike, more of the way from
the outermost transformation is put in front: a partition's label, the field that holds the class, or,
for parts of one class side by side, a number in brackets, `scale[1].step_size`.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable

import jax
from jax.tree_util import DictKey, GetAttrKey, PyTreeDef, SequenceKey

from gradtx.tree import PyTree
from gradtx.values.value import Value
from gradtx.values.wording import nearest

__all__ = ["chosen", "find", "named"]

Path = tuple[object, ...]


def named(
    value: Value, begins: Callable[[object], bool], is_leaf: Callable[[object], bool] | None = None
) -> tuple[list[tuple[str, PyTree]], PyTreeDef]:
    """(name, leaf) of every leaf of a value, in the order of `jax.tree.leaves`, and its structure.

    Args:
        value: a transformation.
        begins: whether a name may begin with the class of this: transformations, not schedules.
        is_leaf: as for `jax.tree.flatten`.
    """
    found, structure = jax.tree_util.tree_flatten_with_path(value, is_leaf=is_leaf)
    names = _shortest([_words(value, path, begins) for path, _ in found])
    return [(name, leaf) for name, (_, leaf) in zip(names, found, strict=True)], structure


def _words(value: object, path: Path, begins: Callable[[object], bool]) -> tuple[list[str], int]:
    """The way to a leaf in words, and where the last of the classes in it stands."""
    words, last = [type(value).__name__], 0
    for key in path:
        holder, value = value, _entry(value, key)
        if begins(value):
            if isinstance(key, SequenceKey):
                words = _without_holder(words)
            else:
                words.append(_word(key))
            last = len(words)
            words.append(_class_word(holder, value, key))
        elif isinstance(key, SequenceKey):
            words[-1] += f"[{key.idx}]"
        else:
            words.append(_word(key))
    return words, last


def _entry(value: PyTree, key: PyTree) -> PyTree:
    if isinstance(key, GetAttrKey):
        return getattr(value, key.name)
    return value[key.key if isinstance(key, DictKey) else key.idx]


def _word(key: GetAttrKey | DictKey) -> str:
    return key.name if isinstance(key, GetAttrKey) else str(key.key)


def _without_holder(words: list[str]) -> list[str]:
    """The way without a chain's `parts`, and without the chain: of each class it has one part, mostly."""
    words = words[:-1]
    return words if words[-1].endswith("]") else words[:-1]


def _class_word(holder: PyTree, value: object, key: object) -> str:
    name = type(value).__name__
    if not isinstance(key, SequenceKey):
        return name
    alike = [i for i, other in enumerate(holder) if type(other).__name__ == name]
    return f"{name}[{alike.index(key.idx)}]" if len(alike) > 1 else name


def _shortest(ways: list[tuple[list[str], int]]) -> list[str]:
    """For each way its end, from the last class on; where two are equal, from further in front."""
    begins = [last for _, last in ways]
    while True:
        names = [".".join(words[b:]) for (words, _), b in zip(ways, begins, strict=True)]
        count = collections.Counter(names)
        twice = [i for i, name in enumerate(names) if count[name] > 1 and begins[i] > 0]
        if not twice:
            return names
        for i in twice:
            begins[i] -= 1


def find(owner: str, name: str, known: Iterable[str]) -> str:
    """The one known name that is `name` or ends in it: `learning_rate` for `adamw.learning_rate`.

    Raises:
        ValueError: none, or more than one; the message lists the known ones.
    """
    matching = chosen(owner, name, known)
    if len(matching) > 1:
        raise ValueError(f"{owner}: {name!r} is one of {', '.join(matching)}: say which.")
    return matching[0]


def chosen(owner: str, name: str, known: Iterable[str]) -> list[str]:
    """The known names that are `name` or end in it.

    Raises:
        ValueError: there is none; the message lists the known ones.
    """
    known = list(known)
    if name in known:
        return [name]
    matching = [k for k in known if k.endswith("." + name)]
    if not matching:
        ends = {k.rpartition(".")[2]: k for k in known}
        guess = nearest(name, known) or nearest(name, ends)
        raise ValueError(
            f"{owner}: there is no hyperparameter {name!r}.{guess} Known: {', '.join(known) or 'none'}."
        )
    return matching
