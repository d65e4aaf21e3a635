"""Laws of the value: it compares, prints, and can be copied, written down and taken apart."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.laws.compare import show
from gradtx.laws.report import Finding, Skip, law
from gradtx.laws.trial import Trial, held_by, unhashable
from gradtx.tree import name as name_of
from gradtx.values.serial import from_json, to_json
from gradtx.values.value import Value

__all__: list[str] = []  # a law is reached through LAWS

EQUAL = ("equals_its_copies",)
PLAIN = (Value, bool, int, float, str, type(None))


def _all(tx: Value) -> Iterator[tuple[str, Any]]:
    return held_by(tx, type(tx).__name__)


def _classes(tx: Value) -> dict[str, type[Value]]:
    return {type(x).__name__: type(x) for _, x in _all(tx) if isinstance(x, Value)}


def _unequal(how: str, twin: Any, tx: Value) -> Iterator[Finding]:
    if twin != tx:
        yield Finding(f"{how} makes {show(twin)}", f"one that equals {show(tx)}")
    elif not unhashable(tx) and hash(twin) != hash(tx):
        yield Finding(f"{how} makes an equal value with another hash", "an equal hash")


@law("value", "Keep all that it is in its fields, and let the base class compare and hash them.")
def equals_its_copies(trial: Trial) -> Iterator[Finding]:
    """A deep copy, and replace() with nothing, make an equal value with an equal hash."""
    yield from _unequal("deepcopy(tx)", copy.deepcopy(trial.tx), trial.tx)
    yield from _unequal("tx.replace()", trial.tx.replace(), trial.tx)


@law("value", "Annotate what it holds as fields of the class, and let the base class print them.", EQUAL)
def prints_as_its_source(trial: Trial) -> Iterator[Finding]:
    """Its repr is the call that makes it: eval(repr(tx), vars(gradtx)) == tx."""
    for where, held in _all(trial.tx):
        if not isinstance(held, PLAIN):
            raise Skip(f"{where} holds {show(held)}, which does not print as its source")
    text = repr(trial.tx)
    yield from _unequal(text, eval(text, {**trial.public, **_classes(trial.tx)}), trial.tx)


@law("value", "Let the base class compare the fields.")
def differs_by_its_numbers(trial: Trial) -> Iterator[Finding]:
    """With other numbers it is another value."""
    if not jax.tree.leaves(trial.tx):
        raise Skip("it has no numbers")
    other = jax.tree.map(lambda x: x + 1, trial.tx)
    if other == trial.tx:
        yield Finding(f"{show(other)} == {show(trial.tx)}", "different values")


@law("value", "Define functions and classes at the top of a module, where pickle finds them by name.", EQUAL)
def pickles(trial: Trial) -> Iterator[Finding]:
    """pickle returns an equal value."""
    for where, held in _all(trial.tx):
        thing = type(held) if isinstance(held, Value) else held
        try:
            pickle.dumps(thing)
        except Exception:
            raise Skip(f"{where}: {show(thing)} is local, or no class or function of a module") from None
    yield from _unequal("pickle", pickle.loads(pickle.dumps(trial.tx)), trial.tx)


@law("value", "Hold numbers, strings, tuples, dicts and other values in the fields.", EQUAL)
def writes_json(trial: Trial) -> Iterator[Finding]:
    """from_json(to_json(tx)) makes an equal value."""
    for where, held in _all(trial.tx):
        if not isinstance(held, (*PLAIN, np.ndarray, jax.Array)):
            raise Skip(f"{where} holds {show(held)}, which has no JSON")
    text = to_json(trial.tx)
    yield from _unequal(f"from_json({text!r})", from_json(text, known=_classes(trial.tx).values()), trial.tx)


@law("value", "Declare a field that holds no number (a flag, a name, a dtype, a function) as static().")
def leaves_are_numbers(trial: Trial) -> Iterator[Finding]:
    """Its pytree leaves are its numbers, and nothing else."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(trial.tx):
        if not jnp.issubdtype(np.asarray(leaf).dtype, jnp.number):
            yield Finding(show(leaf), "a number or an array of numbers", name_of(path, "tx"))


@law(
    "value",
    "Keep what it is in its fields, and only check them in __post_init__, which jax never calls.",
    EQUAL,
)
def unflattens(trial: Trial) -> Iterator[Finding]:
    """jax.tree.unflatten makes an equal value of its leaves."""
    leaves, structure = jax.tree.flatten(trial.tx)
    twin = jax.tree.unflatten(structure, leaves)
    yield from _unequal("jax.tree.unflatten", twin, trial.tx)
    for name in vars(trial.tx).keys() - vars(twin).keys():
        yield Finding("an attribute that is not a field, and is lost", "fields only", f"tx.{name}")


@law("value", "Leave __setattr__ alone: replace(name=value) makes a changed value.")
def is_frozen(trial: Trial) -> Iterator[Finding]:
    """No attribute can be set."""
    twin = copy.copy(trial.tx)
    for name in (*(f.name for f in dataclasses.fields(twin)), "new"):
        try:
            setattr(twin, name, None)
        except AttributeError:
            continue
        yield Finding("an assignment that went through", "a FrozenInstanceError", f"tx.{name}")


@law("value", "Rename __call__: Optax's inject_hyperparams takes what can be called for a schedule.")
def is_not_callable(trial: Trial) -> Iterator[Finding]:
    """It can't be called."""
    if callable(trial.tx):
        yield Finding("a value that can be called", "init and update only")


@law("value", "Leave __iter__ alone.")
def unpacks_into_init_and_update(trial: Trial) -> Iterator[Finding]:
    """`init, update = tx` works, as it does for Optax's pairs."""
    parts = tuple(trial.tx)
    if parts != (trial.tx.init, trial.tx.update):
        yield Finding(show(parts), "(tx.init, tx.update)")
