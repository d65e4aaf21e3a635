"""What hurts in other libraries of optimizers and must not here: reports of their users, as tests.

Each names the report; what is tested elsewhere is not repeated. Numbers are issues of google-deepmind/optax.
"""

from __future__ import annotations

import inspect
from collections import Counter

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import gradtx
from gradtx.combine import leaves as which_leaves
from gradtx.contract import boundary as guard
from gradtx.contract import leafwise
from gradtx.numerics import dispatch

PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([0.5, 0.25])}
NAN = jax.tree.map(lambda p: p * jnp.nan, PARAMS)


def updates_of(tx, stream):
    """What a compiled update returns for each gradient, at parameters that stay."""
    state, made = tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for grads in stream:
        with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
            updates, state = update(grads, state, PARAMS)
        made.append(np.asarray(updates["kernel"]))
    return made


# ---------------------------------------------------------------- poison


def test_a_poisoned_sum_of_steps_ends_with_its_window() -> None:
    """Optax's apply_every multiplies its sum by 0, and every later update is NaN (#828)."""
    stream = [NAN, PARAMS, PARAMS, PARAMS, PARAMS, PARAMS]
    ours = updates_of(gradtx.chain(gradtx.scale(-0.1), gradtx.apply_every(2)), stream)
    theirs = updates_of(optax.chain(optax.scale(-0.1), optax.apply_every(2)), stream)
    assert np.all(np.isnan(ours[1]))  # reported
    for quiet in (0, 2, 4):
        np.testing.assert_array_equal(ours[quiet], 0)
    for loud in (3, 5):
        np.testing.assert_allclose(ours[loud], -0.2 * PARAMS["kernel"], rtol=1e-6)
        assert np.all(np.isnan(theirs[loud]))


def test_a_poisoned_micro_batch_is_gone_even_within_a_guard() -> None:
    """Around Optax's MultiSteps its apply_if_finite counts errors for ever, and nothing moves (#828)."""
    stream = [NAN, PARAMS, PARAMS, PARAMS, PARAMS, PARAMS]
    inner = gradtx.apply_if_finite(gradtx.sgd(0.1, momentum=0.9), 10)
    for tx in (
        gradtx.accumulate(inner, 2),
        gradtx.apply_if_finite(gradtx.accumulate(gradtx.sgd(0.1, momentum=0.9), 2), 10),
        gradtx.accumulate(gradtx.sgd(0.1, momentum=0.9), 2, should_skip_update_fn=gradtx.skip_not_finite),
    ):
        made = np.stack(updates_of(tx, stream))
        assert np.all(np.isfinite(made))
        moved = [np.any(u) for u in made]
        assert sum(moved) == 2  # at steps 4 and 6, or where the bad one is not counted at 3 and 5
    peer = optax.MultiSteps(optax.apply_if_finite(optax.sgd(0.1), 10), 2)
    assert not np.any(np.stack(updates_of(peer, stream)))


# ---------------------------------------------------------------- roles of hyperparameters


def test_what_is_a_number_and_what_is_not_is_declared() -> None:
    """Optax guesses: whole numbers are traced; a dtype, which can be called, is a schedule (#412, #1373)."""
    tx = gradtx.tunable(gradtx.adam(1e-3, mu_dtype=jnp.bfloat16, nesterov=True))
    state = tx.init(PARAMS)
    assert {n.rpartition(".")[2] for n in gradtx.hyperparams(state)} == {"learning_rate", "b1", "b2", "eps"}
    updates, after = jax.jit(tx.update)(PARAMS, state, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS)
    counted = gradtx.tunable(gradtx.lookahead(gradtx.sgd(0.1), sync_period=3))
    assert {n.rpartition(".")[2] for n in gradtx.hyperparams(counted.init(PARAMS))} == {
        "learning_rate",
        "slow_step_size",
    }


# ---------------------------------------------------------------- many groups, many leaves


def _grouped(leaves: int, groups: int):
    params = {f"leaf{i}": jax.ShapeDtypeStruct((3, 2), jnp.float32) for i in range(leaves)}
    labels = {name: f"group{i % groups}" for i, name in enumerate(params)}
    tx = gradtx.partition({f"group{i}": gradtx.sgd(0.1 + i, 0.9) for i in range(groups)}, labels)
    return tx, params


def test_a_partition_looks_at_its_labels_once_however_many_groups(monkeypatch) -> None:
    """Optax masks the tree once for each group: 3.9 s to trace 32 groups, and 0.4 s two (#993)."""
    monkeypatch.setattr(leafwise, "LEAVES_PER_SHAPE", 1)  # one path for groups of all sizes
    equations = {}
    for leaves in (64, 128):
        for groups in (2, 32):
            tx, params = _grouped(leaves, groups)
            state = jax.eval_shape(tx.init, params)
            looked = Counter()
            select = which_leaves.select
            with monkeypatch.context() as patch:

                def once(*a, looked=looked, select=select, **k):
                    looked.update(["once"])
                    return select(*a, **k)

                patch.setattr(which_leaves, "select", once)
                traced = jax.make_jaxpr(tx.update)(params, state, params)
            assert looked["once"] == 1
            equations[leaves, groups] = len(traced.jaxpr.eqns)
    # More groups cost nothing for each leaf: what they add to the program is the same for 64 and 128.
    added = [equations[leaves, 32] - equations[leaves, 2] for leaves in (64, 128)]
    assert added[0] == added[1], equations
    assert equations[128, 32] <= 128 * 3 + 32 * 4


