"""States in Optax's classes: at Optax's places, with Optax's values, and from a job that ran with Optax."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax as peer
import pytest

from gradtx.interop import optax

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}
MASK = {"w": True, "b": False}
BEFORE, AFTER = 3, 20  # steps of Optax's, then of both


def falling(library: Any) -> Any:
    return library.linear_schedule(0.1, 0.0, 40)


def named(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """The library -> its transformation of this name. What is callable is made of the library."""

    def make(library: Any) -> Any:
        made = library
        for part in name.split("."):
            made = getattr(made, part)
        given = [x(library) if callable(x) else x for x in arguments]
        return made(*given, **options)

    return make


RATE_FIRST = {
    name: named(name, 0.1)
    for name in (
        "adabelief",
        "adagrad",
        "adam",
        "adamax",
        "adamaxw",
        "adamw",
        "adan",
        "amsgrad",
        "fromage",
        "lamb",
        "lars",
        "lion",
        "nadam",
        "nadamw",
        "novograd",
        "optimistic_adam",
        "optimistic_adam_v2",
        "optimistic_gradient_descent",
        "radam",
        "rprop",
        "sgd",
        "sign_sgd",
        "signum",
        "yogi",
        "contrib.acprop",
        "contrib.ademamix",
        "contrib.galore",
        "contrib.madgrad",
        "contrib.simplified_ademamix",
    )
}
DIRECTIONS = {
    name: named(name)
    for name in (
        "scale_by_adadelta",
        "scale_by_adamax",
        "scale_by_amsgrad",
        "scale_by_distance_over_gradients",
        "scale_by_rms",
        "scale_by_rss",
        "scale_by_sign",
        "scale_by_trust_ratio",
        "zero_nans",
    )
}

CASES: dict[str, Callable[[Any], Any]] = {
    **RATE_FIRST,
    **DIRECTIONS,
    "sm3": named("sm3", 0.1),
    "adadelta": named("adadelta", falling, weight_decay=0.1, weight_decay_mask=True),
    "adafactor": named("adafactor", 0.1, min_dim_size_to_factor=2, momentum=0.9, weight_decay_rate=0.1),
    "rmsprop": named("rmsprop", falling, momentum=0.9, bias_correction=True),
    "noisy_sgd": named("noisy_sgd", falling, key=0),
    "polyak_sgd": named("polyak_sgd", 0.1),
    "contrib.adopt": named("contrib.adopt", falling),
    "contrib.cocob": named("contrib.cocob"),
    "contrib.dadapt_adamw": named("contrib.dadapt_adamw", falling),
    "contrib.dog": named("contrib.dog", falling),
    "contrib.dowg": named("contrib.dowg"),
    "contrib.momo": named("contrib.momo", 0.1),
    "contrib.momo_adam": named("contrib.momo_adam", falling),
    "contrib.muon": named("contrib.muon", falling),
    "contrib.prodigy": named("contrib.prodigy", falling),
    "contrib.schedule_free_adamw": named("contrib.schedule_free_adamw", 0.1),
    "schedule_free, warmed": named("contrib.schedule_free_adamw", 0.1, warmup_steps=5),
    "contrib.schedule_free_sgd": named("contrib.schedule_free_sgd", 0.1),
    "adamw, scheduled, masked": named("adamw", falling, mask=MASK),
    "fromage, scheduled": named("fromage", falling),
    "sgd, scheduled": named("sgd", falling, momentum=0.9, nesterov=True),
    "ema": named("ema", 0.9),
    "ema, not debiased": named("ema", 0.9, debias=False),
    "chain": lambda lib: lib.chain(
        lib.clip_by_global_norm(1.0),
        lib.chain(lib.adam(falling(lib)), lib.add_decayed_weights(falling(lib), mask=True)),
        lib.scale_by_schedule(falling(lib)),
    ),
    "named_chain": lambda lib: lib.named_chain(("b", lib.adam(0.1)), ("a", lib.lion(0.1))),
    "masked": lambda lib: lib.masked(lib.adamw(falling(lib)), MASK),
    "partition": lambda lib: lib.partition(
        {"x": lib.adam(0.1), "y": lib.lion(falling(lib))}, {"w": "x", "b": "y"}
    ),
    "MultiSteps": lambda lib: lib.MultiSteps(lib.adamw(falling(lib)), 3).gradient_transformation(),
    "MultiSteps of a sum": lambda lib: lib.MultiSteps(
        lib.lion(falling(lib)), 3, use_grad_mean=False
    ).gradient_transformation(),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.lion(falling(lib)), 3),
    "conditionally_transform": lambda lib: lib.conditionally_transform(lib.lion(0.1), lambda s: s % 2 == 0),
    "conditionally_mask": lambda lib: lib.conditionally_mask(lib.adam(falling(lib)), lambda s: s % 3 == 0),
    "inject_hyperparams": lambda lib: lib.inject_hyperparams(lib.adamw)(falling(lib), weight_decay=0.1),
    "injected count": lambda lib: lib.inject_hyperparams(lib.lion)(learning_rate=0.1),
    "mechanize": lambda lib: lib.contrib.mechanize(lib.lion(0.1)),
    "schedule_free": lambda lib: lib.contrib.schedule_free(lib.adam(0.1, b1=0.0), 0.1),
    "sam": lambda lib: lib.contrib.sam(lib.adam(0.1), lib.chain(lib.contrib.normalize(), lib.sgd(0.05))),
    "split": lambda lib: lib.contrib.split_real_and_imaginary(lib.adam(0.1)),
    "plateau": lambda lib: lib.chain(
        lib.adam(0.1), lib.contrib.reduce_on_plateau(0.5, patience=2, cooldown=1, accumulation_size=2)
    ),
    "freeze": lambda lib: lib.transforms.freeze(MASK),
    "selective": lambda lib: lib.transforms.selective_transform(lib.adam(0.1), freeze_mask=MASK),
    "apply_every": lambda lib: lib.apply_every(3),
    "backtracking": lambda lib: lib.scale_by_backtracking_linesearch(10),
    "zoom": lambda lib: lib.scale_by_zoom_linesearch(10),
    "sophia": lambda lib: lib.contrib.sophia(0.1),
}

FOLLOWS_THE_PAPER = {
    "adan",
    "optimistic_adam",
    "optimistic_adam_v2",
    "rprop",
    "contrib.acprop",
    "contrib.muon",  # without Optax's bias correction, as its authors' code
    "schedule_free, warmed",
}
"""Optimizers whose formula is not Optax's (their docstrings say how): their states have its classes only."""

