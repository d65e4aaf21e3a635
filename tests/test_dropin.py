"""`from gradtx.interop import optax`: an existing program runs, and has values."""

from __future__ import annotations

import inspect

import chex
import jax
import jax.numpy as jnp
import optax as peer
import pytest

import gradtx
from gradtx.interop import optax
from gradtx.interop.optax.names import CONTRIB, OURS, public
from tests.optax_names import FILE, arguments, names, text

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}


# Where the paper has another default; the docstring says so.
OTHER_DEFAULTS = {
    ("adan", "eps_root"),
    ("optimistic_adam", "nesterov"),
    ("optimistic_adam_v2", "nesterov"),
    ("microbatch", "accumulator"),  # "sum"; Optax's enumeration is taken as well
}


def test_every_public_name_of_optax_is_there() -> None:
    assert len(names()) > 250
    for name, theirs, ours in names():
        assert ours is not None, name
        assert inspect.isroutine(theirs) <= callable(ours), name
    assert {"adam", "chain", "l2_loss", "contrib"} <= set(dir(optax))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = optax.no_such_name
    with pytest.raises(AttributeError, match=r"has no public name 'contrib.adam'"):
        optax.whose("contrib.adam")


def test_what_is_ours_has_optax_arguments_in_their_order() -> None:
    compared = 0
    for name, theirs, ours in names():
        if optax.whose(name) == "optax":
            continue
        wanted, found = arguments(theirs), arguments(ours)
        assert wanted is not None, name
        assert found is not None, name
        for (argument, default), (mine, my_default) in zip(wanted, found, strict=False):
            if argument == "args":  # the parts of a chain
                assert mine == "parts"
                continue
            assert mine == argument, name
            same = default == my_default or callable(default) or str(default) == "<class 'jax.numpy.float32'>"
            optional = default is inspect.Parameter.empty  # ours may have a default where theirs has none
            on_purpose = (name, argument) in OTHER_DEFAULTS
            assert (same or optional) != on_purpose, (name, argument, default, my_default)
        assert len(found) >= len(wanted), name
        compared += 1
    assert compared == len(OURS) + len(CONTRIB)


def test_the_page_of_names_is_that_of_the_installed_optax() -> None:
    if peer.__version__ != "0.2.8":
        pytest.skip(f"the page is of Optax 0.2.8, not {peer.__version__}")
    assert FILE.read_text() == text(), "python -m tests.optax_names"


def program(library):
    """A program as people write it, with the library that it imports as `optax`."""
    schedule = library.warmup_cosine_decay_schedule(0.0, 0.1, 3, 20)
    tx = library.chain(
        library.clip_by_global_norm(1.0),
        library.masked(library.add_decayed_weights(0.1), {"w": True, "b": False}),
        library.partition(
            {"w": library.adamw(schedule), "b": library.sgd(0.1, momentum=0.9)}, {"w": "w", "b": "b"}
        ),
        library.ema(0.5),
    )
    tx = library.MultiSteps(library.apply_if_finite(tx, 3), 2)
    params, state = PARAMS, tx.init(PARAMS)

    @jax.jit
    def step(params, state):
        def loss(p):
            return library.l2_loss(p["w"] - 1.0).sum() + library.huber_loss(p["b"]).sum()

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return library.apply_updates(params, updates), state

    for _ in range(10):
        params, state = step(params, state)
    assert tx.has_updated(state)
    return params


def test_a_program_gives_the_same_with_the_other_import() -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        ours, theirs = program(optax), program(peer)
    chex.assert_trees_all_close(ours, theirs, rtol=2e-5)
    assert not jnp.allclose(ours["w"], PARAMS["w"])


def test_what_is_ours_is_a_value_and_mixes_with_what_is_not() -> None:
    tx = optax.chain(optax.adam(1e-3), optax.scale_by_adan())
    assert isinstance(tx, gradtx.chain)
    assert optax.adam(1e-3) == gradtx.adam(1e-3)
    pair = optax.GradientTransformation(tx.init, tx.update)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
        updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
        again, _ = pair.update(PARAMS, pair.init(PARAMS), PARAMS)
    chex.assert_tree_all_finite(updates)
    chex.assert_trees_all_close(again, updates)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_plateau_counts_as_optax_does(patience: int) -> None:
    options = {"factor": 0.5, "patience": patience, "rtol": 1e-4, "cooldown": 1}
    ours = optax.contrib.reduce_on_plateau(**options)
    theirs = peer.contrib.reduce_on_plateau(**options)
    state, reference = ours.init(PARAMS), theirs.init(PARAMS)
    for value in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]:
        updates, state = ours.update(PARAMS, state, PARAMS, value=value)
        with jax.numpy_dtype_promotion("standard"):
            expected, reference = theirs.update(PARAMS, reference, PARAMS, value=value)
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)


def test_adapters_take_optax_arguments() -> None:
    assert optax.ema(0.9) == gradtx.momentum(0.9)
    assert optax.ema(0.9, debias=False) == gradtx.ema(0.9)
    assert optax.add_noise(0.1, 0.5, seed=3) == gradtx.add_noise(0.1, 0.5, 3)
    with pytest.raises(ValueError, match="a key or a seed, not both"):
        optax.add_noise(0.1, 0.5, 1, seed=3)
    assert optax.noisy_sgd(0.1, 0.3, seed=3) == gradtx.noisy_sgd(0.1, 0.3, key=3)
    with pytest.raises(ValueError, match="a key or a seed, not both"):
        optax.noisy_sgd(0.1, key=1, seed=3)
    assert optax.scale_by_learning_rate(0.1, flip_sign=False) == gradtx.scale_by_learning_rate(
        0.1, flip_sign=False
    )
    frozen = optax.selective_transform(optax.sgd(1.0), freeze_mask={"w": True, "b": False})
    updates, _ = frozen.update(PARAMS, frozen.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates, {"w": jnp.zeros((2, 2)), "b": -PARAMS["b"]})
    assert optax.global_norm({"a": jnp.full(4, 1e20)}) == pytest.approx(2e20)
    assert "contrib" not in public(peer)


def test_the_two_scripts_of_the_guide_end_at_the_same_parameters() -> None:
    """docs/migrating.md: a script before and after."""
    text = (FILE.parent / "migrating.md").read_text()
    scripts = [b.split("```")[0] for b in text.split("```python")[1:] if "params, state" in b]
    assert len(scripts) == 2
    ends = []
    for script in scripts:
        grads = jax.tree.map(lambda p: p * 0.1, PARAMS)
        scope = {"params": jax.tree.map(jnp.copy, PARAMS), "grads": grads}
        with jax.numpy_dtype_promotion("standard"):
            exec(script, scope)
        ends.append(scope["params"])
    chex.assert_trees_all_close(*ends, rtol=1e-5)
    assert not jnp.allclose(ends[0]["w"], PARAMS["w"], rtol=1e-5)
