"""Which leaves? A tree of booleans, a function of the parameters, or a rule on the leaf's path.

    mask={"dense": {"kernel": True, "bias": False}}     a tree, or a prefix of one
    mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    mask="kernel$"                                      a regular expression, searched in the path
    labels=by_path(("embed", "sgd"), (".*", "adam"))    the first rule that matches

A path reads 'encoder/dense/kernel'. Trees are matched by path, not by container, so one made from
a plain dict fits a Flax nnx State and the other way round. A *function* is a callable that is not
itself a pytree: an Equinox model of booleans is a tree, and is never called.

Folklore: a choice of leaves, and no method of optimization.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np

from gradtx.kinds import Maybe
from gradtx.tree import MismatchError, PyTree, leaf_paths, unwrap_variables
from gradtx.value import Value, accepted, nearest, static

__all__ = ["Labels", "Mask", "Rule", "by_path", "everywhere", "is_function", "select", "selects"]


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
                raise TypeError(f"by_path: each rule is a pair (pattern, answer), not {rule!r}.")
            _pattern("by_path", "pattern", rule[0])
        object.__setattr__(self, "rules", rules)

    def _arguments(self) -> Any:
        return ((None, rule) for rule in self.rules)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> by_path:
        return cls(*fields["rules"])


def _pattern(owner: str, name: str, text: Any) -> str:
    try:
        re.compile(text)
    except (re.error, TypeError) as error:
        raise ValueError(
            f"{owner}({name}={text!r}): expected a regular expression on the leaf's path: {error}."
        ) from None
    return text


def is_function(rule: Any) -> bool:
    """Whether a rule is a function of the parameters: callable, and no pytree."""
    return callable(rule) and jax.tree_util.treedef_is_leaf(jax.tree.structure(rule))


class Rule:
    """A mask or labels: what is not a function, a pattern or a rule is a tree with such leaves."""

    def __init__(self, leaf: type, noun: str) -> None:
        self.leaf, self.noun = leaf, noun

    def accept(self, owner: str, name: str, value: Any) -> Any:
        if isinstance(value, by_path) or is_function(value):
            return value
        if isinstance(value, str):
            return _pattern(owner, name, value) if self.leaf is bool else value
        plain = unwrap_variables(value)
        leaves, structure = jax.tree.flatten(plain)
        if self.leaf is bool:
            leaves = [
                x.item() if isinstance(x, (np.bool_, np.ndarray)) and np.ndim(x) == 0 else x for x in leaves
            ]
        for leaf in leaves:
            if not isinstance(leaf, self.leaf):
                raise TypeError(
                    f"{owner}: {name} must be a tree of {self.noun}, a function of the parameters, "
                    f"or a rule on the leaf's path; it holds {leaf!r}."
                )
        return jax.tree.unflatten(structure, leaves)


MaskLike = PyTree | str | by_path | Callable[[PyTree], PyTree]
Mask = Annotated[Any, Rule(bool, "booleans")]
"""A tree of booleans, a function of the parameters, or a regular expression on the leaf's path."""
Labels = Annotated[Any, Rule(str, "labels")]
"""A tree of labels, a function of the parameters, or `by_path` rules."""


def selects(value: Value) -> bool:
    """Whether a field of `value` itself tells leaves apart: a mask or labels, and not for all alike."""
    held = (getattr(value, name) for name, _ in _rules(value))
    return any(rule is not None and rule is not True for rule in held)


def everywhere(value: Any) -> Any:
    """The value with each of its own masks selecting every leaf."""
    masks = [name for name, rule in _rules(value) if rule.leaf is bool and getattr(value, name) is not None]
    return value.replace(**dict.fromkeys(masks, True))


def _rules(value: Value) -> list[tuple[str, Rule]]:
    """The fields that hold a mask or labels."""
    kinds = ((name, kind.inner if isinstance(kind, Maybe) else kind) for name, kind in accepted(type(value)))
    return [(name, kind) for name, kind in kinds if isinstance(kind, Rule)]


def select(rule: Any, tree: PyTree) -> PyTree:
    """The answer of `rule` for each leaf of `tree`, in the structure of `tree`.

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
            if not isinstance(answer, (bool, np.bool_, str)):
                raise MismatchError(
                    f"the mask function returned {answer!r} for a leaf: expected a boolean or a label."
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
        if not any(re.search(pattern, name) for name in (*names, *nodes)):
            raise MismatchError(
                f"the pattern {pattern!r} matches no leaf.{nearest(pattern, names)} "
                f"The leaves are: {_listed(names)}."
            )
    answers = []
    for name in names:
        for pattern, answer in rule.rules:
            if re.search(pattern, name):
                answers.append(answer)
                break
        else:
            raise MismatchError(f"no rule matches {name!r}: end {rule!r} with one for '.*'.")
    return answers


def _by_tree(rule: PyTree, names: list[str], nodes: list[str]) -> list[Any]:
    given = dict(zip(leaf_paths(rule)[0], jax.tree.leaves(rule), strict=True))
    used: set[str] = set()

    def look_up(name: str) -> Any:
        at = name
        while at not in given:
            if not at:
                raise MismatchError(
                    f"the mask says nothing of the leaf {name!r}. Its tree must be the parameters', "
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
    shown = ", ".join(repr(n) for n in names[:8])
    return shown + (f", and {len(names) - 8} more" if len(names) > 8 else "")
