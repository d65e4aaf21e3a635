"""The trial that a law is given: a transformation, small trees, and results that laws share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.contract.hoist import jaxpr_as_fun
from gradtx.contract.noted import any_state
from gradtx.contract.transformation import GradientTransformation
from gradtx.laws.compare import differences, raised
from gradtx.laws.report import Finding, Skip
from gradtx.tree import PyTree, one_example
from gradtx.values.value import Value

__all__ = [
    "STEPS",
    "Trial",
    "as_traced",
    "default_parameters",
    "held_by",
    "in_dtype",
    "replacing",
    "stack",
    "unhashable",
]

EXAMPLES = 2
STEPS = 3  # the first step hides mistakes: a debiased average of one gradient is that gradient


class Trial:
    """One transformation on trial.

    Every tree is handed out in new containers, so that no call can spoil it for the next law.
    """

    def __init__(
        self,
        tx: GradientTransformation,
        params: PyTree,
        extra: Mapping[str, Any],
        public: Mapping[str, Any],
    ) -> None:
        self.tx, self.extra = tx, extra
        self.public = public  # the names that a repr may use
        self.traces = 0  # how often `step` was run, which under jit is how often it was traced
        self._params = jax.tree.map(jnp.asarray, params)
        self._gradients = [_noise(self._examples(self._params), seed) for seed in range(1, STEPS + 1)]

    @property
    def params(self) -> PyTree:
        return _fresh(self._params)

    @property
    def gradients(self) -> list[PyTree]:
        return [_fresh(g) for g in self._gradients]

    @functools.cached_property
    def _state(self) -> PyTree:
        return self.tx.init(self.params)

    @property
    def state(self) -> PyTree:
        return _fresh(self._state)

    def _examples(self, tree: PyTree) -> PyTree:
        """The shapes of the gradients for such parameters: with a first axis, if it takes single examples."""
        first = (EXAMPLES,) if self.tx.per_example else ()
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((*first, *x.shape), x.dtype), tree)

    def updates_for(self, grads: PyTree) -> PyTree:
        """Shapes and dtypes of the updates that come out for such gradients."""
        return one_example(grads) if self.tx.per_example else grads

    def step(self, tx: Any, params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        """One update by `tx`, or by one with other numbers."""
        self.traces += 1
        return tx.update(grads, state, params, **self.extra)

    def first_step(self, tx: Any, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        return self.step(tx, params, tx.init(params), grads)

    def run(self, step: Callable[..., Any]) -> list[tuple[PyTree, PyTree]]:
        """The updates and the state after each of a few steps."""
        state, path = self.state, []
        with any_state():  # what changes them is told by a law of its own
            for grads in self.gradients:
                updates, state = step(self.tx, self.params, _fresh(state), grads)
                path.append((updates, state))
        return path

    @functools.cached_property
    def eager(self) -> list[tuple[PyTree, PyTree]]:
        return self.run(self.step)

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """`step` as a program that knows the transformation, which is a static argument if it can be."""
        if unhashable(self.tx):
            closed = jax.jit(functools.partial(self.step, self.tx))
            return lambda _, *arguments: closed(*arguments)
        return jax.jit(self.step, static_argnums=0)

    @functools.cached_property
    def jitted(self) -> tuple[list[tuple[PyTree, PyTree]], int]:
        """The results of the compiled steps, and how often they were traced."""
        before = self.traces
        path = self.run(self.compiled)
        return path, self.traces - before

    def changed(self, change: Callable[[PyTree], PyTree]) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Parameters, gradients, and those extra arguments that have their structure, all changed."""
        own = _structure(self._params)
        extra = {n: change(x) for n, x in self.extra.items() if _structure(x) == own}
        if not self.tx.per_example:
            return change(self.params), change(self.gradients[0]), extra
        alone = [change(jax.tree.map(lambda x, i=i: x[i], self._gradients[0])) for i in range(EXAMPLES)]
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(alone)):
            return change(self.params), self._examples(alone[0]), extra
        return change(self.params), stack(*alone), extra

    def dry_run(self, when: str, change: Callable[[PyTree], PyTree]) -> Iterator[Finding]:
        """Findings where the trees are changed; only shapes and dtypes are computed."""

        def once(params: PyTree, grads: PyTree, extra: dict[str, Any]) -> tuple[PyTree, ...]:
            state = self.tx.init(params)
            updates, after = self.tx.update(grads, state, params, **{**self.extra, **extra})
            return grads, updates, state, after

        try:
            grads, updates, state, after = jax.eval_shape(once, *self.changed(change))
        except Exception as error:
            yield raised(error, when)
            return
        yield from differences(updates, self.updates_for(grads), "updates", when)
        yield from differences(after, state, "state", when)


