"""A transformation is a value: it prints, compares, hashes, pickles, serialises and is a pytree."""

from __future__ import annotations

import copy
import json
import pickle

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import gradtx
from gradtx import adam, adamw, chain, clip_by_global_norm, cosine_decay_schedule, ema, masked

VALUES = [
    adam(1e-3),
    adamw(1e-3, weight_decay=0.1, mask="kernel$"),
    adamw(1e-3, mask={"dense": {"kernel": True, "bias": False}}),
    adam(cosine_decay_schedule(1e-3, 1000)),
    adam(
        gradtx.join_schedules((gradtx.linear_schedule(0.0, 1e-3, 10), cosine_decay_schedule(1e-3, 90)), (10,))
    ),
    adam(gradtx.piecewise_constant_schedule(1e-3, {100: 0.1, 50: 0.5})),
    chain(),
    chain(clip_by_global_norm(1.0), adam(1e-3)),
    gradtx.named_chain(("clip", gradtx.clip(1.0)), ("adam", adam(1e-3))),
    gradtx.partition({"b": adam(1e-3), "a": ema(0.9)}, gradtx.by_path(("bias$", "a"), (".*", "b"))),
    masked(ema(0.9), {"a": True}, otherwise="freeze"),
    gradtx.add(ema(0.9), gradtx.identity()),
    adam(1e-3, mu_dtype=jnp.bfloat16),
]
every_value = pytest.mark.parametrize("tx", VALUES, ids=lambda tx: type(tx).__name__)

PARAMS = {"dense": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}


@every_value
def test_prints_as_the_call_that_makes_it(tx) -> None:
    assert eval(repr(tx), dict(vars(gradtx))) == tx


@every_value
def test_survives_pickle_deepcopy_json_and_flattening(tx) -> None:
    leaves, structure = jax.tree.flatten(tx)
    for back in (
        pickle.loads(pickle.dumps(tx)),
        copy.deepcopy(tx),
        gradtx.from_json(gradtx.to_json(tx)),
        gradtx.from_json(gradtx.to_json(tx, indent=2)),
        jax.tree.unflatten(structure, leaves),
        tx.replace(),
    ):
        assert back == tx
        assert hash(back) == hash(tx)
        assert repr(back) == repr(tx)


def test_different_numbers_and_kinds_differ() -> None:
    assert len(set(VALUES)) == len(VALUES)
    assert adam(1e-3) != adam(2e-3)
    assert adam(1e-3) != adam(1e-3, nesterov=True)
    assert ema(0.9) != gradtx.trace(0.9)
    assert adamw(1e-3, mask="a") != adamw(1e-3, mask="b")
    assert ema(0.9) != 0.9


def test_a_short_value_prints_on_one_line_with_what_was_given() -> None:
    assert repr(ema(0.9)) == "ema(decay=0.9)"
    assert repr(adam(1e-3, b1=0.8)) == "adam(learning_rate=0.001, b1=0.8)"
    assert repr(chain(gradtx.square(), ema(0.5))) == "chain(square(), ema(decay=0.5))"


def test_a_long_value_prints_one_argument_per_line() -> None:
    tx = chain(clip_by_global_norm(1.0), adamw(1e-3, weight_decay=0.1, mask="kernel$"), ema(0.9))
    assert repr(tx) == (
        "chain(\n"
        "    clip_by_global_norm(max_norm=1.0),\n"
        "    adamw(learning_rate=0.001, weight_decay=0.1, mask='kernel$'),\n"
        "    ema(decay=0.9),\n"
        ")"
    )


