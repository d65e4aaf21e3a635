"""Which answer a leaf gets: by a pattern on its path, a function of the parameters, or a tree of answers.

Source: none (a choice of leaves, not a method of optimization).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import jax
import numpy as np

from gradtx.rules.patterns import check_pattern, found_in
from gradtx.tree import MismatchError, PyTree, leaf_paths, quoted, unwrap_variables
from gradtx.values.kinds import is_traced, several
from gradtx.values.value import Value, static
from gradtx.values.wording import nearest, shown

__all__ = ["by_path", "is_function", "select"]


class by_path(Value):
    """Rules on the leaf's path, `(pattern, answer)`; the first pattern found in the path decides.

    Args:
        rules: pairs of a regular expression and what it answers: True or False for a mask, a
            label for `partition`.

    Raises:
        TypeError, ValueError: a rule is not a pair, or its pattern not a regular expression.
    """

    rules: tuple[tuple[str, Any], ...] = static()

    def __init__(self, *rules: tuple[str, Any]) -> None:
        for rule in rules:
            if not (isinstance(rule, tuple) and len(rule) == 2):
                raise TypeError(f"by_path: each rule is a pair (pattern, answer), not {shown(rule)}.")
            checked_pattern("by_path", "pattern", rule[0])
        object.__setattr__(self, "rules", rules)

    def _arguments(self) -> Any:
        return ((None, rule) for rule in self.rules)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> by_path:
        return cls(*several("by_path", "rules", fields["rules"]))


def checked_pattern(owner: str, name: str, text: Any) -> str:
    try:
        check_pattern(text)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{owner}({name}={shown(text)}): expected a regular expression on the leaf's path: {error}."
        ) from None
    return text


def is_function(rule: Any) -> bool:
    """Whether a rule is a function of the parameters: callable, and not a pytree."""
    return callable(rule) and jax.tree_util.treedef_is_leaf(jax.tree.structure(rule))


def select(rule: Any, tree: PyTree, labels: bool = False) -> PyTree:
    """The answer of `rule` for each leaf of `tree`, in the structure of `tree`.

    Args:
        rule: a mask or labels.
        tree: the parameters, or a tree like them.
        labels: whether a function may answer with whatever has a hash, and not with booleans or texts only.

    Raises:
        MismatchError: a pattern matches no leaf, a leaf has no answer, or a tree does not fit.
    """
    structure = jax.tree.structure(tree)
    names, nodes = leaf_paths(tree)
    if not names:
        return tree
    if is_function(rule):
        rule = unwrap_variables(rule(tree))
        for answer in jax.tree.leaves(rule):
            wanted = Hashable if labels else (bool, np.bool_, str)
            if not isinstance(answer, wanted) or is_traced(answer):
                raise MismatchError(
                    f"the mask function returned {shown(answer)} for a leaf: expected a boolean or a label."
                )
    if isinstance(rule, str):
        answers = _by_rules(by_path((rule, True), ("", False)), names, nodes)
    elif isinstance(rule, by_path):
        answers = _by_rules(rule, names, nodes)
    else:
        answers = _by_tree(rule, names, nodes)
    return jax.tree.unflatten(structure, answers)


def _by_rules(rule: by_path, names: list[str], nodes: list[str]) -> list[Any]:
    for pattern, _ in rule.rules:
        if not any(found_in(pattern, name) for name in (*names, *nodes)):
            raise MismatchError(
                f"the pattern {pattern!r} matches no leaf.{nearest(pattern, names)} "
                f"The leaves are: {_listed(names)}."
            )
    answers = []
    for name in names:
        for pattern, answer in rule.rules:
            if found_in(pattern, name):
                answers.append(answer)
                break
        else:
            raise MismatchError(
                f"no rule matches the leaf at {quoted(name)}: end {rule!r} with one for '.*'."
            )
    return answers


def _by_tree(rule: PyTree, names: list[str], nodes: list[str]) -> list[Any]:
    given = dict(zip(leaf_paths(rule)[0], jax.tree.leaves(rule), strict=True))
    used: set[str] = set()

    def look_up(name: str) -> Any:
        at = name
        while at not in given:
            if not at:
                raise MismatchError(
                    f"the mask says nothing of the leaf at {quoted(name)}. Its tree must be the parameters', "
                    f"or a prefix of it; it has: {_listed(list(given))}."
                )
            at = at.rpartition("/")[0]
        used.add(at)
        return given[at]

    answers = [look_up(name) for name in names]
    used.update(at for at in given if at in nodes or any(n.startswith(f"{at}/") for n in nodes))
    if unknown := given.keys() - used:
        raise MismatchError(
            f"the mask has {_listed(sorted(unknown))}, where the parameters have no leaf. "
            f"Their leaves are: {_listed(names)}."
        )
    return answers


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(quoted, names[:8]))
    return shown + (f", and {len(names) - 8} more" if len(names) > 8 else "")
