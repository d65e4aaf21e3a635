"""A leaf has one name, in messages, masks, rules and reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import tree

PACKAGE = Path(gradtx.__file__).parent


class Layer(NamedTuple):
    kernel: Any
    bias: Any


PARAMS = {"encoder": [Layer(jnp.ones((3, 4)), jnp.ones(4)), Layer(jnp.ones((4, 4)), jnp.ones(4))]}
NAMES = ["encoder/0/kernel", "encoder/0/bias", "encoder/1/kernel", "encoder/1/bias"]
WRONG = "encoder/1/kernel"


def put(leaf: Any) -> Any:
    """The parameters with another leaf at the place that is called WRONG."""
    first, second = PARAMS["encoder"]
    return {"encoder": [first, second._replace(kernel=leaf)]}


INTS, SHORT = put(jnp.ones((4, 4), int)), put(jnp.ones(4))
ADAM = gradtx.adam(1e-3)
STATE = ADAM.init(PARAMS)
STACKED = jax.tree.map(lambda x: jnp.stack([x, x]), PARAMS)
LAYERS = gradtx.layerwise(gradtx.scale_by_trust_ratio(), "kernel")
TRACED = gradtx.layerwise(gradtx.ema(0.9), "kernel")
MATRICES = gradtx.for_matrices(ADAM, ADAM, gradtx.by_path((WRONG, gradtx.matrix_axes(0, 5)), ("", None)))

REFUSALS: dict[str, Callable[[], Any]] = {
    "a shape": lambda: ADAM.update(SHORT, STATE, PARAMS),
    "a dtype of the parameters": lambda: ADAM.init(INTS),
    "a dtype of the updates": lambda: gradtx.sgd(1.0).update(INTS, gradtx.sgd(1.0).init(PARAMS)),
    "apply_updates": lambda: gradtx.apply_updates(PARAMS, SHORT),
    "a shape without values": lambda: gradtx.dog(1.0).init(put(jax.ShapeDtypeStruct((4, 4), jnp.float32))),
    "examples": lambda: gradtx.dpsgd(1.0, 1.0, 1.0, 0).update(
        {"encoder": [STACKED["encoder"][0], Layer(jnp.ones((3, 4, 4)), jnp.ones((2, 4)))]},
        gradtx.dpsgd(1.0, 1.0, 1.0, 0).init(PARAMS),
        PARAMS,
    ),
    "share_moved": lambda: gradtx.share_moved(PARAMS, SHORT),
    "packing": lambda: gradtx.packing(INTS),
    "pack": lambda: gradtx.packing(PARAMS).pack(SHORT),
    "layers": lambda: LAYERS.init(put(jnp.ones(()))),
    "a layer's state": lambda: TRACED.update(put(jnp.ones((2, 4))), TRACED.init(PARAMS)),
    "a label": lambda: gradtx.partition({"a": ADAM}, gradtx.by_path((WRONG, "b"), ("", "a"))).init(PARAMS),
    "a rule": lambda: gradtx.partition(
        {"a": ADAM}, gradtx.by_path(("encoder/0|bias", "a"))
    ).init(PARAMS),
    "a mask": lambda: gradtx.masked(ADAM, {"encoder": [True, Layer(None, True)]}).init(PARAMS),
    "micro-batches": lambda: gradtx.reshape_batch_axis(put(jnp.ones(())), 1),
    "a report": lambda: gradtx.memory_report(ADAM, put("kernel")),
    "matrices": lambda: MATRICES.init(PARAMS),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_a_message_gives_the_leaf_the_name_that_masks_match(what: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSALS[what]()
    said = str(caught.value)
    assert repr(WRONG) in said
    assert "['" not in said
    frozen = gradtx.freeze(re.escape(WRONG)).update(PARAMS, gradtx.freeze(WRONG).init(PARAMS), PARAMS)[0]
    assert [name for name, x in zip(NAMES, jax.tree.leaves(frozen), strict=True) if not x.any()] == [WRONG]


def test_reports_and_laws_use_it_too() -> None:
    class forgets(gradtx.GradientTransformation):
        def update(self, updates: Any, state: Any, params: Any = None) -> Any:
            return jax.tree.map(lambda u: u.ravel(), updates), state

    with pytest.raises(gradtx.laws.LawError, match=f"at updates/{WRONG}: saw"):
        gradtx.check_transformation(forgets(), PARAMS)


def test_a_variable_of_flax_is_called_like_the_leaf_in_it() -> None:
    nnx = pytest.importorskip("flax.nnx")

    def state(kernel: Any) -> Any:
        return nnx.State({"dense": {"kernel": nnx.Param(kernel)}})

    assert tree.leaf_names(state(jnp.ones(2))) == ["dense/kernel"]
    with pytest.raises(ValueError, match="at 'dense/kernel' are int32"):
        ADAM.init(state(jnp.ones(2, int)))
    with pytest.raises(ValueError, match=r"at 'dense/kernel': shape \(3,\)"):
        ADAM.update(state(jnp.ones(3)), ADAM.init(state(jnp.ones(2))))


def test_a_tree_that_is_a_leaf_is_the_root() -> None:
    assert tree.leaf_names(jnp.ones(2)) == [tree.name(())] == [""]
    assert (tree.name((), "state"), tree.where((), np.ones(2))) == ("state", "the root")
    with pytest.raises(ValueError, match=r"at the root: shape \(3,\)"):
        ADAM.update(jnp.ones(3), ADAM.init(jnp.ones(2)))


def test_one_module_turns_paths_into_names() -> None:
    spelling = {
        str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if "keystr(" in file.read_text()
    }
    assert spelling - {"contract/runtime.py"} == {"tree/paths.py"}
