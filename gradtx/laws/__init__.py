"""The contract as a public function: does a transformation keep every law, and if not, which, and where?

    >>> import gradtx, jax
    >>> class soften(gradtx.GradientTransformation):
    ...     '''g / (c + |g|).'''
    ...     softness: float = 1.0
    ...     def update(self, updates, state, params=None):
    ...         return jax.tree.map(lambda g: g / (self.softness + abs(g)), updates), state
    >>> print(gradtx.check_transformation(soften(0.5)))  # doctest: +ELLIPSIS
    soften(softness=0.5) keeps ... laws.
    <BLANKLINE>
    The value:
        equals_its_copies: A deep copy, and replace() with nothing, make an equal value with an equal hash.
        prints_as_its_source: Its repr is the call that makes it: eval(repr(tx), vars(gradtx)) == tx.
    ...

If it breaks any, a `LawError` lists each of them: what was seen, what was expected, at which leaf,
and what to do. All laws are tried, not only up to the first that is broken, except those that would
only say the same again.

A law is a generator function with a sentence, in `values`, `states` or `updates`: the decorator `law`
puts it into `LAWS`; it is given a `Trial`, and yields a `Finding` for each thing that is wrong.
"""

from __future__ import annotations

from typing import Any

import jax

from gradtx.contract.foreign import as_transformation
from gradtx.contract.transformation import GradientTransformation
from gradtx.laws.compare import raised, show
from gradtx.laws.report import LAWS, Finding, Law, LawError, Report, Skip, law
from gradtx.laws.trial import Trial, default_parameters
from gradtx.states.names import places
from gradtx.tree import PyTree, name
from gradtx.values import registry

# Importing these fills LAWS, in this order.
from gradtx.laws import values, states, updates  # isort: skip

__all__ = ["LAWS", "Finding", "Law", "LawError", "Report", "Skip", "Trial", "check_transformation", "law"]


def check_transformation(tx: Any, params: PyTree | None = None, **extra: Any) -> Report:
    """Try every law on a transformation.

    It makes a few steps on small arrays, eagerly and compiled. That takes a second or two, and a few
    more the first time, while jax compiles each operation that is new to it.

    Args:
        tx: the transformation; one of Optax's is taken as it is.
        params: a small tree of parameters, where `tx` wants certain names or shapes. None is a
            matrix 'dense/kernel', a bfloat16 vector 'dense/bias' and a scalar 'scale/0'.
        extra: extra arguments for every update; one that has the parameters' structure is changed
            with them.

    Returns:
        A report: as text, the laws that it keeps, and why others do not apply.

    Raises:
        LawError: it breaks laws; the message lists them all.
        TypeError: `tx` is not a transformation.
    """
    tx = as_transformation("check_transformation", "tx", tx)
    trial = Trial(tx, default_parameters() if params is None else params, extra, registry.names())
    held: list[Law] = []
    skipped: list[tuple[Law, str]] = []
    broken: list[tuple[Law, tuple[Finding, ...]]] = []
    untried: list[Law] = []
    for each in LAWS.values():
        if {x.name for x in (*untried, *(x for x, _ in broken))} & set(each.needs):
            untried.append(each)
            continue
        try:
            findings = tuple(each.check(trial))
        except Skip as reason:
            skipped.append((each, str(reason)))
            continue
        except Exception as error:
            findings = (raised(error),)
        if findings:
            broken.append((each, _with_places(findings, trial)))
        else:
            held.append(each)
    report = Report(show(tx), tuple(held), tuple(skipped), tuple(broken), tuple(untried))
    if broken:
        causes = (finding.error for _, findings in broken for finding in findings if finding.error)
        raise LawError(report) from next(causes, None)
    return report


def _with_places(findings: tuple[Finding, ...], trial: Trial) -> tuple[Finding, ...]:
    """The findings, with the name that a place in the state has everywhere: ema.mean of dense/kernel."""
    try:
        found = jax.tree_util.tree_leaves_with_path(places(trial.tx, trial.params))
    except Exception:  # of what is so broken that it makes no state
        return findings
    named = {name(path, "state"): str(place) for path, place in found}
    return tuple(finding._replace(at=named.get(finding.at, finding.at)) for finding in findings)
