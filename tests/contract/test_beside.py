"""Beside what is trained: functions in a model, and integers. No update touches or looks at them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.dtypes import float0

import gradtx
from gradtx.contract.facts import facts
from gradtx.laws.compare import differences
from tests.laws.test_laws import EXTRA, TRANSFORMATIONS, build, elaborate

# ---------------------------------------------------------------- a module with a function in it


@jax.tree_util.register_pytree_with_keys_class
class Model:
    """A module as Equinox's: its leaves are arrays and what is no array."""

    def __init__(self, kernel, bias, activation, steps) -> None:
        self.kernel, self.bias, self.activation, self.steps = kernel, bias, activation, steps

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey(n), getattr(self, n)) for n in vars(self)], None

    def tree_flatten(self):
        return list(vars(self).values()), None

    @classmethod
    def tree_unflatten(cls, _, children):
        model = object.__new__(cls)
        model.kernel, model.bias, model.activation, model.steps = children
        return model

    def __call__(self, x):
        return self.activation(x @ self.kernel + self.bias[None])


WHOLE = {"layer": Model(jnp.full((3, 4), 0.5), jnp.ones(4), jax.nn.relu, 3), "name": "mlp"}


def arrays(model):
    """What eqx.filter(model, eqx.is_array) makes of it."""
    return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else None, model)


PARTS = arrays(WHOLE)


def extra_of(tx, params) -> dict:
    """Extra arguments whose functions are given whole models."""

    def of_arrays(f):
        return (lambda model, *more: f(arrays(model), *more)) if callable(f) else f

    return {n: of_arrays(EXTRA[n](params)) for n in facts(tx).extras.needed}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_whole_model_may_be_given_where_its_gradients_have_none(name: str) -> None:
    if name in ("packed", "unpacked"):
        pytest.skip("they are given buffers")
    for tx in (build(TRANSFORMATIONS[name]), elaborate(build(TRANSFORMATIONS[name]))):
        grads = jax.tree.map(jnp.sin, PARTS)
        if tx.per_example:
            grads = jax.tree.map(lambda g: jnp.stack([g, g]), grads)
        extra, state = extra_of(tx, PARTS), tx.init(PARTS)
        expected = tx.update(grads, state, PARTS, **extra)
        found = tx.update(grads, state, WHOLE, **extra)
        assert not list(differences(found, expected, "", tolerance=0.0))
        moved = gradtx.apply_updates(WHOLE, found[0])
        assert moved["layer"].activation is jax.nn.relu
        assert (moved["layer"].steps, moved["name"]) == (3, "mlp")


def test_a_model_is_trained_as_with_equinox() -> None:
    def loss(parts, x):
        model = jax.tree.map(lambda p, w: w if p is None else p, parts, WHOLE, is_leaf=lambda p: p is None)[
            "layer"
        ]
        return jnp.mean((model(x) - 2.0) ** 2)

    tx = gradtx.adamw(0.1, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params))
    model, state, x = WHOLE, tx.init(PARTS), jnp.ones((5, 3))
    for _ in range(60):
        grads = jax.grad(loss)(arrays(model), x)
        updates, state = tx.update(grads, state, model)
        model = gradtx.apply_updates(model, updates)
    assert loss(arrays(model), x) < 0.01 * loss(PARTS, x)


def test_a_function_of_the_parameters_is_given_the_whole_model() -> None:
    seen = []

    def value_fn(model):
        seen.append(model["layer"].activation)
        return jnp.sum(model["layer"].kernel ** 2) + jnp.sum(model["layer"].bias ** 2)

    tx = gradtx.scale_by_backtracking_linesearch(10)
    steps = jax.tree.map(jnp.negative, PARTS)
    tx.update(steps, tx.init(PARTS), WHOLE, value=value_fn(WHOLE), grad=PARTS, value_fn=value_fn)
    assert len(seen) > 1
    assert set(seen) == {jax.nn.relu}


def test_a_mask_made_of_the_whole_model_fits() -> None:
    mask = jax.tree.map(lambda x: isinstance(x, jax.Array) and x.ndim > 1, WHOLE)
    tx = gradtx.chain(gradtx.masked(gradtx.adam(0.1), mask), gradtx.add_decoupled_weight_decay(0.1, mask))
    tx.update(PARTS, tx.init(PARTS), WHOLE)


def test_parameters_that_lack_a_leaf_of_the_updates_are_still_refused() -> None:
    tx = gradtx.sgd(0.1)
    with pytest.raises(ValueError, match=r"'b': shape \(2,\) against nothing"):
        tx.update({"a": jnp.ones(2), "b": jnp.ones(2)}, tx.init(None), {"a": jnp.ones(2), "b": None})
    with pytest.raises(ValueError, match=r"'b': nothing against shape \(2,\)"):
        tx.update({"a": jnp.ones(2)}, tx.init(None), {"a": jnp.ones(2), "b": jnp.ones(2)})


