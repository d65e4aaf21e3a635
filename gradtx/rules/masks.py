"""Which leaves? A tree of booleans, a function of the parameters, or a rule on the leaf's path.

    mask={"dense": {"kernel": True, "bias": False}}     a tree, or a prefix of one
    mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    mask="kernel$"                                      a regular expression, searched in the path
    labels=by_path(("embed", "sgd"), (".*", "adam"))    the first rule that matches

A path reads 'encoder/dense/kernel'. Trees are matched by path, not by container, so one made from
a plain dict fits a Flax nnx State and the other way round. A *function* is a callable that is not
itself a pytree: an Equinox model of booleans is a tree, and is never called.

Source: none (a choice of leaves, not a method of optimization).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any

import jax
import numpy as np

from gradtx.rules.by_path import by_path, checked_pattern, is_function
from gradtx.tree import PyTree, unwrap_variables
from gradtx.values.kinds import Function, Maybe, is_traced
from gradtx.values.value import Value, accepted
from gradtx.values.wording import shown

__all__ = ["Labels", "Mask", "Rule", "everywhere", "rules_of", "selects"]


class Rule:
    """A mask or labels: what is not a function, a pattern or a rule is a tree with such leaves."""

    def __init__(self, leaf: type, noun: str) -> None:
        self.leaf, self.noun = leaf, noun

    def accept(self, owner: str, name: str, value: Any) -> Any:
        if isinstance(value, by_path):
            return value
        if is_function(value):
            return Function(1).accept(owner, name, value)
        if isinstance(value, str):
            return checked_pattern(owner, name, value) if self.leaf is bool else value
        plain = unwrap_variables(value)
        leaves, structure = jax.tree.flatten(plain)
        if self.leaf is bool:
            leaves = [
                x.item() if isinstance(x, (np.bool_, np.ndarray)) and np.ndim(x) == 0 else x for x in leaves
            ]
        for leaf in leaves:
            if not isinstance(leaf, self.leaf) or is_traced(leaf):
                raise TypeError(
                    f"{owner}: {name} must be a tree of {self.noun}, a function of the parameters, "
                    f"or a rule on the leaf's path; it holds {shown(leaf)}."
                )
        return jax.tree.unflatten(structure, leaves)


MaskLike = PyTree | str | by_path | Callable[[PyTree], PyTree]
Mask = Annotated[Any, Rule(bool, "booleans")]
"""A tree of booleans, a function of the parameters, or a regular expression on the leaf's path."""
Labels = Annotated[Any, Rule(Hashable, "labels")]
"""A tree of labels (texts, or whatever has a hash), a function of the parameters, or `by_path` rules."""


def selects(value: Value) -> bool:
    """Whether a field of `value` itself tells leaves apart: a mask or labels, and not for all alike."""
    held = (getattr(value, name) for name, _ in _rules(value))
    return any(rule is not None and rule is not True for rule in held)


def rules_of(value: Value) -> list[tuple[Any, bool]]:
    """The masks and labels that `value` itself holds, and whether each is a mask."""
    held = ((getattr(value, name), rule.leaf is bool) for name, rule in _rules(value))
    return [(rule, is_mask) for rule, is_mask in held if rule is not None]


def everywhere(value: Any) -> Any:
    """The value with each of its own masks selecting every leaf."""
    masks = [name for name, rule in _rules(value) if rule.leaf is bool and getattr(value, name) is not None]
    return value.replace(**dict.fromkeys(masks, True))


def _rules(value: Value) -> list[tuple[str, Rule]]:
    """The fields that hold a mask or labels."""
    kinds = ((name, kind.inner if isinstance(kind, Maybe) else kind) for name, kind in accepted(type(value)))
    return [(name, kind) for name, kind in kinds if isinstance(kind, Rule)]