def test_numbers_are_leaves_and_what_shapes_the_program_is_not() -> None:
    assert jax.tree.leaves(adam(1e-3)) == [1e-3, 0.9, 0.999, 1e-8]
    assert jax.tree.leaves(adam(1e-3, eps_root=1e-9)) == [1e-3, 0.9, 0.999, 1e-8, 1e-9]
    assert jax.tree.leaves(chain(ema(0.9), gradtx.scale(2))) == [0.9, 2.0]
    assert jax.tree.leaves(adam(1e-3, mu_dtype="bfloat16", nesterov=True)) == jax.tree.leaves(adam(1e-3))
    path, _ = jax.tree_util.tree_flatten_with_path(adam(1e-3))
    assert [jax.tree_util.keystr(p) for p, _ in path] == [".learning_rate", ".b1", ".b2", ".eps"]


def test_a_concrete_array_becomes_a_number_and_an_int_a_float() -> None:
    assert ema(jnp.asarray(0.5)) == ema(0.5) == ema(np.float32(0.5))
    assert type(ema(np.float64(0.5)).decay) is float
    assert gradtx.scale(2) == gradtx.scale(2.0)
    assert hash(gradtx.scale(2)) == hash(gradtx.scale(2.0))
    assert adam(1e-3, mu_dtype=jnp.bfloat16) == adam(1e-3, mu_dtype="bfloat16")


def test_is_frozen_and_never_callable() -> None:
    with pytest.raises(AttributeError):
        ema(0.9).decay = 0.5
    for tx in VALUES:
        assert not callable(tx)


def test_replace_checks_again_and_lists_the_fields() -> None:
    assert adam(1e-3).replace(b1=0.8) == adam(1e-3, b1=0.8)
    with pytest.raises(ValueError, match=r"adam\(b1=1.5\): b1 must be in \[0, 1\)"):
        adam(1e-3).replace(b1=1.5)
    with pytest.raises(TypeError, match=r"adam has no field 'beta1'.*Its fields: learning_rate, b1"):
        adam(1e-3).replace(beta1=0.8)


def test_a_concrete_class_can_not_be_subclassed_and_an_abstract_one_not_made() -> None:
    with pytest.raises(TypeError, match="adam is final"):
        type("mine", (adam,), {})
    with pytest.raises(TypeError, match="Composite is abstract"):
        gradtx.Composite()


def test_chain_is_associative_as_a_value() -> None:
    f, g, h = ema(0.9), gradtx.square(), gradtx.sqrt()
    assert chain(f, chain(g, h)) == chain(chain(f, g), h) == chain(f, g, h)


def test_chain_of_nothing_is_the_identity() -> None:
    """PAINS 27."""
    updates, state = chain().update(PARAMS, chain().init(PARAMS))
    chex.assert_trees_all_equal(updates, PARAMS)
    assert state == ()


def test_unpacks_into_init_and_update() -> None:
    init, update = adam(1e-3)
    updates, _ = update(PARAMS, init(PARAMS))
    chex.assert_trees_all_equal(updates, adam(1e-3).update(PARAMS, adam(1e-3).init(PARAMS))[0])


def test_a_composite_shows_what_it_is_made_of() -> None:
    """'Adam = RMSprop + momentum + bias correction' is the code of adam."""
    assert adam(1e-3).expand() == chain(
        gradtx.ratio(gradtx.momentum(0.9), gradtx.rms(0.999), 1e-8), gradtx.scale_by_learning_rate(1e-3)
    )
    assert gradtx.momentum(0.9).expand() == chain(ema(0.9), gradtx.bias_correction(0.9))
    assert gradtx.rms(0.9).expand() == chain(
        gradtx.square(), ema(0.9), gradtx.bias_correction(0.9), gradtx.sqrt()
    )


# ---------------------------------------------------------------- traces


def test_equal_values_are_one_static_argument() -> None:
    """PAINS 12: five equal optimizers, one compile."""

    @chex.assert_max_traces(1)
    def step(tx, params, state):
        return tx.update(params, state, params)

    step = jax.jit(step, static_argnums=0)
    for _ in range(5):
        tx = adamw(1e-3, mask={"dense": {"kernel": True, "bias": False}})
        step(tx, PARAMS, tx.init(PARAMS))


