"""`from gradtx.interop import optax`: an existing program runs, and has values."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import subprocess
import sys
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax as peer
import pytest

import gradtx
from gradtx.interop import optax
from gradtx.interop.optax.names import public
from tests.interop.optax_names import FILE, difference, kind, rows, text

PARAMS = {"w": jnp.asarray([[1.0, -2.0], [0.5, 4.0]]), "b": jnp.asarray([0.3, -0.1])}


# Where the paper has another default; the docstring says so.
OTHER_DEFAULTS = {
    ("adan", "eps_root"),
    ("optimistic_adam", "nesterov"),
    ("optimistic_adam_v2", "nesterov"),
    ("microbatch", "accumulator"),  # "sum"; Optax's enumeration is taken as well
    ("micro_grad", "accumulator"),
    ("micro_vmap", "accumulator"),
}

RENAMED = {("args", "parts")}  # of a chain, which nobody names


def test_every_public_name_of_optax_is_there() -> None:
    found = rows()
    assert sum(len(row.names) for row in found) > 450
    for row in found:
        for name in row.names:
            at, _, last = name.rpartition(".")
            module = importlib.import_module(f"gradtx.interop.optax.{at}") if at else optax
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Optax's deprecations
                assert getattr(module, last) is row.here, name
            assert last in dir(module), name
        assert callable(row.theirs) <= callable(row.here), row.names
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = optax.no_such_name
    with pytest.raises(AttributeError, match=r"has no public name 'contrib.adam'"):
        optax.whose("contrib.adam")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gradtx.interop.optax.no_such_module")


def test_whatever_way_leads_to_a_name_it_is_the_same() -> None:
    assert optax.transforms.ema is optax.ema
    assert optax.schedules.cosine_decay_schedule is optax.cosine_decay_schedule
    assert optax.tree.get is peer.tree.get, "states are Optax's here"
    assert optax.whose("transforms.trace") == "gradtx"
    assert optax.tree.scale is peer.tree.scale, "not gradtx.scale, which is a transformation"
    assert optax.whose("contrib.adopt") == "gradtx"


def test_nothing_of_gradients_is_missing_that_was_there() -> None:
    assert not [row.names[0] for row in rows() if row.group == "yet"]


def test_what_is_ours_has_optax_arguments_in_their_order() -> None:
    for row in rows():
        if not row.ours or kind(row.theirs) != "function":
            continue
        name, found = row.names[0], difference(row.theirs, row.here)
        assert set(found.renamed) <= RENAMED, (name, found.renamed)
        assert not found.missing, (name, found.missing)
        last = name.rpartition(".")[2]
        others = {(last, argument) for argument, _, _ in found.defaults}
        assert others == {x for x in OTHER_DEFAULTS if x[0] == last}, (name, found.defaults)


def test_the_page_of_names_is_that_of_the_installed_optax() -> None:
    if peer.__version__ != "0.2.8":
        pytest.skip(f"the page is of Optax 0.2.8, not {peer.__version__}")
    assert FILE.read_text() == text(), "python -m tests.interop.optax_names"


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
    assert optax.adam(1e-3) == gradtx.adam(1e-3)
    assert hash(optax.adam(1e-3)) == hash(gradtx.adam(1e-3))
    assert repr(optax.adam(1e-3)) == "adam(learning_rate=0.001)"
    assert optax.adam(1e-3).replace(b1=0.8) == optax.adam(1e-3, b1=0.8) != optax.adam(1e-3)
    assert optax.adam(1e-3).b2 == 0.999
    assert jax.tree.leaves(optax.adam(1e-3)) == jax.tree.leaves(gradtx.adam(1e-3))
    assert pickle.loads(pickle.dumps(optax.adam(1e-3))) == copy.deepcopy(optax.adam(1e-3))
    assert gradtx.to_json(optax.adam(1e-3)) == gradtx.to_json(gradtx.adam(1e-3))
    assert gradtx.chain(optax.adam(1e-3)) == gradtx.chain(gradtx.adam(1e-3))
    assert str(gradtx.explain(optax.adam(1e-3))) == str(gradtx.explain(gradtx.adam(1e-3)))
    assert gradtx.cite(optax.adam(1e-3)) == gradtx.cite(gradtx.adam(1e-3))
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
    values = np.asarray([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], np.float32)

    def run(tx):
        def step(state, value):
            return tx.update(PARAMS, state, PARAMS, value=value)[::-1]

        return jax.jit(lambda values: jax.lax.scan(step, tx.init(PARAMS), values)[1])(values)

    updates = run(ours)
    with jax.numpy_dtype_promotion("standard"):
        expected = run(theirs)
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
    everything = optax.selective_transform(optax.sgd(1.0), freeze_mask=True)
    updates, _ = everything.update(PARAMS, everything.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))


def test_moments_as_functions_are_those_of_the_transformations() -> None:
    grads = {"w": jnp.asarray([1.0, -2.0]), "frozen": None}
    zeros = {"w": jnp.zeros(2), "frozen": None}
    squares = optax.tree.update_moment_per_elem_norm(grads, zeros, 0.999, 2)
    chex.assert_trees_all_close(squares, optax.update_moment(grads, zeros, 0.999, 2))
    debiased = optax.tree.bias_correction(squares, 0.999, 1)
    chex.assert_trees_all_close(debiased["w"], jnp.asarray([1.0, 4.0]), rtol=3e-7)  # Optax's: 2e-5 off
    with jax.numpy_dtype_promotion("standard"):
        theirs = peer.tree.bias_correction(squares, 0.999, jnp.asarray(1))
    chex.assert_trees_all_close(debiased["w"], theirs["w"], rtol=1e-4)
    infinity = optax.update_infinity_moment(grads, {"w": jnp.asarray([3.0, 1.0]), "frozen": None}, 0.5, 0.0)
    chex.assert_trees_all_equal(infinity["w"], jnp.asarray([1.5, 2.0]))
    complex_ = optax.update_moment_per_elem_norm(jnp.asarray([3 + 4j]), jnp.zeros(1), 0.5, 2)
    chex.assert_trees_all_close(complex_, jnp.asarray([12.5]))


def test_what_is_made_here_is_optaxs_pair() -> None:
    """So a library that asks for the real Optax's types takes it, and passes on extra arguments."""
    tx = optax.chain(optax.adam(1e-3), peer.scale(2.0))
    for pair in (peer.GradientTransformation, peer.GradientTransformationExtraArgs):
        assert isinstance(tx, pair)
    assert optax.GradientTransformation is peer.GradientTransformation
    init, update = tx
    assert (init, update) == (tx[0], tx[1]) == (tx.init, tx.update)
    assert peer.with_extra_args_support(tx) is tx
    with jax.numpy_dtype_promotion("standard"):
        both = peer.chain(optax.scale_by_polyak(), peer.scale(1.0))
        updates, _ = both.update(PARAMS, both.init(PARAMS), PARAMS, value=1.0)
    chex.assert_tree_all_finite(updates)


