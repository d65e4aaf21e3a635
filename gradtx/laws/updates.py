"""Laws of the update: types kept, one trace, the same under every transformation of jax, honest errors."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.combine import MaskedNode
from gradtx.contract.facts import facts
from gradtx.contract.leafwise import LEAVES_PER_SHAPE
from gradtx.contract.reach import Reach
from gradtx.laws.compare import ROUNDINGS, differences, numbers, pairs, raised
from gradtx.laws.report import Finding, Skip, law
from gradtx.laws.surroundings import AXIS, SURROUNDINGS, behind, seen
from gradtx.laws.trial import STEPS, Trial, as_traced, in_dtype, replacing, stack, unhashable
from gradtx.layouts.buffers import packing
from gradtx.tree import PyTree, where
from gradtx.tree import name as name_of

__all__: list[str] = []  # a law is reached through LAWS

RUNS = ("runs",)
COMPILES = (*RUNS, "jit_equals_eager")
TRACES = (*COMPILES, "abstract_init_agrees")
KEEPS = (*TRACES, "updates_keep_their_types", "state_keeps_its_types")


# ---------------------------------------------------------------- what comes out


@law("update", "Map over the updates with jax.tree.map, and cast scalars with numerics.like.", RUNS)
def updates_keep_their_types(trial: Trial) -> Iterator[Finding]:
    """Updates keep their structure, shapes and dtypes."""
    yield from differences(trial.eager[0][0], trial.updates_for(trial.gradients[0]), "updates")


@law("update", "Build new containers; assign to none that was passed.", RUNS)
def arguments_stay_as_they_are(trial: Trial) -> Iterator[Finding]:
    """init and update change neither parameters, nor updates, nor the state that they are given."""
    given = {"params": trial.params, "updates": trial.gradients[0], "state": trial.state}
    before = copy.deepcopy(given)
    trial.tx.init(given["params"])
    trial.step(trial.tx, given["params"], given["state"], given["updates"])
    for name, tree in given.items():
        gone = [p for p, x in jax.tree_util.tree_leaves_with_path(tree) if _is_deleted(x)]
        for path in gone:
            yield Finding("an array that was given away", "it unchanged", name_of(path, name))
        if not gone:
            yield from differences(tree, before[name], name, "after the call", 0.0)


def _is_deleted(x: Any) -> bool:
    return isinstance(x, jax.Array) and x.is_deleted()


@law("update", "Keep random keys and counters in the state, not in Python.", RUNS)
def is_deterministic(trial: Trial) -> Iterator[Finding]:
    """The same steps, made again, give the same bits."""
    for step, (twice, once) in enumerate(zip(trial.run(trial.step), trial.eager, strict=True), 1):
        yield from pairs(twice, once, f"when step {step} is made again", 0.0)


# ---------------------------------------------------------------- under jax's transformations


@law("update", "Say reach = Reach.ENTRY or LEAF only of a class that reads no other leaf than its own.", RUNS)
def leafwise_is_leaf_by_leaf(trial: Trial) -> Iterator[Finding]:
    """If it says that it is leafwise, no leaf's update depends on another leaf."""
    if not facts(trial.tx).leafwise:
        raise Skip("it may read other leaves, their names, or extra arguments")
    at, change = replacing(trial.params, lambda _: True, lambda x: x * jnp.asarray(2.0, x.dtype))

    def step(tx: Any, params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        return trial.step(tx, change(params), state, change(grads))

    for (updates, _), (expected, _) in zip(trial.run(step), trial.eager, strict=True):
        for found in differences(
            updates, expected, "updates", f"where the leaf at {where(at, trial.params)} is another", 0.0
        ):
            if found.at != name_of(at, "updates"):
                yield found


@law("update", "Say reach = Reach.ENTRY or OTHERS only of a class that asks no leaf for its shape.", RUNS)
def packs(trial: Trial) -> Iterator[Finding]:
    """If it says that it asks for no leaf as a whole, it gives the same of packed leaves."""
    if Reach.LEAF in facts(trial.tx).reach or facts(trial.tx).names_leaves or trial.extra:
        raise Skip("it may ask which entries make up a leaf, for the leaf's name, or for extra arguments")
    layout = packing(trial.params)
    state = trial.tx.init(layout.pack(trial.params))
    for step, (grads, (expected, _)) in enumerate(zip(trial.gradients, trial.eager, strict=True), 1):
        updates, state = trial.step(trial.tx, layout.pack(trial.params), state, layout.pack(grads))
        yield from differences(
            layout.unpack(updates), expected, "updates", f"in step {step}, packed", ROUNDINGS
        )


@law(
    "update",
    "Use jnp and jax.lax on arrays, and keep nothing in Python from one call to the next.",
    (*RUNS, "leafwise_is_leaf_by_leaf"),
)
def jit_equals_eager(trial: Trial) -> Iterator[Finding]:
    """Compiled, it gives what it gives eagerly, to 1e-5 of each leaf's largest entry."""
    for step, (compiled, eager) in enumerate(zip(trial.jitted[0], trial.eager, strict=True), 1):
        yield from pairs(compiled, eager, f"in step {step}, compiled", ROUNDINGS)


@law("update", "Keep the state's shapes and dtypes, weak types included.", COMPILES)
def one_trace_for_many_steps(trial: Trial) -> Iterator[Finding]:
    """A compiled step is traced once, however many steps are made."""
    if trial.jitted[1] != 1:
        yield Finding(f"{trial.jitted[1]} traces in {STEPS} steps", "1")


@law("update", "Keep all that it is in its fields, and let the base class compare and hash them.", COMPILES)
def one_trace_as_static_argument(trial: Trial) -> Iterator[Finding]:
    """As a static argument of jit, an equal value that is made anew is not traced anew."""
    if reason := unhashable(trial.tx):
        raise Skip(reason)
    inputs = trial.params, trial.state, trial.gradients[0]
    trial.compiled(trial.tx, *inputs)  # traced here, if not before
    before = trial.traces
    trial.compiled(copy.deepcopy(trial.tx), *inputs)
    if trial.traces != before:
        yield Finding("another trace for an equal value", "none")


@law(
    "update", "Declare as static() what Python decides by, and compute with numbers as with arrays.", COMPILES
)
def one_trace_as_argument(trial: Trial) -> Iterator[Finding]:
    """As an ordinary argument of jit, it gives the same (to 1e-2), in one trace for all its numbers."""
    if not jax.tree.leaves(trial.tx):
        raise Skip("it has no numbers")
    step, before = jax.jit(trial.step), trial.traces
    (_, state), last = trial.jitted[0][-2:]
    inputs = trial.params, state, trial.gradients[-1]
    for factor in (1.0, 0.99, 0.98):
        step.trace(jax.tree.map(lambda x, f=factor: x * f if isinstance(x, float) else x, trial.tx), *inputs)
    if trial.traces - before != 1:
        yield Finding(f"{trial.traces - before} traces for 3 values of its numbers", "1")
    # 1e-2, not ROUNDINGS: a traced number is a float32, where 1 - 0.9999 has lost four of seven digits.
    yield from pairs(as_traced(trial.step, trial.tx, *inputs), last, "as an argument", 1e-2)


@law(
    "update",
    "Compute with numbers as with arrays, and cast them with numerics.like.",
    (*TRACES, "one_trace_as_argument"),
)
def vmaps_over_its_numbers(trial: Trial) -> Iterator[Finding]:
    """It can be mapped over a batch of its numbers by vmap: a sweep is one program."""
    if not jax.tree.leaves(trial.tx):
        raise Skip("it has no numbers")
    batch = stack(*(jax.tree.map(jnp.asarray, trial.tx) for _ in range(2)))
    jax.eval_shape(
        jax.vmap(trial.first_step, in_axes=(0, None, None)), batch, trial.params, trial.gradients[0]
    )
    yield from ()


@law(
    "update",
    "Compute with numbers as with arrays: no float() of one, no stop_gradient.",
    (*TRACES, "one_trace_as_argument"),
)
def differentiates_by_its_numbers(trial: Trial) -> Iterator[Finding]:
    """Its updates can be differentiated by its numbers."""
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, trial.tx))
    if not leaves or not all(jnp.issubdtype(x.dtype, jnp.inexact) for x in leaves):
        raise Skip("not all of its numbers are real" if leaves else "it has no numbers")

    def step(*leaves: jax.Array) -> tuple[PyTree, PyTree]:
        return trial.first_step(jax.tree.unflatten(structure, leaves), trial.params, trial.gradients[0])

    jax.eval_shape(lambda: jax.jvp(step, leaves, leaves))
    yield from ()


