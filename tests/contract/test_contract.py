"""Bad input: the error says what arrived, what was expected and what to do; nothing is lost."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import adam, adamw, chain, ema
from gradtx.contract.facts import facts

PARAMS = {"dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}


def refused(error, message, f, *args, **kwargs):
    """`f` raises, says so, and leaves its arguments as they were."""
    before = jax.tree.map(np.array, [a for a in args if not callable(a)])
    with pytest.raises(error, match=message):
        f(*args, **kwargs)
    chex.assert_trees_all_equal(before, jax.tree.map(np.array, [a for a in args if not callable(a)]))


# ---------------------------------------------------------------- hyperparameters


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ema(1.0), ValueError, r"ema\(decay=1.0\): decay must be in \[0, 1\); 1 would never leave"),
        (lambda: ema(-0.1), ValueError, r"ema\(decay=-0.1\): decay must be in \[0, 1\)"),
        (lambda: adam(1e-3, eps=-1e-8), ValueError, r"adam\(eps=-1e-08\): eps must be in \[0, inf\)"),
        (lambda: adam(float("nan")), ValueError, r"adam\(learning_rate=nan\): learning_rate must be finite"),
        (lambda: adam(float("inf")), ValueError, "learning_rate must be finite"),
        (lambda: adam(np.asarray([1e-3, np.nan])), ValueError, "learning_rate must be finite"),
        (lambda: adam("1e-3"), TypeError, r"adam\(learning_rate='1e-3'\): .* must be a number, not a str"),
        (lambda: adam(True), TypeError, "must be a number, not a bool"),
        (lambda: adam(None), TypeError, "must be a number, not a NoneType"),
        (lambda: adam(1e-3, nesterov=0.9), TypeError, "nesterov must be True or False, not a float"),
        (lambda: adam(1e-3, mu_dtype="int8"), TypeError, "mu_dtype must be a floating-point dtype"),
        (lambda: adam(1e-3, mu_dtype="bf17"), TypeError, "mu_dtype must be a floating-point dtype"),
        (lambda: adam(), TypeError, "learning_rate"),
        (lambda: adam(1e-3, beta1=0.9), TypeError, "beta1"),
        (lambda: gradtx.clip_by_global_norm(0.0), ValueError, r"max_norm must be in \(0, inf\)"),
        (lambda: gradtx.bias_correction(0.9, ahead=0.5), TypeError, "must be a whole number"),
        (lambda: adam(1e-3, bias_correction=False, eps_hat=True).expand(), ValueError, "forms of the bias"),
        (lambda: chain(1e-3), TypeError, "chain: part 0 must be a gradient transformation, not 0.001"),
        (lambda: chain(adam), TypeError, r"Call it: adam\(\.\.\.\)"),
        (lambda: gradtx.ratio(ema(0.9), 1.0), TypeError, "denominator must be a gradient transformation"),
        (lambda: gradtx.add(), TypeError, "at least one"),
        (lambda: gradtx.named_chain(ema(0.9)), TypeError, "pair"),
        (lambda: gradtx.named_chain(("a", ema(0.9)), ("a", ema(0.9))), ValueError, "names must differ"),
        (lambda: gradtx.partition({}, "x"), TypeError, "must map labels"),
        (lambda: gradtx.partition({"a": 1}, "x"), TypeError, r"transforms\['a'\] must be a gradient"),
        (
            lambda: gradtx.masked(
                ema(0.9),
                "(",
            ),
            ValueError,
            "expected a regular expression",
        ),
        (lambda: gradtx.masked(ema(0.9), {"a": 1.0}), TypeError, "mask must be a tree of booleans"),
        (
            lambda: gradtx.masked(ema(0.9), "a", otherwise="zero"),
            ValueError,
            "must be one of 'pass', 'freeze'",
        ),
        (lambda: gradtx.by_path("kernel"), TypeError, "pair"),
        (lambda: gradtx.by_path(("(", True)), ValueError, "regular expression"),
        (lambda: gradtx.linear_schedule(0.0, 1.0, 0), ValueError, "transition_steps must be at least 1"),
        (lambda: gradtx.join_schedules((lambda s: s,), (3,)), ValueError, "1 schedules need 0 boundaries"),
        (lambda: gradtx.join_schedules((lambda s: s,) * 3, (3, 3)), ValueError, "must increase"),
        (lambda: gradtx.join_schedules((1.0,), ()), TypeError, "use constant_schedule"),
        (lambda: gradtx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10), ValueError, "counts the warm-up too"),
        (lambda: gradtx.piecewise_constant_schedule(1.0, {-1: 0.1}), ValueError, "at least 0"),
    ],
)
def test_a_hyperparameter_out_of_its_range_or_kind_is_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------- update


def test_missing_parameters_are_named_with_who_needs_them() -> None:
    tx = adamw(1e-3)
    refused(
        ValueError,
        r"add_decoupled_weight_decay needs the parameters: call update\(updates, state, params\)",
        tx.update, PARAMS, tx.init(PARAMS),
    )  # fmt: skip
    for needy in (gradtx.scale_by_trust_ratio(), gradtx.add_l2_penalty(0.1)):
        refused(ValueError, "needs the parameters", needy.update, PARAMS, needy.init(PARAMS))


def test_updates_that_would_broadcast_are_refused_with_the_path() -> None:
    """PAINS 16: a gradient of shape (3,) for a (2, 3) parameter."""
    tx, params = adam(1e-3), {"a": {"w": jnp.ones((2, 3))}}
    grads = {"a": {"w": jnp.ones(3)}}
    message = r"adam: the updates' tree differs from the {} at 'a/w': shape \(3,\) against shape \(2, 3\)"
    refused(ValueError, message.format("parameters'"), tx.update, grads, tx.init(params), params)
    refused(ValueError, message.format("state's"), tx.update, grads, tx.init(params))
    refused(ValueError, message.format("state's"), jax.jit(tx.update), grads, tx.init(params))


def test_updates_of_another_tree_are_refused_with_the_path() -> None:
    tx = adam(1e-3)
    state = tx.init(PARAMS)
    refused(
        ValueError,
        r"'dense/bias': nothing against shape",
        tx.update,
        {"dense": {"kernel": jnp.ones((3, 4))}},
        state,
    )
    more = PARAMS | {"extra": jnp.ones(2)}
    refused(ValueError, r"adam: .*'extra': shape \(2,\) against nothing", tx.update, more, state)
    listed = {"a": [jnp.ones(2)]}
    refused(ValueError, "a tuple may have become a list", tx.update, listed, tx.init({"a": (jnp.ones(2),)}))


def test_integer_updates_and_parameters_are_refused_with_the_path() -> None:
    tx = adam(1e-3)
    ints = {"dense": {"kernel": jnp.ones((3, 4), int), "bias": jnp.ones(4)}}
    refused(
        ValueError,
        r"adam: the updates at 'dense/kernel' are int32: expected floating",
        tx.update,
        ints,
        tx.init(PARAMS),
    )
    refused(ValueError, r"adam: the parameters at 'dense/kernel' are int32", tx.init, ints)


def test_the_state_of_another_transformation_is_refused() -> None:
    for tx, other in [
        (ema(0.9), gradtx.trace(0.9)),
        (adam(1e-3), ema(0.9)),
        (adam(1e-3), chain(ema(0.9))),
        (adam(1e-3), chain(ema(0.9), ema(0.9))),
        (chain(ema(0.9), ema(0.9)), chain(ema(0.9))),
        (gradtx.scale(gradtx.constant_schedule(1.0)), gradtx.scale(1.0)),
        (gradtx.named_chain(("a", ema(0.9))), gradtx.named_chain(("b", ema(0.9)))),
    ]:
        refused(
            ValueError, f"^{type(tx).__name__}: .*init\\(params\\)", tx.update, PARAMS, other.init(PARAMS)
        )


def test_a_state_restored_as_a_list_is_refused_by_name() -> None:
    tx = adam(1e-3)
    refused(
        ValueError,
        "adam: the state is of type list, expected tuple",
        tx.update,
        PARAMS,
        list(tx.init(PARAMS)),
    )


def test_a_schedule_that_returns_no_number_is_named() -> None:
    tx = adam(lambda step: jnp.ones(2))
    with pytest.raises(TypeError, match=r"the schedule in sgd.learning_rate returned None at"):
        gradtx.sgd(lambda step: None).init({"w": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"schedule in adam.learning_rate returned shape \(2,\) at"):
        tx.init(PARAMS)


# ---------------------------------------------------------------- extra arguments


class scale_by_loss(gradtx.GradientTransformation):
    """Needs `value`, reads `temperature`."""

    def update(self, updates, state, params=None, *, value, temperature=1.0):
        return jax.tree.map(lambda u: u * value * temperature, updates), state


def test_extra_arguments_reach_the_piece_that_reads_them_at_any_depth() -> None:
    inner = scale_by_loss()
    for tx in (
        inner,
        chain(ema(0.0), chain(inner)),
        gradtx.named_chain(("a", inner)),
        gradtx.masked(inner, {"dense": True}),
        gradtx.partition({"x": inner}, {"dense": "x"}),
        gradtx.ratio(inner, gradtx.absolute()),
        gradtx.add(inner, gradtx.set_to_zero()),
    ):
        updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=2.0, temperature=3.0)
        assert updates["dense"]["bias"][0] == 6.0


def test_a_missing_extra_argument_is_named_at_the_top_with_who_needs_it() -> None:
    """PAINS 15."""
    tx = chain(ema(0.9), gradtx.masked(scale_by_loss(), "kernel"))
    refused(
        TypeError, r"chain: scale_by_loss needs the extra argument 'value': call update\(.*value=",
        tx.update, PARAMS, tx.init(PARAMS), PARAMS,
    )  # fmt: skip


def test_an_unknown_extra_argument_is_refused_and_the_nearest_offered() -> None:
    """PAINS 15: `valeu=` was swallowed."""
    for tx in (chain(ema(0.9), scale_by_loss()), adam(1e-3)):
        state = tx.init(PARAMS)
        extra = {"value": 1.0, "valeu": 1.0}
        refused(
            TypeError,
            "nothing here reads the extra argument 'valeu'.*'value'",
            tx.update,
            PARAMS,
            state,
            **extra,
        )


def test_well_known_extra_arguments_that_nobody_reads_are_accepted() -> None:
    """PAINS 15: one training loop serves every optimizer."""
    tx = adam(1e-3)
    tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0, grad=PARAMS, value_fn=lambda p: 0.0)


# ---------------------------------------------------------------- masks


def test_a_pattern_that_matches_nothing_is_refused_with_the_leaves() -> None:
    tx = adamw(1e-3, mask="kernle$")
    refused(
        ValueError, r"adamw: the pattern 'kernle\$' matches no leaf.*'dense/bias', 'dense/kernel'",
        tx.update, PARAMS, tx.init(PARAMS), PARAMS,
    )  # fmt: skip
    refused(ValueError, "matches no leaf", gradtx.masked(ema(0.9), "kernle").init, PARAMS)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"dense": {"kernel": True}}, "says nothing of the leaf at 'dense/bias'"),
        ({"dense": True, "head": False}, "the mask has 'head', where the parameters have no leaf"),
        ({"dense": {"kernel": {"deep": True}, "bias": True}}, "says nothing of the leaf at 'dense/kernel'"),
        (lambda p: {"dense": 3.0}, "mask function returned 3.0"),
        (gradtx.by_path(("kernel", True)), "no rule matches the leaf at 'dense/bias'"),
    ],
)  # fmt: skip
def test_a_mask_of_another_structure_is_refused_with_the_path(mask, message) -> None:
    refused(ValueError, message, gradtx.masked(ema(0.9), mask).init, PARAMS)


def test_a_label_without_a_transformation_is_refused() -> None:
    tx = gradtx.partition({"adam": adam(1e-3)}, gradtx.by_path(("kernel", "adam"), (".*", "adma")))
    refused(ValueError, "'dense/bias' has the label 'adma'.*Did you mean 'adam'", tx.init, PARAMS)


# ---------------------------------------------------------------- apply_updates


def test_apply_updates_refuses_another_shape_with_the_path() -> None:
    with pytest.raises(ValueError, match=r"apply_updates: the update at 'w' has shape \(3,\), .* \(2, 3\)"):
        gradtx.apply_updates({"w": jnp.ones((2, 3))}, {"w": jnp.ones(3)})


@pytest.mark.parametrize(
    ("tx", "reach"),
    [
        (gradtx.adamw(0.1), gradtx.Reach.ENTRY),
        (gradtx.lamb(0.1), gradtx.Reach.LEAF),
        (gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adam(0.1)), gradtx.Reach.OTHERS),
        (gradtx.masked(gradtx.chain(gradtx.zclip(), gradtx.lars(0.1)), "w"), gradtx.Reach.TREE),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_transformation_reaches_as_far_as_what_it_is_made_of(tx, reach) -> None:
    assert facts(tx).reach == reach


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradtx.resume(3, (), {}), r"resume: expected the transformation to go on with, not 3"),
        (lambda: gradtx.from_json(3), r"from_json: expected the text that to_json wrote, not 3"),
        (lambda: gradtx.traffic(3), r"traffic: expected a compiled program, not 3. Compile it: jax.jit"),
        (
            lambda: gradtx.foreign(lambda params: (), 3),
            r"foreign\(update_fn=3\): update_fn must be a function",
        ),
        (
            lambda: gradtx.foreign(3, lambda updates, state: None),
            r"foreign\(init_fn=3\): init_fn must be a function",
        ),
    ],
)
def test_what_is_no_such_thing_is_refused_by_name(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