def test_a_hundred_learning_rates_are_one_trace_as_an_argument() -> None:
    @jax.jit
    @chex.assert_max_traces(1)
    def step(tx, grads, state):
        return tx.update(grads, state)[0]

    state = adam(1.0).init(PARAMS)
    for i in range(100):
        updates = step(adam(0.01 * i), PARAMS, state)
    np.testing.assert_allclose(updates["dense"]["bias"], -0.99, rtol=1e-6)


def test_vmap_over_learning_rates_trains_many_models() -> None:
    def train(rate):
        tx, x = adam(rate), {"x": jnp.asarray([1.0, -2.0])}
        state = tx.init(x)
        for _ in range(3):
            updates, state = tx.update(x, state, x)
            x = gradtx.apply_updates(x, updates)
        return x

    rates = jnp.asarray([0.1, 0.01, 0.0])
    many = jax.jit(jax.vmap(train))(rates)
    for i, rate in enumerate(rates):
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], many), train(float(rate)), rtol=1e-6)


def test_vmap_over_a_batch_of_transformations() -> None:
    batch = adam(np.asarray([0.1, 0.2]), b1=np.asarray([0.9, 0.5]))
    axes = jax.tree.map(lambda x: 0 if np.ndim(x) else None, batch)
    states = adam(0.1).init(PARAMS)
    out = jax.vmap(lambda tx: tx.update(PARAMS, states)[0], in_axes=(axes,))(batch)
    np.testing.assert_allclose(out["dense"]["bias"][:, 0], [-0.1, -0.2], rtol=1e-6)


def test_gradients_with_respect_to_every_hyperparameter() -> None:
    """Against finite differences in float64, through three steps of AdamW."""
    with jax.enable_x64(True):
        start = {"w": jnp.asarray([1.0, -2.0, 0.5])}

        def loss(tx):
            params, state = start, tx.init(start)
            for _ in range(3):
                grads = jax.tree.map(lambda p: 2 * p, params)
                updates, state = tx.update(grads, state, params)
                params = gradtx.apply_updates(params, updates)
            return jnp.sum(params["w"] ** 2)

        tx = adamw(0.1, weight_decay=0.2, eps=1e-2)
        slopes = jax.grad(loss)(tx)
        assert type(slopes) is adamw
        for name in ("learning_rate", "b1", "b2", "eps", "weight_decay"):
            h = 1e-6
            up, down = (loss(tx.replace(**{name: getattr(tx, name) + d})) for d in (h, -h))
            np.testing.assert_allclose(getattr(slopes, name), (up - down) / (2 * h), rtol=1e-5)


def _loss(params, apply, x):
    return jnp.mean(apply({"params": params}, x) ** 2)


def test_one_trace_in_a_linen_train_state_that_is_rebuilt() -> None:
    model, x = nn.Dense(3), jnp.ones((2, 4))
    params = model.init(jax.random.key(0), x)["params"]
    apply = model.apply

    @jax.jit
    @chex.assert_max_traces(1)
    def step(state, x):
        grads = jax.grad(_loss)(state.params, state.apply_fn, x)
        return state.apply_gradients(grads=grads)

    for _ in range(3):
        tx = adamw(cosine_decay_schedule(1e-3, 10), mask="kernel$")
        state = TrainState.create(apply_fn=apply, params=params, tx=tx)
        state = step(step(state, x), x)
    assert int(state.step) == 2


@pytest.mark.parametrize(
    "mask",
    [
        "kernel$",
        {"kernel": True, "bias": False},
        gradtx.by_path(("bias", False), (".*", True)),
        lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    ],
    ids=["pattern", "tree", "rules", "function"],
)
def test_one_trace_in_an_nnx_optimizer_that_is_rebuilt_with_any_mask(mask) -> None:
    """PAINS 12 and 21: mask trees fail in Optax's nnx.Optimizer."""

    @nnx.jit
    @chex.assert_max_traces(1)
    def step(model, optimizer, x):
        grads = nnx.grad(lambda m: jnp.mean(m(x) ** 2))(model)
        optimizer.update(model, grads)

    for _ in range(3):
        model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        before = model.kernel[...]
        optimizer = nnx.Optimizer(model, adamw(1e-3, mask=mask, weight_decay=0.5), wrt=nnx.Param)
        for _ in range(2):
            step(model, optimizer, jnp.ones((2, 4)))
    assert int(optimizer.step[...]) == 2
    assert not np.allclose(before, model.kernel[...])