# ---------------------------------------------------------------- integers beside parameters

PARAMS = {
    "kernel": jnp.full((3, 4), 0.5),
    "table": jnp.arange(6),
    "scale": jnp.ones(()),
    "on": jnp.array(True),
}
FLOATS = {"kernel": True, "table": False, "scale": True, "on": False}
GRADIENTS = {
    "float0": lambda p: np.zeros(p.shape, float0),
    "its own zeros": jnp.zeros_like,
    "float32": lambda p: jnp.zeros(p.shape),
    "None": lambda p: None,
}
KEPT_OUT = {
    "masked by a tree": gradtx.masked(gradtx.adam(0.1), FLOATS),
    "masked by a pattern": gradtx.masked(gradtx.adam(0.1), "kernel|scale"),
    "masked by a function": gradtx.masked(gradtx.adam(0.1), lambda _: FLOATS),
    "frozen": gradtx.masked(gradtx.adam(0.1), FLOATS, otherwise="freeze"),
    "partition": gradtx.partition(
        {"a": gradtx.adam(0.1), "b": gradtx.freeze()}, gradtx.by_path(("kernel|scale", "a"), (".*", "b"))
    ),
    "in a chain": gradtx.chain(
        gradtx.clip_by_global_norm(1.0), gradtx.masked(gradtx.adam(0.1), FLOATS), gradtx.scale(1.0)
    ),
    "under a schedule": gradtx.masked(gradtx.adam(gradtx.linear_schedule(0.1, 0.0, 9)), FLOATS),
}
INNER = KEPT_OUT["masked by a tree"]
WRAPPED = {
    "accumulate": gradtx.accumulate(INNER, 2),
    "average_params": gradtx.average_params(INNER, 0.9),
    "lookahead": gradtx.lookahead(INNER, 2, 0.5),
    "apply_if_finite": gradtx.apply_if_finite(INNER, 3),
    "cautious": gradtx.chain(
        gradtx.cautious(gradtx.masked(gradtx.scale_by_adam(), FLOATS)), gradtx.scale(-0.1)
    ),
    "mechanize": gradtx.mechanize(INNER),
    "schedule_free": gradtx.schedule_free(INNER, 0.1),
    "tunable": gradtx.tunable(INNER, "learning_rate"),
    "sam": gradtx.sam(INNER, gradtx.chain(gradtx.normalize(), gradtx.scale(-0.1))),
    "run_when": gradtx.run_when(INNER, lambda step: step % 2 == 0),
    "average of accumulated": gradtx.average_params(gradtx.accumulate(INNER, 2), 0.9),
}


def gradients(params, how):
    """Half the parameters, and what is asked for where there is no gradient."""
    return {n: how(p) if n in ("table", "on") else 0.5 * p for n, p in params.items()}


def only_floats(tree):
    return {n: x for n, x in tree.items() if n in ("kernel", "scale")}


@pytest.mark.parametrize("how", GRADIENTS)
@pytest.mark.parametrize("name", [*KEPT_OUT, *WRAPPED])
def test_integers_that_are_kept_out_stay_as_they_are(name: str, how: str) -> None:
    """By `update` and `apply_updates`, eagerly and compiled, with the parameters and without."""
    tx = (KEPT_OUT | WRAPPED)[name]
    needs = name in (
        "average_params",
        "mechanize",
        "schedule_free",
        "sam",
        "lookahead",
        "average of accumulated",
    )
    runs = [(tx.update, True), (jax.jit(tx.update), True)] + ([] if needs else [(tx.update, False)])
    for update, with_params in runs:
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(3):
            grads = gradients(params, GRADIENTS[how])
            updates, state = update(grads, state, params if with_params else None)
            for n in ("table", "on"):
                assert (updates[n] is None) == (grads[n] is None)
                if grads[n] is not None:
                    assert updates[n].dtype == grads[n].dtype
            params = gradtx.apply_updates(params, updates)
        for n in ("table", "on"):
            assert params[n].dtype == PARAMS[n].dtype
            np.testing.assert_array_equal(params[n], PARAMS[n])
        assert np.all(params["kernel"] != PARAMS["kernel"])


