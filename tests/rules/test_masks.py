"""Which leaves: trees, functions and path rules, in dictionaries, nnx, Equinox-like modules."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import pytest

import gradtx
from gradtx import adam, ema, freeze, masked, partition, sign
from gradtx.tree import leaf_names

PARAMS = {"body": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}, "head": jnp.full(3, 3.0)}


def signs(tx, params=PARAMS):
    """Which leaves were turned into their sign."""
    updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
    return [bool((u == 1).all()) for u in jax.tree.leaves(updates)]


BODY_ONLY = [True, True, False]  # bias, kernel, head, in the order of jax.tree.leaves


@pytest.mark.parametrize(
    "mask",
    [
        {"body": {"kernel": True, "bias": True}, "head": False},
        {"body": True, "head": False},  # a prefix
        "^body/",
        gradtx.by_path(("^head$", False), (".*", True)),
        lambda params: {"body": True, "head": False},
        lambda params: jax.tree.map(lambda p: p.shape != (3,), params),
    ],
    ids=["tree", "prefix", "pattern", "rules", "prefix function", "function"],
)
def test_a_mask_may_be_a_tree_a_function_or_a_rule_on_the_path(mask) -> None:
    assert signs(masked(sign(), mask)) == BODY_ONLY


def test_true_selects_all_and_false_none() -> None:
    assert signs(masked(sign(), True)) == [True, True, True]
    assert signs(masked(sign(), False)) == [False, False, False]


@jax.tree_util.register_pytree_node_class
class Model:
    """A callable pytree, as an Equinox module is."""

    def __init__(self, kernel, bias):
        self.kernel, self.bias = kernel, bias

    def tree_flatten(self):
        return (self.kernel, self.bias), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)

    def __call__(self, x):
        raise AssertionError("a mask that is a pytree must never be called")


def test_a_callable_pytree_is_a_tree_and_never_called() -> None:
    """PAINS 20."""
    params = Model(jnp.full((2, 2), 3.0), jnp.full(2, 3.0))
    assert signs(masked(sign(), Model(True, False)), params) == [True, False]
    labels = Model("a", "b")
    assert signs(partition({"a": sign(), "b": gradtx.identity()}, labels), params) == [True, False]


def test_the_others_are_passed_or_frozen_as_asked() -> None:
    """PAINS 19: the choice is explicit."""
    grads = jax.tree.map(lambda p: 5 * jnp.ones_like(p), PARAMS)
    for otherwise, head in (("pass", 5.0), ("freeze", 0.0)):
        tx = masked(gradtx.adamw(0.1, weight_decay=0.5), "^body/", otherwise=otherwise)
        state = tx.init(PARAMS)
        updates, _ = tx.update(grads, state, PARAMS)
        chex.assert_trees_all_equal(updates["head"], jnp.full(3, head))
        kept = [x.shape for x in jax.tree.leaves(state) if x.ndim]
        assert kept == [(2,), (2, 2)] * 2  # m and v of the body; a frozen leaf has no state


def test_a_frozen_leaf_does_not_decay_and_keeps_out_nan() -> None:
    """PAINS 19."""
    grads = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), PARAMS)
    tx = partition({"train": gradtx.adamw(0.1), "still": freeze()}, {"body": "train", "head": "still"})
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates["head"], jnp.zeros(3))
    assert jnp.isnan(updates["body"]["bias"]).all()
    chex.assert_trees_all_equal(
        freeze().update(grads, freeze().init(PARAMS))[0], jax.tree.map(jnp.zeros_like, PARAMS)
    )
    some, _ = freeze("head").update(grads, freeze("head").init(PARAMS))
    chex.assert_trees_all_equal(some["head"], jnp.zeros(3))
    assert jnp.isnan(some["body"]["bias"]).all()


@pytest.mark.parametrize(
    "labels",
    [
        {"body": {"kernel": "a", "bias": "b"}, "head": "b"},
        gradtx.by_path(("kernel", "a"), (".*", "b")),
        lambda p: jax.tree.map(lambda x: "a" if x.ndim > 1 else "b", p),
    ],
    ids=["tree", "rules", "function"],
)
def test_partition_gives_each_leaf_to_its_transformation(labels) -> None:
    tx = partition({"a": sign(), "b": gradtx.scale(2.0)}, labels)
    updates, state = jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(
        updates,
        {"body": {"kernel": jnp.ones((2, 2)), "bias": jnp.full(2, 6.0)}, "head": jnp.full(3, 6.0)},
    )
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))


def test_partition_keeps_each_groups_state_for_its_leaves_only() -> None:
    tx = partition({"a": adam(1e-3), "b": ema(0.9)}, gradtx.by_path(("kernel", "a"), (".*", "b")))
    state = tx.init(PARAMS)
    assert [x.shape for x in jax.tree.leaves(state.groups["a"]) if x.ndim] == [(2, 2), (2, 2)]
    assert [x.shape for x in jax.tree.leaves(state.groups["b"])] == [(2,), (3,)]


def test_masks_nest_inside_partitions() -> None:
    """A rule may name a leaf that an outer partition has taken away; one that no leaf has may not."""
    inner = masked(sign(), "kernel|head")
    tx = partition({"a": inner, "b": gradtx.scale(2.0)}, gradtx.by_path(("^body/", "a"), (".*", "b")))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates["body"]["kernel"], jnp.ones((2, 2)))
    chex.assert_trees_all_equal(updates["body"]["bias"], jnp.full(2, 3.0))
    with pytest.raises(ValueError, match="matches no leaf"):
        partition({"a": masked(sign(), "tail")}, {"body": "a", "head": "a"}).init(PARAMS)


def test_paths_read_as_names() -> None:
    assert leaf_names(PARAMS) == ["body/bias", "body/kernel", "head"]
    assert leaf_names({"a": [jnp.ones(1), (None, jnp.ones(1))]}) == ["a/0", "a/1/1"]
    assert leaf_names(jnp.ones(1)) == [""]


def test_a_mask_on_a_single_array_works() -> None:
    tx = masked(sign(), True)
    updates, _ = tx.update(jnp.full(2, 3.0), tx.init(jnp.ones(2)))
    chex.assert_trees_all_equal(updates, jnp.ones(2))


@pytest.mark.parametrize("label", [0, 1.5, b"name", frozenset({1})], ids=str)
def test_a_label_is_whatever_has_a_hash(label) -> None:
    params = {"a": jnp.ones(2), "b": jnp.full(3, 2.0)}
    tree = {"a": label, "b": label}
    for labels in (tree, lambda params: tree):
        tx = gradtx.partition({label: gradtx.scale(3.0)}, labels)
        updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
        chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 3 * p, params))
    assert gradtx.partition({label: gradtx.scale(3.0)}, tree) == gradtx.partition(
        {label: gradtx.scale(3.0)}, tree
    )


def test_labels_that_fit_nothing_are_named() -> None:
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    tx = gradtx.partition({0: gradtx.scale(1.0)}, {"a": 0, "b": 5})
    with pytest.raises(ValueError, match=r"the leaf at 'b' has the label 5.*Labels: 0\."):
        tx.init(params)
    with pytest.raises(TypeError, match="the labels of transforms have no order"):
        gradtx.partition({0: gradtx.scale(1.0), "a": gradtx.scale(1.0)}, {"a": 0, "b": 0})
    with pytest.raises(TypeError, match="labels must be a tree of labels"):
        gradtx.partition({0: gradtx.scale(1.0)}, {"a": jnp.zeros(()), "b": 0})
    whole = gradtx.partition({0: gradtx.scale(1.0)}, {"a": 0, "b": 0})
    assert gradtx.from_json(gradtx.to_json(whole)) == whole


class scale_by_other(gradtx.GradientTransformation):
    """Reads a tree like the parameters."""

    def update(self, updates, state, params=None, *, other):
        return jax.tree.map(jnp.multiply, updates, other), state


@pytest.mark.parametrize("compatible", [True, False])
def test_trees_among_the_extra_arguments_are_masked_if_asked_for(compatible: bool) -> None:
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    other = jax.tree.map(lambda p: 3 * p, params)
    options = {"mask_compatible_extra_args": compatible}
    for tx in (
        gradtx.masked(scale_by_other(), {"a": True, "b": False}, **options),
        gradtx.partition({"x": scale_by_other(), "y": gradtx.identity()}, {"a": "x", "b": "y"}, **options),
    ):
        if compatible:
            updates, _ = tx.update(params, tx.init(params), params, other=other)
            chex.assert_trees_all_equal(updates, {"a": 3 * params["a"], "b": params["b"]})
        else:
            with pytest.raises(ValueError, match=r"MaskedNode|structure|mismatch|different"):
                tx.update(params, tx.init(params), params, other=other)
