"""Laws of the state: plain containers around arrays, whose shapes and dtypes never change."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.combine import MaskedNode
from gradtx.laws.compare import describe, differences, is_key, raised, show
from gradtx.laws.report import Finding, law
from gradtx.laws.trial import STEPS, Trial, held_by, in_dtype
from gradtx.tree import PyTree, name
from gradtx.values.equality import same
from gradtx.values.kinds import Maybe, Real
from gradtx.values.value import Value, accepted

__all__: list[str] = []  # a law is reached through LAWS

RUNS = ("runs",)
TRACES = ("runs", "abstract_init_agrees")


def _leaves(state: PyTree) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        yield name(path, "state"), leaf


@law("state", "Read the error.")
def runs(trial: Trial) -> Iterator[Finding]:
    """init makes a state, and a few updates run."""
    assert len(trial.eager) == STEPS
    yield from ()


@law("state", "Make a NamedTuple of trees; a number in it is an array, such as jnp.zeros(()).", RUNS)
def state_is_plain(trial: Trial) -> Iterator[Finding]:
    """The state is made of NamedTuples, tuples, dicts and the parameters' containers, around arrays."""
    containers = {type(node) for _, node in _nodes(trial.params, "")} | {dict, type(None)}
    for at, node in _nodes(trial.state, "state"):
        if not isinstance(node, (tuple, jax.Array, np.ndarray)) and type(node) not in containers:
            yield Finding(show(node), "a NamedTuple, a tuple, a dict or an array", at)


def _nodes(tree: PyTree, at: str) -> Iterator[tuple[str, Any]]:
    """Every container and leaf of a tree, with its path."""
    yield at, tree
    below, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: x is not tree)
    for path, node in below:
        if path:
            yield from _nodes(node, name(path, at))


@law(
    "state",
    "Cast what is kept to the dtype that it had (tree.cast_like), and scalars with numerics.like.",
    RUNS,
)
def state_keeps_its_types(trial: Trial) -> Iterator[Finding]:
    """The state keeps its structure, and every leaf its shape and dtype, for ever."""
    for step, (_, state) in enumerate(trial.eager, 1):
        found = tuple(differences(state, trial.state, "state", f"after step {step}"))
        yield from found
        if found:
            return


@law("state", "Define update in the class, where the boundary is put around it.", RUNS)
def other_states_are_refused(trial: Trial) -> Iterator[Finding]:
    """A state is refused where a leaf has another shape or dtype, with its path; it is not broadcast."""
    structure: Any  # jax has no types for treedefs
    leaves, structure = jax.tree.flatten(trial.state)
    for i, (at, leaf) in enumerate(_leaves(trial.state)):
        for wrong in _others(leaf, "/hyperparams/" in at):
            state = structure.unflatten([*leaves[:i], wrong, *leaves[i + 1 :]])
            step = functools.partial(trial.step, trial.tx)
            try:
                jax.eval_shape(step, trial.params, state, trial.gradients[0])
            except Exception as error:
                if not isinstance(error, ValueError) or at not in str(error):
                    yield raised(error, f"with {describe(wrong)}", f"a ValueError that names {at}", at)
                continue
            yield Finding(f"no error with {describe(wrong)}", f"{describe(leaf)}, or an error", at)


def _others(leaf: Any, by_hand: bool) -> Iterator[jax.ShapeDtypeStruct]:
    """Leaves that do not fit: of other dtypes, and of other shapes, some of which would broadcast.

    Whole numbers may be set by hand among the hyperparameters.
    """
    shape = leaf.shape
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16, jnp.bool_, jnp.int32):
        if leaf.dtype != dtype and not (by_hand and dtype == jnp.int32):
            yield jax.ShapeDtypeStruct(shape, dtype)
    for other in ((), (1,), (1, *shape), (3, *shape), tuple(n + 1 for n in shape), shape[1:]):
        if other != shape:
            yield jax.ShapeDtypeStruct(other, leaf.dtype)


@law("state", "Read shapes and dtypes only: the state of a large model is made under jax.eval_shape.", RUNS)
def abstract_init_agrees(trial: Trial) -> Iterator[Finding]:
    """init needs shapes and dtypes only: jax.eval_shape(tx.init, params) gives the types of its result."""
    abstract = jax.eval_shape(trial.tx.init, trial.params)
    yield from differences(abstract, trial.state, "state", "under jax.eval_shape")