def as_traced(f: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
    """Call `f` with all numbers in its arguments traced, one operation at a time.

    Operations are compiled once for all transformations, where a program would be for each.
    """
    with jax.disable_jit():  # else every nested jit would be a program of its own
        closed, shapes = jax.make_jaxpr(f, return_shape=True)(*arguments)
        results = jaxpr_as_fun(closed)(*map(jnp.asarray, jax.tree.leaves(arguments)))
    return jax.tree.unflatten(_structure(shapes), results)


def _structure(tree: PyTree) -> Any:
    return jax.tree.structure(tree)


def default_parameters() -> PyTree:
    """A matrix, a bfloat16 vector and a scalar, in containers."""
    shapes = {
        "dense": {
            "kernel": jax.ShapeDtypeStruct((3, 4), jnp.float32),
            "bias": jax.ShapeDtypeStruct((4,), jnp.bfloat16),
        },
        "scale": (jax.ShapeDtypeStruct((), jnp.float32),),
    }
    return _noise(shapes, 0)


def _noise(tree: PyTree, seed: int) -> PyTree:
    """Arrays of the shapes and dtypes of `tree`, from a normal distribution."""
    rng = np.random.default_rng(seed)

    def draw(x: Any) -> jax.Array:
        z = rng.normal(size=x.shape)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            z = z + 1j * rng.normal(size=x.shape)
        return jnp.asarray(z, x.dtype)

    return jax.tree.map(draw, tree)


def _fresh(tree: PyTree) -> PyTree:
    """The same leaves in new containers."""
    return jax.tree.map(lambda x: x, tree)


def stack(*trees: PyTree) -> PyTree:
    """One tree, whose leaves have a first axis of the trees."""
    return jax.tree.map(lambda *xs: jnp.stack(xs), *trees)


def in_dtype(tree: PyTree, dtype: Any) -> PyTree:
    """The shapes of `tree`, with `dtype` where its dtype is floating-point."""

    def cast(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, dtype if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype)

    return jax.tree.map(cast, tree)


def replacing(
    params: PyTree, fits: Callable[[Any], bool], new: Callable[[Any], Any]
) -> tuple[Any, Callable[[PyTree], PyTree]]:
    """The path of the first parameter that fits, and what replaces the leaf there in such a tree."""
    flat, structure = jax.tree_util.tree_flatten_with_path(params)
    at = next((i for i, (_, x) in enumerate(flat) if fits(x)), None)
    if at is None:
        raise Skip("no parameter has an axis" if flat else "there are no parameters")

    def change(tree: PyTree) -> PyTree:
        leaves = jax.tree.leaves(tree)
        return jax.tree.unflatten(structure, [*leaves[:at], new(leaves[at]), *leaves[at + 1 :]])

    return flat[at][0], change


def held_by(x: Any, where: str) -> Iterator[tuple[str, Any]]:
    """A value and all that it holds, each with its place: values, and what can't be looked into."""
    if isinstance(x, Value):
        yield where, x
        for name, held in vars(x).items():
            yield from held_by(held, f"{where}.{name}")
    elif isinstance(x, (tuple, list)):
        for i, held in enumerate(x):
            yield from held_by(held, f"{where}[{i}]")
    elif isinstance(x, Mapping):
        for key, held in x.items():
            yield from held_by(held, f"{where}[{key!r}]")
    else:
        yield where, x


def unhashable(tx: Value) -> str:
    """Why a value has no hash, or nothing."""
    try:
        hash(tx)
    except TypeError as error:
        return str(error).rstrip(".")
    return ""