def test_a_step_of_gradtxs_keeps_the_states_form() -> None:
    tx = optax.adamw(optax.linear_schedule(0.1, 0.0, 10))
    step = gradtx.make_step(tx)
    assert step is gradtx.make_step(optax.adamw(optax.linear_schedule(0.1, 0.0, 10)))
    params = jax.tree.map(jnp.copy, PARAMS)
    _, state = step(params, tx.init(params), jax.tree.map(jnp.copy, PARAMS))
    assert isinstance(state[0], peer.ScaleByAdamState)
    assert state[2].count == 1


def test_a_sweep_of_learning_rates_is_traced_once() -> None:
    update = jax.jit(chex.assert_max_traces(lambda tx, g: tx.update(g, tx.init(g), g)[0], 1))
    for rate in (0.1, 0.2):
        chex.assert_trees_all_close(update(optax.sgd(rate), PARAMS)["w"], -rate * PARAMS["w"])
    swept = jax.vmap(lambda rate: optax.sgd(rate).update(PARAMS, optax.sgd(rate).init(PARAMS))[0])
    chex.assert_shape(swept(jnp.asarray([0.1, 0.2]))["w"], (2, 2, 2))


@pytest.mark.parametrize("pair", ["GradientTransformation", "GradientTransformationExtraArgs"])
def test_a_pair_of_functions_works_in_both_libraries(pair: str) -> None:
    def update(updates, state, params=None, **extra):
        return jax.tree.map(lambda u: u * extra.get("value", 1.0), updates), state + 1

    tx = getattr(optax, pair)(lambda params: jnp.zeros((), jnp.int32), update)
    init, step = tx
    assert step is tx.update
    assert init is tx[0]
    for chain in (optax.chain(tx, optax.scale(2.0)), peer.chain(tx, peer.scale(2.0))):
        updates, state = chain.update(PARAMS, chain.init(PARAMS), PARAMS)
        chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 2 * p, PARAMS))
        assert state[0] == 1
    updates, _ = optax.chain(tx).update(PARAMS, (tx.init(PARAMS),), PARAMS, value=3.0)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 3 * p, PARAMS))