IN_FLOAT32 = {"backtracking", "zoom", "scale_by_distance_over_gradients"}
"""With x64 Optax's counters of a line search are int64, and its copy of the parameters is float32."""

READS = {
    "polyak_sgd": ["value"],
    "contrib.momo": ["value"],
    "contrib.momo_adam": ["value"],
    "plateau": ["value"],
    "backtracking": ["value", "grad", "value_fn"],
    "zoom": ["value", "grad", "value_fn"],
    "sophia": ["obj_fn"],
}
"""The extra arguments that Optax's function takes; it refuses others, or they are not there."""


def objective(params: Any) -> Any:
    return sum(jnp.sum((p - 0.3) ** 2) for p in jax.tree.leaves(params))


def run(name: str, library: Any, params: Any, state: Any, steps: int) -> tuple[Any, Any]:
    """So many steps, with what such a transformation reads."""
    tx = CASES[name](library)

    def one(carry: Any, i: Any) -> tuple[Any, None]:
        params, state = carry
        value, grads = jax.value_and_grad(objective)(params)
        grads = jax.tree.map(lambda g: g + 0.1 * jnp.sin(3.0 * i.astype(g.dtype)), grads)
        extra = {"value": value, "grad": grads, "value_fn": objective, "obj_fn": objective}
        extra = {n: extra[n] for n in READS.get(name, [])}
        updates, state = tx.update(grads, state, params, **extra)
        return (library.apply_updates(params, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(one, carry, jnp.arange(steps))[0])((params, state))


def as_in_a_script(x64: bool) -> contextlib.ExitStack:
    """jax's ordinary settings, which Optax needs."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.numpy_dtype_promotion("standard"))
    stack.enter_context(jax.numpy_rank_promotion("allow"))
    stack.enter_context(jax.enable_x64(x64))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")  # Optax's deprecations
    return stack


def numbers(leaf: Any) -> np.ndarray:
    key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if key else leaf)


@pytest.mark.parametrize("name", CASES)
def test_a_state_has_optaxs_classes_shapes_and_dtypes(name: str) -> None:
    with as_in_a_script(x64=False):
        mine, theirs = (CASES[name](library).init(PARAMS) for library in (optax, peer))
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    chex.assert_trees_all_equal_shapes_and_dtypes(mine, theirs)


@pytest.mark.parametrize("name", CASES)
def test_a_job_that_ran_with_optax_goes_on_as_if_nothing_had_happened(name: str) -> None:
    """In float64: in float32 Optax's own 1 - 0.999 ** 3 is wrong by 1e-5."""
    with as_in_a_script(x64=name not in IN_FLOAT32):
        params = jax.tree.map(lambda p: p.astype(float), PARAMS)
        params, state = run(name, peer, params, CASES[name](peer).init(params), BEFORE)
        if name != "noisy_sgd":  # a key of jax has no pickle
            state = pickle.loads(pickle.dumps(state))
        expected = run(name, peer, params, state, AFTER)
        found = run(name, optax, params, state, AFTER)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    if name in FOLLOWS_THE_PAPER:
        return
    for (path, x), y in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        x, y = numbers(x), numbers(y)
        far = np.max(np.abs(x.astype(float) - y), initial=0.0) / max(1.0, np.max(np.abs(x), initial=0.0))
        assert far <= 1e-6, (jax.tree_util.keystr(path), x, y)


GO_ON_AS_GRADTXS = {
    "lbfgs": named("lbfgs", 0.1, linesearch=None),
    "lbfgs, full memory": named("lbfgs", 0.1, memory_size=2, linesearch=None),
    "rmsprop, centred": named("rmsprop", falling, centered=True),
}
"""Their states are gradtx's, which hold what Optax's can't: they go on from Optax's all the same."""


@pytest.mark.parametrize("name", GO_ON_AS_GRADTXS)
def test_what_keeps_gradtxs_state_goes_on_from_optaxs_too(name: str) -> None:
    make = GO_ON_AS_GRADTXS[name]

    def steps(library: Any, params: Any, state: Any, count: int) -> tuple[Any, Any]:
        update = jax.jit(make(library).update)
        for i in range(count):
            grads = jax.tree.map(lambda p, i=i: 2 * (p - 0.3) + 0.01 * np.sin(3.0 * i), params)
            updates, state = update(grads, state, params)
            params = jax.tree.map(jnp.add, params, updates)
        return params, state

    with as_in_a_script(x64=True):
        params = jax.tree.map(lambda p: p.astype(float), PARAMS)
        params, state = steps(peer, params, make(peer).init(params), BEFORE)
        expected, found = (steps(library, params, state, AFTER)[0] for library in (peer, optax))
        before, expected, found = jax.tree.map(np.asarray, (params, expected, found))
    chex.assert_trees_all_close(found, expected, atol=1e-6)
    assert not np.allclose(found["w"], before["w"], atol=1e-3)