@law(
    "update",
    "Keep no program and no traced value from one call to the next: trace what you hold at each call.",
    (*TRACES, "arguments_stay_as_they_are", "is_deterministic"),
)
def is_traced_where_it_is_used(trial: Trial) -> Iterator[Finding]:
    """Under another named axis, mesh or setting of jax, what it holds is traced anew, in either order."""
    if trial.tx.per_example or not jax.tree.leaves(trial.params):
        raise Skip(
            "its gradients have an axis of examples" if trial.tx.per_example else "there are no parameters"
        )
    params, grads = trial.params, trial.gradients[0]
    if facts(trial.tx).leafwise:  # enough of one shape to be traced leaf by leaf
        params, grads = ([max(jax.tree.leaves(t), key=jnp.size)] * LEAVES_PER_SHAPE for t in (params, grads))

    def program(probe: Callable[[], float], size: int) -> str:
        tx = behind(trial.tx, probe)

        def step(grads: PyTree) -> PyTree:
            return tx.update(grads, tx.init(params), params, **trial.extra)[0]

        return str(jax.make_jaxpr(jax.vmap(step, None, None, axis_name=AXIS, axis_size=size))(grads))

    for order in (SURROUNDINGS, SURROUNDINGS[::-1]):
        sees = functools.partial(seen)  # another function in each order: nothing of one is found in the other
        for name, surroundings in order:
            with surroundings() as size:
                expected = seen(size)
                if program(sees, size) != program(functools.partial(float, expected), size):
                    yield Finding(f"another place's program, with {name}", "one that is traced there")