@pytest.mark.parametrize("how", GRADIENTS)
@pytest.mark.parametrize("name", [*KEPT_OUT, *WRAPPED])
def test_the_rest_is_trained_as_without_them(name: str, how: str) -> None:
    if name in (
        "masked by a tree",
        "masked by a function",
        "frozen",
        "in a chain",
        "under a schedule",
        *WRAPPED,
    ):
        pytest.skip("its mask is made for the whole tree")
    tx = KEPT_OUT[name]
    whole, _ = tx.update(gradients(PARAMS, GRADIENTS[how]), tx.init(PARAMS), PARAMS)
    alone, _ = gradtx.adam(0.1).update(
        only_floats(gradients(PARAMS, GRADIENTS[how])), gradtx.adam(0.1).init(only_floats(PARAMS)), None
    )
    jax.tree.map(np.testing.assert_array_equal, only_floats(whole), alone)


@pytest.mark.parametrize("how", GRADIENTS)
def test_make_step_leaves_them(how: str) -> None:
    for tx in (*KEPT_OUT.values(), *WRAPPED.values()):
        params = jax.tree.map(jnp.copy, PARAMS)
        step, state = gradtx.make_step(tx), tx.init(params)
        for _ in range(2):
            params, state = step(params, state, gradients(PARAMS, GRADIENTS[how]))
        np.testing.assert_array_equal(params["table"], PARAMS["table"])
        assert params["on"].dtype == bool
        assert np.all(np.isfinite(params["kernel"]))


def test_make_train_step_leaves_them() -> None:
    def loss(params, x):
        return (
            jnp.mean((x @ params["kernel"]) ** 2)
            + params["scale"] ** 2
            + 0.0 * params["table"].sum().astype(float)
        )

    for tx in (*KEPT_OUT.values(), *WRAPPED.values()):
        params = jax.tree.map(jnp.copy, PARAMS)
        step, state = gradtx.make_train_step(loss, tx), tx.init(params)
        first = None
        for _ in range(40):
            params, state, value = step(params, state, jnp.ones((2, 3)))
            first = value if first is None else first
        # The others feel their way at first, or pass gradients on as they are.
        assert value < first or tx in [WRAPPED[name] for name in ("mechanize", "sam", "run_when")]
        np.testing.assert_array_equal(params["table"], PARAMS["table"])


def test_the_average_of_an_integer_is_the_integer() -> None:
    tx = WRAPPED["average_params"]
    _, state = tx.update(gradients(PARAMS, GRADIENTS["float0"]), tx.init(PARAMS), PARAMS)
    mean = gradtx.averaged_params(state, PARAMS)
    np.testing.assert_array_equal(mean["table"], PARAMS["table"])
    assert mean["table"].dtype == PARAMS["table"].dtype


def test_a_search_sees_the_integers_in_its_function() -> None:
    def value_fn(params):
        return jnp.sum(params["kernel"] ** 2) * params["table"][2].astype(float)

    tx = gradtx.chain(gradtx.masked(gradtx.scale(-1.0), FLOATS), gradtx.scale_by_backtracking_linesearch(10))
    grads = jax.grad(value_fn, allow_int=True)(PARAMS)
    updates, _ = tx.update(
        grads, tx.init(PARAMS), PARAMS, value=value_fn(PARAMS), grad=grads, value_fn=value_fn
    )
    assert value_fn(gradtx.apply_updates(PARAMS, updates)) < value_fn(PARAMS)


def test_slow_copies_and_points_ahead_hand_integers_on() -> None:
    tx = INNER
    ahead = gradtx.look_ahead(tx, tx.init(PARAMS), PARAMS)
    newer = {**PARAMS, "table": PARAMS["table"] + 1}
    slow = gradtx.incremental_update(newer, PARAMS, 0.1)
    np.testing.assert_array_equal(ahead["table"], PARAMS["table"])
    np.testing.assert_array_equal(slow["table"], newer["table"])
    assert slow["on"].dtype == bool


def test_integers_that_nothing_keeps_out_are_refused_with_the_path() -> None:
    for tx in (
        gradtx.adam(0.1),
        gradtx.masked(gradtx.adam(0.1), True),
        gradtx.masked(gradtx.adam(0.1), "table"),
    ):
        with pytest.raises(
            ValueError, match=r"the parameters at '(table|on)' are .*Keep integer leaves out with"
        ):
            tx.init(PARAMS)
    for how in ("float0", "its own zeros"):
        with pytest.raises(
            ValueError, match=r"the updates at '(table|on)' are .*Keep integer leaves out with"
        ):
            gradtx.sgd(0.1).update(gradients(PARAMS, GRADIENTS[how]), gradtx.sgd(0.1).init(PARAMS))
    floats = {"w": jnp.ones(2)}
    tx = gradtx.masked(gradtx.adam(0.1), "w")
    with pytest.raises(ValueError, match="'w' are int32"):
        tx.update({"w": jnp.ones(2, int)}, tx.init(floats), floats)