@law("state", "Make accumulators with tree.zeros_like or tree.full_like: an average in bf16 stalls.", TRACES)
def accumulators_are_wide(trial: Trial) -> Iterator[Finding]:
    """For bf16 and fp16 parameters, what the state holds of a parameter's shape is at least float32.

    Unless a narrower dtype was asked for, in a field whose name ends in `_dtype`.
    """
    values = [x for _, x in held_by(trial.tx, "") if isinstance(x, Value)]
    asked = [held for x in values for name, held in vars(x).items() if name.endswith("_dtype")]
    shapes = [p.shape for p in jax.tree.leaves(trial.params)]
    for dtype in (jnp.bfloat16, jnp.float16):
        for at, x in _leaves(jax.eval_shape(trial.tx.init, in_dtype(trial.params, dtype))):
            narrow = jnp.issubdtype(x.dtype, jnp.inexact) and jnp.finfo(x.dtype).bits < 32
            if narrow and x.shape in shapes and x.dtype.name not in asked:
                yield Finding(describe(x), "at least float32", at)


@law("state", "Copy what the state keeps of the parameters (jnp.array), and make each leaf by itself.", RUNS)
def state_owns_its_buffers(trial: Trial) -> Iterator[Finding]:
    """No leaf of the first state shares its memory with a parameter or another leaf: all can be donated."""
    params = trial.params
    owners = {place: at for at, place in _places(params, "params")}
    for at, place in _places(trial.tx.init(params), "state"):
        if owners.setdefault(place, at) != at:
            yield Finding(f"the memory of {owners[place]}", "memory of its own", at)


def _places(tree: PyTree, root: str) -> Iterator[tuple[str, int]]:
    """The name of each leaf, and where its shards lie in memory."""
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(x, jax.Array) and x.size and not is_key(x):
            for shard in x.addressable_shards:
                yield name(path, root), shard.data.unsafe_buffer_pointer()


@law("state", "Use jax.tree.map, and never the first leaf.", RUNS)
def init_takes_placeholders(trial: Trial) -> Iterator[Finding]:
    """init takes placeholders without leaves, by which Optax finds what in a state mirrors the parameters."""
    each = jax.tree.map(lambda _: MaskedNode(), trial.params)
    for when, placeholders in (("for the whole tree", MaskedNode()), ("for each parameter", each)):
        try:
            trial.tx.init(placeholders)
        except Exception as error:
            yield raised(error, f"with a placeholder {when}")


@law("state", "Start a counter with numerics.counter(), and call it step.", TRACES)
def counters_are_int32(trial: Trial) -> Iterator[Finding]:
    """A counter is an int32, also where 64-bit types are enabled."""
    with jax.enable_x64(True):
        state = jax.eval_shape(trial.tx.init, trial.params)
    for at, x in _leaves(state):
        counts = x.shape == () and jnp.issubdtype(x.dtype, jnp.signedinteger)
        if (counts or at.endswith(".step")) and x.dtype != jnp.int32:
            yield Finding(f"{describe(x)} where 64-bit types are enabled", "int32", at)


@law("state", "Keep the place of a term that is off: put identity() there, or an empty state.", TRACES)
def numbers_keep_the_state(trial: Trial) -> Iterator[Finding]:
    """The value of a number, 0 included, changes nothing in the structure of the state.

    A transformation and the same with other numbers then take each other's state. A term is off where its
    number is 0.
    """
    kinds = {n: kind.inner if isinstance(kind, Maybe) else kind for n, kind in accepted(type(trial.tx))}
    fields = [field for field, kind in kinds.items() if isinstance(kind, Real)]
    on = _with_numbers(trial.tx, fields, 0.5)
    off = _with_numbers(on, [field for field in fields if same(getattr(on, field), 0.5)], 0.0)
    before, after = (jax.eval_shape(tx.init, trial.params) for tx in (off, on))
    yield from differences(before, after, "state", "with its numbers at 0 instead of 0.5")


def _with_numbers(tx: Any, fields: list[str], number: float) -> Any:
    """`tx` with that number in each of these fields that takes it beside the others."""
    for field in fields:
        with contextlib.suppress(TypeError, ValueError):
            tx = tx.replace(**{field: number})
    return tx