@law("update", "Keep the state's shapes and dtypes; lax.scan names the leaf that does not.", TRACES)
def carries_through_scan(trial: Trial) -> Iterator[Finding]:
    """A lax.scan over steps takes the state as its carry."""
    if not jax.tree.leaves(trial.params):
        raise Skip("there are no parameters")

    def train(params: PyTree, gradients: PyTree) -> tuple[PyTree, PyTree]:
        def step(state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
            return trial.step(trial.tx, params, state, grads)[::-1]

        return jax.lax.scan(step, trial.tx.init(params), gradients)

    jax.eval_shape(train, trial.params, stack(*trial.gradients))
    yield from ()


@law("update", "Use jnp and jax.lax on arrays; decide nothing by a value or by the number of axes.", TRACES)
def vmap_equals_the_loop(trial: Trial) -> Iterator[Finding]:
    """vmap over a batch of models gives what a loop over them gives, to 1e-5 of a leaf's largest entry."""
    if not jax.tree.leaves(trial.params):
        raise Skip("there are no parameters")
    params = [trial.params, jax.tree.map(lambda p: p * jnp.asarray(0.5, p.dtype), trial.params)]
    grads = trial.gradients[:2]
    together = jax.vmap(functools.partial(trial.first_step, trial.tx))
    alone = [trial.compiled(trial.tx, p, trial.tx.init(p), g) for p, g in zip(params, grads, strict=True)]
    with jax.disable_jit():  # op by op; see as_traced
        batched = together(stack(*params), stack(*grads))
    yield from pairs(batched, stack(*alone), "under vmap", ROUNDINGS)


# ---------------------------------------------------------------- other trees


@law("update", "Take dtypes from the leaves: tree.cast_like for trees, numerics.like for scalars.", KEEPS)
def other_dtypes_are_kept(trial: Trial) -> Iterator[Finding]:
    """In bf16, fp16 and float64, updates come out as they came in, and the state keeps its types."""
    for name in ("bfloat16", "float16", "float64"):
        with jax.enable_x64(True) if name == "float64" else contextlib.nullcontext():
            change = functools.partial(in_dtype, dtype=jnp.dtype(name))
            yield from trial.dry_run(f"with parameters in {name}", change)


@law("update", "Use jax.tree.map on the trees as they are: a hole is a container without leaves.", KEEPS)
def holes_pass_through(trial: Trial) -> Iterator[Finding]:
    """None and MaskedNode in the trees are in the updates too, and nothing is kept for them."""
    for hole in (None, MaskedNode()):
        at, change = replacing(trial.params, lambda _: True, functools.partial(_put, hole))
        yield from trial.dry_run(f"with {hole} at {where(at, trial.params)}", change)


def _put(hole: Any, leaf: Any) -> Any:
    return hole


@law("update", "Mind leaves of size 0 in means, in maxima, and where a size divides.", KEEPS)
def empty_leaves_pass_through(trial: Trial) -> Iterator[Finding]:
    """A leaf without entries comes back as it is, and makes no other leaf infinite or NaN."""
    at, change = replacing(trial.params, lambda x: x.ndim > 0, lambda x: x[:0])
    params, grads, extra = trial.changed(change)
    when = f"with no entries at {where(at, trial.params)}"
    try:
        updates, _ = trial.tx.update(grads, trial.tx.init(params), params, **{**trial.extra, **extra})
    except Exception as error:
        yield raised(error, when)
        return
    yield from differences(updates, trial.updates_for(grads), "updates", when)
    usual = dict(jax.tree_util.tree_leaves_with_path(trial.eager[0][0]))
    for path, x in jax.tree_util.tree_leaves_with_path(updates):
        if np.all(np.isfinite(numbers(usual[path]))) and not np.all(np.isfinite(numbers(x))):
            name = name_of(path, "updates")
            yield Finding(f"infinity or NaN {when}", "finite updates, as there are without it", name)


@law(
    "update",
    "Use jax.tree.map, and give a sum over all leaves its start.",
    (*KEEPS, "init_takes_placeholders"),
)
def empty_trees_pass_through(trial: Trial) -> Iterator[Finding]:
    """A tree without leaves comes back as it is."""
    yield from trial.dry_run("with an empty tree", lambda _: {})


# ---------------------------------------------------------------- errors


@law("update", "Ask for them with transformation.need_params(self, params).", COMPILES)
def missing_params_are_named(trial: Trial) -> Iterator[Finding]:
    """Without the parameters it works, or raises a ValueError that says that it needs them."""
    try:
        jax.eval_shape(functools.partial(trial.step, trial.tx), None, trial.state, trial.gradients[0])
    except Exception as error:
        if not _asks_for_params(None, error):
            yield raised(error, "without the parameters", "a ValueError that says that they are needed")


@law(
    "update",
    "Map over updates and state with tree.map, which compares shapes, or use tree.check_like.",
    (*KEEPS, "missing_params_are_named"),
)
def wrong_shapes_are_refused(trial: Trial) -> Iterator[Finding]:
    """Updates that lack an axis are refused with the leaf's path, not broadcast."""
    at, change = replacing(trial.params, lambda x: x.ndim > 0 and x.size > 1, lambda x: x[0])
    step = functools.partial(trial.step, trial.tx)
    wrong, expected = trial.changed(change)[1], f"a ValueError that names {where(at, trial.params)}"
    for when, params in (("with the parameters", trial.params), ("without them", None)):
        try:
            updates, after = jax.eval_shape(step, params, trial.state, wrong)
        except Exception as error:
            if not isinstance(error, ValueError) or not (
                name_of(at) in str(error) or _asks_for_params(params, error)
            ):
                yield raised(error, when, expected, name_of(at, "updates"))
            continue
        # Where nothing is remembered of a parameter, there is nothing to compare with: they pass.
        harmed = any(
            (*differences(updates, trial.updates_for(wrong), ""), *differences(after, trial.state, ""))
        )
        if harmed or params is not None:
            yield Finding(f"no error {when}", expected, name_of(at, "updates"))


def _asks_for_params(params: Any, error: Exception) -> bool:
    return params is None and isinstance(error, ValueError) and "param" in str(error)