@pytest.mark.parametrize("name", ["adabelief", "adafactor", "adamw", "lamb", "lion", "rmsprop", "sgd"])
def test_eagerly_no_more_is_dispatched_than_by_optax(name, monkeypatch) -> None:
    """On 100 leaves, not compiled: what is dispatched is counted, not time (#319)."""
    params = {f"leaf{i}": jax.ShapeDtypeStruct((3,), jnp.float32) for i in range(100)}
    monkeypatch.setattr(guard, "update_each", lambda *a: None)  # it serves traces only
    monkeypatch.setattr(dispatch, "is_traced", lambda x: False)  # so that the trace shows what goes eagerly
    counts = []
    for library in (gradtx, optax):
        tx = getattr(library, name)(*((0.1, 0.9) if name == "sgd" else (1e-3,)))
        state = jax.eval_shape(tx.init, params)
        with jax.numpy_dtype_promotion("standard"):
            counts.append(len(jax.make_jaxpr(tx.update)(params, state, params).jaxpr.eqns))
    ours, theirs = counts
    assert ours <= theirs + 30, counts  # the averages and counters take a few that Optax has not


def test_eagerly_arithmetic_takes_the_short_way(monkeypatch) -> None:
    """A primitive by itself is dispatched in Python, which takes four times as long as through jit."""
    called = Counter()

    def counting(primitive):
        given = primitive.impl
        return lambda *args, **kwargs: called.update([primitive.name]) or given(*args, **kwargs)

    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    for primitive in (lax.add_p, lax.sub_p, lax.mul_p, lax.div_p, lax.square_p, lax.sqrt_p, lax.reduce_sum_p):
        monkeypatch.setattr(primitive, "impl", counting(primitive))
    lax.mul(params["w"], params["w"])
    assert called["mul"] == 1
    for tx in (gradtx.adamw(1e-3), gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.sgd(0.1, 0.9))):
        state = tx.init(params)
        called.clear()
        tx.update(params, state, params)
        assert not called


# ---------------------------------------------------------------- surprises that are said


def test_a_warm_up_begins_where_it_is_told_and_says_so() -> None:
    """From 0 the first update does nothing, and decay_steps counts the warm-up: a habit, and documented."""
    cosine = gradtx.warmup_cosine_decay_schedule(0.0, 1.0, 4, 10)
    assert [float(cosine(t)) for t in (0, 4, 10)] == [0.0, 1.0, 0.0]
    text = " ".join(inspect.getdoc(type(cosine)).split())
    assert "`decay_steps` is the length of the whole schedule, the warm-up included" in text
    assert "with 0, the first update does nothing" in text
    # The other choices: a first rate that moves, and a decay that is counted by itself.
    apart = gradtx.with_warmup(gradtx.cosine_decay_schedule(1.0, 6), 4, init_factor=0.25)
    assert [float(apart(t)) for t in (0, 4, 10)] == [0.25, 1.0, 0.0]


ODD = {"lr", "betas", "beta1", "beta2", "beta3", "epsilon", "weight_decay_mask", "trust_ratio_mask"}


def test_one_thing_has_one_name() -> None:
    """Not mask here and weight_decay_mask there (#835, PR #1635), unless Optax itself has it so."""
    for name, cls in vars(gradtx).items():
        fields = set(getattr(cls, "__dataclass_fields__", ()))
        assert not {"transition_steps", "decay_steps"} <= fields, name
        if odd := fields & ODD:
            theirs = [
                getattr(library, n)
                for library in (optax, optax.contrib)
                for n in (name, name.removeprefix("scale_by_"))
                if hasattr(library, n)
            ]
            assert any(odd <= set(inspect.signature(f).parameters) for f in theirs), name


def test_what_a_decay_takes_off_is_said_and_is_a_choice() -> None:
    """AdamW's decay times the learning rate (#292, #417)."""
    for cls in (gradtx.adamw, gradtx.nadamw, gradtx.adamaxw):
        assert "λ w θ" in inspect.getdoc(cls), cls
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    for independent, share in ((False, 0.5 * 0.1), (True, 0.1)):
        tx = gradtx.adamw(0.5, weight_decay=0.1, independent_decay=independent)
        updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
        chex.assert_trees_all_close(updates, jax.tree.map(lambda p, s=share: -s * p, PARAMS), rtol=1e-6)


@pytest.mark.parametrize(
    "wrap", [gradtx.chain, lambda tx: gradtx.masked(tx, lambda p: jax.tree.map(lambda _: True, p))]
)
def test_slow_and_averaged_weights_need_no_pair_of_parameters(wrap) -> None:
    """Optax's lookahead fails on plain parameters (#1429), and its average in a chain can't be found."""
    for tx in (gradtx.lookahead(gradtx.sgd(0.1), 2), gradtx.schedule_free_sgd(0.1)):
        tx = wrap(tx)
        updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradtx.schedule_free_eval_params(state, PARAMS), PARAMS)
