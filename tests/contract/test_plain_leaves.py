"""Leaves that are no arrays of jax: Python's numbers, NumPy's arrays, none, and what is no number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.laws.test_laws import PARAMS, TRANSFORMATIONS, build, extra_of


def two_updates(tx, params, as_given=lambda tree: tree, restored=lambda state: state):
    """The updates and the state after two steps, each of which is handed its trees as these make them."""
    arrays = jax.tree.map(jnp.asarray, params)
    params = as_given(arrays)
    grads = jax.tree.map(lambda p: jnp.stack([p, p]), arrays) if tx.per_example else arrays
    state, extra = tx.init(params), extra_of(tx, arrays)
    for _ in range(2):
        updates, state = tx.update(as_given(grads), restored(state), params, **extra)
    return jax.device_get((updates, state))


def _python_numbers(tree):
    return jax.tree.map(lambda x: x.item() if np.ndim(x) == 0 and x.dtype == np.float32 else x, tree)


GIVEN = {"numpy": jax.device_get, "python": _python_numbers}
STATE = {"numpy": jax.device_get, "python": lambda state: state}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_numbers_of_python_and_arrays_of_numpy_are_as_good_as_arrays(name: str, given: str) -> None:
    own = (
        {"kernel": jnp.asarray(0.5)}
        if name not in ("layerwise", "per_layer")
        else {"kernel": jnp.ones((2, 3))}
    )
    tx, params = build(TRANSFORMATIONS[name]), PARAMS.get(name, own)
    ours, theirs = two_updates(tx, params), two_updates(tx, params, GIVEN[given], STATE[given])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)  # a rounding or two
    assert jax.tree.map(lambda x: np.asarray(x).dtype, ours) == jax.tree.map(
        lambda x: np.asarray(x).dtype, theirs
    )


@pytest.mark.parametrize("name", sorted(TRANSFORMATIONS.keys() - PARAMS.keys()))
def test_a_tree_without_leaves_is_updated(name: str) -> None:
    tx = build(TRANSFORMATIONS[name])
    assert jax.tree.leaves(two_updates(tx, {})[0]) == []


NO_ARRAYS = {
    "a function": jnp.tanh,
    "a text": "relu",
    "a dtype": jnp.dtype("float32"),
    "a class": float,
    "an object": object(),
    "a whole number": jnp.arange(3),
}


@pytest.mark.parametrize("name", sorted(TRANSFORMATIONS.keys() - PARAMS.keys()))
def test_a_parameter_that_is_no_array_of_numbers_is_refused_by_its_path(name: str) -> None:
    """By what keeps something of it; what keeps nothing need not look at it."""
    tx, shapes = (
        build(TRANSFORMATIONS[name]),
        {"kernel": jnp.ones((3, 4)), "layers": [{"act": jnp.ones((3, 4))}]},
    )
    whole = jax.tree.leaves(jax.eval_shape(tx.init, shapes))
    keeps = len(whole) > len(jax.tree.leaves(jax.eval_shape(tx.init, {"kernel": jnp.ones((3, 4))})))
    for given in NO_ARRAYS.values():
        try:
            tx.init({"kernel": jnp.ones((3, 4)), "layers": [{"act": given}]})
            said = ""
        except ValueError as error:
            said = str(error)
        assert said or not keeps or hasattr(given, "dtype"), given  # flags for each leaf may be of any
        assert not said or "layers/0/act" in said, said
