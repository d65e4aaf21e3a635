"""Wrappers around wrappers: under scan, vmap and shard_map in one program, over poisoned gradients.

A wrapper is what holds one transformation. Each stands around and inside of several others here, itself
among them, over a bfloat16 leaf and a `None`; `apply_if_finite`, which promises something of poisoned
gradients, around and inside of all. All other pairs are traced, in the same program.
"""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import gradtx
from gradtx import GradientTransformation

PARAMS = {
    "kernel": jnp.asarray([[1.0, -2.0, 0.5], [0.5, 3.0, 1.0]]),
    "bias": jnp.asarray([0.5, 0.25, -1.0], jnp.bfloat16),
    "none": None,
}
LAYOUT = gradtx.packing(PARAMS)
STEPS = 8
DEVICES = 8
POISONS = (0.0, np.nan, np.inf)  # of a model each; 0 is none
MODELS = len(POISONS)
POISONED_AT = 2  # when a wrapper that runs at even steps runs
BASE = gradtx.chain(
    gradtx.trace(0.9),
    gradtx.scale_by_trust_ratio(),
    gradtx.scale_by_learning_rate(gradtx.linear_schedule(0.1, 0.05, STEPS)),
)


def _even(step):
    return step % 2 == 0


def _all(params):
    return jax.tree.map(lambda _: True, params)


def _matrices(params):
    return jax.tree.map(lambda p: p.ndim == 2, params)


def _one_group(params):
    return jax.tree.map(lambda _: "all", params)


WRAPPERS = {
    "accumulate": lambda tx: gradtx.accumulate(tx, 2),
    "apply_if_finite": lambda tx: gradtx.apply_if_finite(tx, STEPS),
    "average_params": gradtx.average_params,
    "chain": lambda tx: gradtx.chain(tx),
    "conditionally_mask": lambda tx: gradtx.conditionally_mask(tx, _even),
    "conditionally_transform": lambda tx: gradtx.conditionally_transform(tx, _even),
    "flatten": gradtx.flatten,
    "lookahead": lambda tx: gradtx.lookahead(tx, 2),
    "masked": lambda tx: gradtx.masked(tx, _all),
    "mean_params": gradtx.mean_params,
    "mechanize": lambda tx: gradtx.mechanize(tx, s_init=0.1),
    "named_chain": lambda tx: gradtx.named_chain(("only", tx)),
    "packed": lambda tx: gradtx.packed(tx, LAYOUT),
    "partition": lambda tx: gradtx.partition({"all": tx}, _one_group),
    "per_layer": lambda tx: gradtx.per_layer(tx, _matrices),
    "schedule_free": lambda tx: gradtx.schedule_free(tx, 0.1),
    "split_real_and_imaginary": gradtx.split_real_and_imaginary,
    "tunable": gradtx.tunable,
    "with_extra_args_support": gradtx.with_extra_args_support,
}
NAMES = list(WRAPPERS)

# These hold one as well, and are made of those above, or stand inside of optimizers.
OTHERS = {
    "in_subspace",  # atoms of an optimizer's own, as those below that say nothing else
    "rare_ema",
    "scale_by_sophia",
    "sophia",
    "cautious",  # around a direction, not an optimizer
    "decoupled",  # a direction, not an optimizer
    "divide_by_root",
    "layerwise",  # what per_layer makes
    "run_when",  # what the conditional ones are made of
    "scale_by_past_rms",
    "unpacked",  # what packed makes
}
FINITE = "apply_if_finite"
READS_GRADIENTS = {"mechanize"}  # itself, so that a guard inside of it guards too little
# A step from each wrapper to another; with 0 it stands around itself. Coprime to their number, or 0.
PAIRS = sorted(
    {(NAMES[i], NAMES[(i + k) % len(NAMES)]) for i in range(len(NAMES)) for k in (0, 5)}
    | {pair for name in NAMES for pair in ((name, FINITE), (FINITE, name))}
)


def refused(outer: str, inner: str) -> str:
    """Why a pair can't be made, or nothing."""
    whole = {
        "accumulate",
        "apply_if_finite",
        "conditionally_mask",
        "conditionally_transform",
        "flatten",
        "packed",
    }
    if outer == "per_layer" and inner in whole | {"mechanize"}:
        return "reads leaves as wholes, and others besides its own"  # packed: it reads views of other leaves
    return "differs" if "packed" in (outer, inner) and outer == inner else ""


def test_every_wrapper_stands_here() -> None:
    held = {}
    for name, cls in vars(gradtx).items():
        if isinstance(cls, type) and issubclass(cls, GradientTransformation) and not cls._abstract:
            fields = cls.__dataclass_fields__
            held[name] = sum(f.type == "GradientTransformation" for f in fields.values())
    assert {name for name, count in held.items() if count == 1} - OTHERS <= set(NAMES)
    for position in (0, 1):
        assert {pair[position] for pair in PAIRS} == set(NAMES)


def gradients(poison: float, params):
    """One stream for each device: axes of steps and devices. One entry of one of them is poisoned."""
    rng = np.random.default_rng(3)

    def stream(p):
        values = rng.normal(size=(STEPS, DEVICES, *p.shape))
        if np.isfinite(poison):
            return values.astype(p.dtype)
        values[(POISONED_AT, 2, *(0,) * p.ndim)] = poison
        return values.astype(p.dtype)

    return jax.tree.map(stream, params)