def test_a_mask_made_from_an_nnx_state_fits() -> None:
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    mask = jax.tree.map(lambda p: p.ndim > 1, nnx.state(model, nnx.Param))
    optimizer = nnx.Optimizer(model, adamw(1e-3, mask=mask), wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.mean(m(jnp.ones((2, 4))) ** 2))(model)
    optimizer.update(model, grads)
    assert adamw(1e-3, mask=mask) == adamw(1e-3, mask=mask)


# ---------------------------------------------------------------- JSON


def test_json_is_readable_and_versioned() -> None:
    assert json.loads(gradtx.to_json(ema(0.9))) == {"gradtx": 1, "value": {"type": "ema", "decay": 0.9}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is not JSON"),
        ("[]", "expected"),
        ('{"gradtx": 2, "value": {"type": "ema", "decay": 0.9}}', "version 2; this gradtx reads version 1"),
        ('{"gradtx": 1, "value": {"type": "emma", "decay": 0.9}}', "no 'emma'. Did you mean 'ema'"),
        ('{"gradtx": 1, "value": {"type": "ema", "deacy": 0.9}}', "no field 'deacy'. Did you mean 'decay'"),
        ('{"gradtx": 1, "value": {"type": "ema"}}', "ema lacks decay"),
        ('{"gradtx": 1, "value": {"type": "ema", "decay": 1.0}}', "decay must be in"),
        ('{"gradtx": 1, "value": {"type": "chain", "parts": {"odd": 1}}}', "neither a value"),
        ('{"gradtx": 1, "value": {"type": "Schedule"}}', "no 'Schedule'"),
    ],
)
def test_json_that_does_not_fit_is_refused_and_says_why(text: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gradtx.from_json(text)


def test_json_takes_a_class_of_the_readers_own() -> None:
    class twice(gradtx.GradientTransformation):
        by: float = 2.0

    text = gradtx.to_json(twice(3.0))
    assert gradtx.from_json(text, known=[twice]) == twice(3.0)
    with pytest.raises(ValueError, match="known="):
        gradtx.from_json(text)


def test_a_function_has_no_json_and_the_error_names_the_field() -> None:
    with pytest.raises(TypeError, match=r"adam\.learning_rate\.function holds"):
        gradtx.to_json(adam(lambda step: 1e-3))


def test_numbers_survive_json_to_the_last_bit() -> None:
    rate = 0.1 + 0.2
    assert gradtx.from_json(gradtx.to_json(adam(rate))).learning_rate == rate


# ---------------------------------------------------------------- hashing what can't be hashed


def test_a_sweep_prints_and_compares_but_is_no_static_argument() -> None:
    sweep = adam(jnp.asarray([1e-3, 1e-2]))
    assert sweep == adam(jnp.asarray([1e-3, 1e-2]))
    assert sweep != adam(jnp.asarray([1e-3, 2e-2]))
    with pytest.raises(
        TypeError, match=r"adam can't be hashed: .* array of shape \(2,\).* ordinary argument"
    ):
        hash(sweep)


def test_a_bare_function_of_the_step_becomes_a_schedule() -> None:
    rate = optax.cosine_decay_schedule(1e-3, 10)
    tx = adam(rate)
    assert isinstance(tx.learning_rate, gradtx.Schedule)
    assert tx == adam(rate)
    assert adam(lambda step: 1e-3) != adam(lambda step: 1e-3)
