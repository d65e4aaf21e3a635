"""Many small leaves in a few flat buffers, for good: the optimizer walks a buffer, the model reads views.

With a thousand leaves of a thousand numbers, starting a step costs more than its arithmetic: each
array of parameters, state and gradients is handed over by itself. Packed once, and kept packed, a
step has as many arrays as there are dtypes.

    layout = gradtx.packing(params)
    flat, loss_of = layout.pack(params), lambda flat, *batch: loss(layout.unpack(flat), *batch)
    train, state = gradtx.make_train_step(loss_of, tx), tx.init(flat)

The gradient by the buffers comes out packed, with one concatenation. Packing the trees anew at each
step would instead copy all of them twice.

Source: none (a layout of memory, not a method of optimization).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.rules.by_path import select
from gradtx.rules.masks import Labels
from gradtx.tree import MismatchError, PyTree, check_like, leaf_names, quoted, unwrap_variables, where
from gradtx.values.value import Value, kept, static
from gradtx.values.wording import shown

__all__ = ["packing"]


class _Shapes:
    """A tree of arrays, kept as their dtypes and shapes: 'float32[3,4]'."""

    def accept(self, owner: str, name: str, value: Any) -> PyTree:
        def described(path: Any, x: Any) -> str:
            if isinstance(x, str):
                _parsed(x)
                return x
            try:
                dtype, shape = jnp.result_type(x), ",".join(map(str, jnp.shape(x)))
            except Exception:  # jax has many words for a leaf that is not an array
                raise TypeError(
                    f"{owner}({name}=...): {name} must hold arrays, or their shapes and dtypes; at "
                    f"{where(path, value)} there is {shown(x)}."
                ) from None
            if not jnp.issubdtype(dtype, jnp.inexact):
                raise MismatchError(
                    f"{owner}({name}=...): the parameter at {where(path, value)} is {dtype.name}: "
                    "expected floating-point or complex numbers. Keep out what is not trained."
                )
            return f"{dtype.name}[{shape}]"

        return jax.tree_util.tree_map_with_path(described, unwrap_variables(value))


def _parsed(text: str) -> jax.ShapeDtypeStruct:
    found = re.fullmatch(r"(\w+)\[([\d,]*)\]", text)
    if found is None:
        raise ValueError(
            "packing(like=...): expected arrays, or their dtypes and shapes as 'float32[3,4]', not "
            f"{shown(text)}."
        )
    return jax.ShapeDtypeStruct([int(n) for n in found[2].split(",") if n], jnp.dtype(found[1]))


class _Places(NamedTuple):
    """Where each leaf lies."""

    like: PyTree  # shapes and dtypes of the leaves
    buffers: list[tuple[tuple[str, ...], list[int]]]  # path of a buffer -> which leaves, in order


def _places(layout: packing) -> _Places:
    like = jax.tree.map(_parsed, layout.like)
    leaves = jax.tree.leaves(like)
    labels = [None] * len(leaves) if layout.labels is None else jax.tree.leaves(select(layout.labels, like))
    found: dict[tuple[str, ...], list[int]] = {}
    for i, (leaf, label) in enumerate(zip(leaves, labels, strict=True)):
        path = (leaf.dtype.name,) if label is None else (label, leaf.dtype.name)
        found.setdefault(path, []).append(i)
    return _Places(like, sorted(found.items()))  # as jax flattens them


class packing(Value):
    """Where each leaf lies in the buffers: a value, made from the parameters.

    Buffers are one-dimensional, one for each dtype: {"float32": ..., "bfloat16": ...}. With labels
    there is one set for each label, {"kernels": {"float32": ...}, "rest": {"float32": ...}}, so that a
    mask or a `partition` can tell groups of leaves apart by the buffer's path: mask="kernels".

    Args:
        like: the parameters, or their shapes and dtypes; floating-point or complex.
        labels: which group a leaf belongs to: a tree of labels, a function of the parameters, or
            `by_path` rules; None is one group without a name.

    Raises:
        ValueError: a leaf holds integers, or has no label.
    """

    like: Annotated[Any, _Shapes()] = static()
    labels: Labels | None = static(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            kept(_places, self)  # labels that do not fit are refused here
        except MismatchError as error:
            error.owner = f"{type(self).__name__}(labels=...)"
            raise

    def pack(self, tree: PyTree) -> PyTree:
        """The leaves of `tree` in buffers: a copy.

        Args:
            tree: parameters, gradients or whatever has their structure and shapes. Leaves that share a
                buffer share a dtype, which need not be the parameters'. None or a masked node for all
                of a buffer's leaves is one for the buffer.

        Raises:
            ValueError: the structure, a shape or the dtypes do not fit; with the leaf's path.
        """
        places = kept(_places, self)
        structure: Any = jax.tree.structure(places.like)  # jax has no types for treedefs
        leaves = _fitting(tree, places.like, structure, "packed parameters'")
        names = leaf_names(places.like)
        sizes = [x.size for x in jax.tree.leaves(places.like)]
        return _nested([(path, _joined(leaves, own, names, sizes)) for path, own in places.buffers])

    def unpack(self, buffers: PyTree) -> PyTree:
        """The leaves that lie in `buffers`, in the structure of the parameters.

        Under jit these are views, as far as what reads them allows. Differentiated, it is `pack`.

        Args:
            buffers: what `pack` returns, or what was computed from it; of any dtype. Where one is None,
                a masked node or empty, so are the leaves that lay in it.

        Raises:
            ValueError: a buffer is missing or has another size.
        """
        places = kept(_places, self)
        leaves, structure = jax.tree.flatten(places.like)
        sizes = [[leaves[i].size for i in own] for _, own in places.buffers]
        expected = _nested(
            [
                (path, jax.ShapeDtypeStruct((sum(n),), float))
                for (path, _), n in zip(places.buffers, sizes, strict=True)
            ]
        )
        whole = _fitting(buffers, expected, jax.tree.structure(expected), "packing's")
        out: list[Any] = [None] * len(leaves)
        for buffer, (_, own), each in zip(whole, places.buffers, sizes, strict=True):
            # lax.split, because its transpose is one concatenation; slices would add up padded arrays.
            parts = [buffer] * len(own) if _is_hole(buffer) else jax.lax.split(buffer, each)
            for i, part in zip(own, parts, strict=True):
                fits = hasattr(part, "size") and part.size == leaves[i].size
                out[i] = part.reshape(leaves[i].shape) if fits else part
        return jax.tree.unflatten(structure, out)


def _is_hole(x: Any) -> bool:
    """Whether there is nothing to pack: None, a masked node, an array without entries."""
    return not jax.tree.leaves(x) or (hasattr(x, "size") and x.size == 0)


def _fitting(tree: PyTree, like: PyTree, structure: Any, what: str) -> list[Any]:
    """The leaves of `tree`, and what stands where it has none; all others have the shapes of `like`."""
    try:
        leaves = structure.flatten_up_to(tree)
    except ValueError:
        leaves = None
    if leaves is None or any(not (_is_hole(x) or hasattr(x, "shape")) for x in leaves):
        check_like(tree, like, what)
    assert leaves is not None
    filled = [x if _is_hole(leaf) else leaf for x, leaf in zip(jax.tree.leaves(like), leaves, strict=True)]
    check_like(structure.unflatten(filled), like, what)
    return leaves


def _nested(buffers: list[tuple[tuple[str, ...], Any]]) -> PyTree:
    tree: dict[str, Any] = {}
    for (*label, dtype), buffer in buffers:
        (tree.setdefault(label[0], {}) if label else tree)[dtype] = buffer
    return tree


def _joined(leaves: list[Any], own: list[int], names: list[str], sizes: list[int]) -> Any:
    present = [i for i in own if not _is_hole(leaves[i])]
    if not present:
        return leaves[own[0]]
    dtypes = {jnp.result_type(leaves[i]).name: i for i in present}
    if len(dtypes) > 1:
        those = ", ".join(f"{quoted(names[i])} is {dtype}" for dtype, i in dtypes.items())
        raise MismatchError(f"leaves that share a buffer differ in dtype: {those}. Cast them before pack.")
    if missing := [i for i in own if i not in present and sizes[i]]:
        raise MismatchError(
            f"there is nothing to pack at {quoted(names[missing[0]])}, but at {quoted(names[present[0]])}, "
            "which shares its buffer. Give them different labels."
        )
    return jnp.concatenate([jnp.ravel(leaves[i]) for i in present])