def training(tx):
    """A model's steps: its start, and what makes a step of a device's gradients."""

    def start(params):
        return params, tx.init(params)

    def step(carry, grads):
        params, state = carry
        mean = jax.lax.pmean(jax.tree.map(lambda g: g[0], grads), "data")
        updates, state = tx.update(mean, state, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        params = gradtx.apply_updates(params, updates)
        return (params, state), params

    return start, step


def scan_of_each_model(tx, params, stream):
    start, step = training(tx)

    def train(params, stream):
        return jax.lax.scan(step, start(params), stream)[1]

    return jax.vmap(train, in_axes=(None, 0))(params, stream)


def step_of_all_models(tx, params, stream):
    """The same, traced in less time: what is mapped is traced once, not until the carry stays as it is."""
    start, step = training(tx)
    begun = jax.vmap(start, axis_size=MODELS, in_axes=None)(params)
    by_step = jax.tree.map(lambda g: jnp.swapaxes(g, 0, 1), stream)
    path = jax.lax.scan(jax.vmap(step), begun, by_step)[1]
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), path)


def program(tx, params, train=scan_of_each_model):
    """What gives the parameters after each step of some models on eight devices, and what to call it with."""
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    divided = PartitionSpec(None, None, "data")
    mapped = jax.shard_map(
        functools.partial(train, tx),
        mesh=mesh,
        in_specs=(PartitionSpec(), divided),
        out_specs=PartitionSpec(),
    )
    streams = [gradients(poison, params) for poison in POISONS]
    return mapped, params, jax.tree.map(lambda *g: np.stack(g), *streams)


def path_of(tx, params):
    mapped, *arguments = program(tx, params)
    return jax.jit(mapped)(*arguments)


def numbers(tree):
    """Models and steps first, then every entry of all leaves."""
    return np.concatenate(
        [np.asarray(x, np.float32).reshape(*x.shape[:2], -1) for x in jax.tree.leaves(tree)], axis=-1
    )


def pair(outer: str, inner: str):
    """A wrapper in a wrapper, or None where it is refused as it should be, and the parameters for it."""
    params = LAYOUT.pack(PARAMS) if "packed" in (outer, inner) else PARAMS
    if reason := refused(outer, inner):
        with pytest.raises(ValueError, match=reason):
            jax.eval_shape(WRAPPERS[outer](WRAPPERS[inner](BASE)).init, params)
        return None, params
    return WRAPPERS[outer](WRAPPERS[inner](BASE)), params


@pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=lambda name: name)
def test_a_wrapper_in_a_wrapper_runs_everywhere_and_recovers_as_it_promises(outer: str, inner: str) -> None:
    tx, params = pair(outer, inner)
    if tx is None:
        return
    abstract, state = jax.eval_shape(tx.init, params), tx.init(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, state)
    path = path_of(tx, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.tree.map(lambda x: x[0, 0], path), params)
    moved = numbers(path)
    clean, *poisoned = moved
    assert np.all(np.isfinite(clean))
    assert np.any(clean[-1] != clean[POISONED_AT])
    if FINITE in (outer, inner) and outer not in READS_GRADIENTS:
        for model in poisoned:
            assert np.all(np.isfinite(model))
            assert np.any(model[-1] != model[POISONED_AT])  # it goes on


@pytest.mark.parametrize("outer", NAMES)
def test_every_other_pair_is_traced(outer: str) -> None:
    """The whole matrix, as far as it goes without compiling: scan, vmap, shard_map, dtypes and refusals."""
    for inner in sorted(set(NAMES) - {b for a, b in PAIRS if a == outer}):
        tx, params = pair(outer, inner)
        if tx is None:
            continue
        path = jax.eval_shape(*program(tx, params, step_of_all_models))
        models, steps = {x.shape[:2] for x in jax.tree.leaves(path)}.pop()
        assert (models, steps) == (MODELS, STEPS)
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), path)
        chex.assert_trees_all_equal_shapes_and_dtypes(one, params)


@pytest.mark.parametrize(
    "name",
    ["accumulate", "conditionally_mask", "flatten", "lookahead", "partition", "per_layer", "schedule_free"],
)
def test_on_eight_devices_it_gives_what_it_gives_on_one(name: str) -> None:
    tx = WRAPPERS[name](BASE)
    path = numbers(path_of(tx, PARAMS))[0]
    step, state, params = gradtx.make_step(tx), tx.init(PARAMS), jax.tree.map(jnp.copy, PARAMS)
    stream = gradients(0.0, PARAMS)
    for t in range(STEPS):
        mean = jax.tree.map(lambda g, t=t: g[t].mean(axis=0, dtype=np.float32).astype(g.dtype), stream)
        params, state = step(params, state, mean)
        alone = np.concatenate([np.asarray(x, np.float32).ravel() for x in jax.tree.leaves(params)])
        # Sums over devices in another order, and means of bfloat16 gradients rounded apart.
        np.testing.assert_allclose(path[t], alone, rtol=3e-2, atol=1e-2)
        np.testing.assert_allclose(path[t][3:], alone[3:], rtol=1e-4, atol=1e-5)