def test_extra_arguments_that_nothing_reads_are_ignored_as_in_optax() -> None:
    tx = optax.adam(1e-3)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, tag=1, value=2.0)
    chex.assert_trees_all_equal(updates, tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0])
    with pytest.raises(TypeError, match="nothing here reads the extra argument 'tag'"):
        gradtx.adam(1e-3).update(PARAMS, gradtx.adam(1e-3).init(PARAMS), PARAMS, tag=1)
    theirs = optax.with_extra_args_support(peer.identity())
    chex.assert_trees_all_equal(theirs.update(PARAMS, theirs.init(PARAMS), PARAMS, tag=1)[0], PARAMS)


def blocks_of_the_guide() -> list[str]:
    """The Python in docs/migrating.md."""
    return [b.split("```")[0] for b in (FILE.parent / "migrating.md").read_text().split("```python\n")[1:]]


def run_guide(block: str, scope: dict) -> dict:
    """Run one block of the guide, as a program with jax's ordinary settings."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(block, scope)
    return scope


def test_the_guides_first_lines_run(capsys: pytest.CaptureFixture) -> None:
    imports, modules, *_ = blocks_of_the_guide()
    assert run_guide(imports, {})["optax"] is optax
    run_guide(modules, {})
    lines = capsys.readouterr().out.splitlines()
    for line, said in zip(lines, re.findall(r"print\(.*  # (.*)", modules), strict=True):
        assert line == said


def test_a_flax_script_ends_at_the_same_loss_with_each_of_the_guides_forms() -> None:
    before = next(b for b in blocks_of_the_guide() if "class Model" in b)
    after = next(b for b in blocks_of_the_guide() if "kernel$" in b)
    script = run_guide(before, {})
    dropin = run_guide(before.replace("import optax\n", "from gradtx.interop import optax\n"), {})
    assert repr(dropin["tx"]).startswith("apply_if_finite(")
    own = run_guide(after, dict(dropin))
    assert script["loss"] < 0.4, "it trains: a constant would have 0.5"
    assert dropin["loss"] == pytest.approx(float(script["loss"]), rel=1e-3)  # 40 steps of float32
    assert own["loss"] == pytest.approx(float(dropin["loss"]), rel=1e-5)


def test_a_rate_set_in_a_running_script_has_the_same_effect_in_each_of_the_guides_forms() -> None:
    scripts = [b for b in blocks_of_the_guide() if "step(params" in b]
    scripts.insert(1, scripts[0].replace("import jax, optax", "import jax\nfrom gradtx.interop import optax"))
    ends = []
    for script in scripts:
        grads = jax.tree.map(lambda p: p * 0.1, PARAMS)
        scope = {"params": jax.tree.map(jnp.copy, PARAMS), "grads": grads}
        ends.append(run_guide(script, scope)["params"])
    chex.assert_trees_all_close(*ends, rtol=1e-5)
    assert not jnp.allclose(ends[0]["w"], PARAMS["w"], rtol=1e-5)


def test_a_checkpoint_of_optaxs_goes_on_as_the_guide_says(capsys: pytest.CaptureFixture) -> None:
    script = next(b for b in blocks_of_the_guide() if "as ours" in b)
    run_guide(script, {"params": PARAMS})
    (said,) = re.findall(r"print\(.*  # (.*)", script)
    assert capsys.readouterr().out.splitlines() == [said]


def test_a_library_that_imports_optax_itself_gets_the_drop_in() -> None:
    hook = next(b for b in blocks_of_the_guide() if "sys.modules" in b)
    library = "import optax\nprint(optax.chain(optax.contrib.adopt(1e-3)))\nfrom optax import tree\n"
    code = (
        hook + library + "print(isinstance(optax.as_optax(optax.adam(1e-3)), optax.GradientTransformation))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["chain(adopt(learning_rate=0.001))", "True"]


def test_importing_everything_gives_what_optaxs_gives() -> None:
    theirs: dict = {}
    mine: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optax's deprecations
        exec("from optax import *", theirs)
        exec("from gradtx.interop.optax import *", mine)
    names = set(theirs) - {"__builtins__", "__warningregistry__"}
    assert len(names) > 150
    assert names <= set(mine)
    assert {"as_optax", "from_optax", "whose"} <= set(mine)
    assert mine["adam"] is optax.adam
    assert mine["l2_loss"] is peer.l2_loss


STEPS = [
    "cosine_decay_schedule(1.0, 1e1)",
    "exponential_decay(1.0, 10.0, 0.9, transition_begin=3.0)",
    "join_schedules([lib.constant_schedule(1.0), lib.constant_schedule(2.0)], [5.0])",
    "linear_schedule(1.0, 0.0, 0)",
    "piecewise_constant_schedule(1.0, {5.0: 0.1})",
    "polynomial_schedule(1.0, 0.0, 2, 0)",
    "sgdr_schedule([dict(init_value=0.0, peak_value=1.0, decay_steps=1e1, warmup_steps=3.0)])",
    "warmup_constant_schedule(0.0, 1.0, 0)",
    "warmup_cosine_decay_schedule(0.0, 1.0, 0, 10)",
    "warmup_cosine_decay_schedule(0.0, 1.0, 0.1 * 25, 10)",
    "warmup_cosine_decay_schedule(0.0, 1.0, 3.0, 1e1)",
    "cosine_decay_schedule(1.0, 2**40)",
]
NO_COUNT = {3, 5, 7, 9, 11}  # a fraction, no steps, or more than 32 bits: Optax's own function


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_step_counts_are_those_of_programs(number: int) -> None:
    """Floats, fractions, none, arrays of steps as people plot them: the same levels as Optax's."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        mine, theirs = (eval(f"lib.{STEPS[number]}", {"lib": library}) for library in (optax, peer))
        steps = np.arange(15)
        found = np.broadcast_to(np.asarray(mine(steps)), steps.shape)
        np.testing.assert_allclose(found, np.broadcast_to(theirs(steps), steps.shape), atol=1e-6)
        optax.sgd(mine).init(PARAMS)
    assert isinstance(mine, gradtx.Schedule) != (number in NO_COUNT)


def test_what_means_nothing_is_refused() -> None:
    for wrong in (-5, float("nan")):
        with pytest.raises((TypeError, ValueError), match="decay_steps"):
            optax.cosine_decay_schedule(1.0, wrong)


@pytest.mark.parametrize("name", ["clip", "clip_by_global_norm", "clip_by_block_rms"])
def test_an_infinite_bound_is_none(name: str) -> None:
    tx = getattr(optax, name)(float("inf"))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates, PARAMS)


def test_a_plateau_without_patience_is_optaxs_own() -> None:
    for library in (optax, peer):
        tx = library.contrib.reduce_on_plateau(0.5, patience=0)
        state = tx.init(PARAMS)
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(PARAMS, state, PARAMS, value=1.0)
        assert isinstance(state, peer.contrib.ReduceLROnPlateauState)
        assert state.scale == 0.5


def test_a_search_refuses_what_its_objective_does_not_read() -> None:
    tx = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(5))

    def loss(params):
        return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    value, grad = jax.value_and_grad(loss)(PARAMS)
    extra = {"value": value, "grad": grad, "value_fn": loss}
    tx.update(grad, tx.init(PARAMS), PARAMS, **extra)
    with pytest.raises(TypeError, match="'tag'"):
        tx.update(grad, tx.init(PARAMS), PARAMS, tag=1, **extra)


def test_where_there_is_nothing_to_update_nothing_is_done() -> None:
    tx = optax.add_decayed_weights(0.1)
    assert tx.update(None, tx.init(PARAMS), PARAMS)[0] is None


def test_noise_of_a_seed_is_optaxs() -> None:
    grads = jax.tree.map(lambda p: jnp.stack([p, 2 * p, -p]), PARAMS)
    ends = []
    for library in (optax, peer):
        with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
            warnings.simplefilter("ignore")  # Optax asks for a key
            tx = library.contrib.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=0.5, seed=3)
            _, state = tx.update(grads, tx.init(PARAMS), PARAMS)
            ends.append(tx.update(grads, state, PARAMS)[0])
    chex.assert_trees_all_close(*ends, rtol=1e-5)
