"""Which leaves a transformation sees: some of them, or those of its label.

Source: none (how transformations are composed; what they compose has its own sources).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax

from gradtx import tree
from gradtx.combine.parts import check_names, part_of
from gradtx.contract.extras import FUNCTIONS
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.rules.by_path import select
from gradtx.rules.masks import Labels, Mask
from gradtx.tree import MismatchError, PyTree
from gradtx.tree.standins import MaskedNode
from gradtx.values.kinds import Choice
from gradtx.values.value import static
from gradtx.values.wording import nearest, shown

__all__ = ["freeze", "masked", "partition"]


def _keep(mask: PyTree, values: PyTree) -> PyTree:
    return jax.tree.map(lambda keep, x: x if keep else MaskedNode(), mask, values)


def _restricted(
    extra: dict[str, Any], mask: PyTree, params: PyTree | None, every: bool = False
) -> dict[str, Any]:
    """The extra arguments that are about all leaves, for some: in the objective the others stand still.

    Args:
        extra: by their names.
        mask: the leaves that are seen.
        params: the parameters.
        every: whether each tree like the parameters is about all leaves; else `grad` is.
    """

    def of_some(name: str, given: Any) -> Any:
        shaped: Any = jax.tree.structure(given)
        if (every or name == "grad") and shaped == jax.tree.structure(mask):
            return _keep(mask, given)
        if name not in FUNCTIONS or params is None:
            return given

        @functools.wraps(given)  # its signature too
        def restricted(some: PyTree, *args: Any, **kwargs: Any) -> Any:
            whole = jax.tree.map(lambda m, mine, other: mine if m else other, mask, some, params)
            out = given(whole, *args, **kwargs)
            return _keep(mask, out) if name == "grad_fn" else out

        return restricted

    return {name: of_some(name, given) for name, given in extra.items()}


class MaskedState(NamedTuple):
    inner: PyTree  # the inner state, kept for the selected leaves only


class masked(GradientTransformation, reach=ENTRY):
    """Apply a transformation to some leaves only; the others have no state.

    Args:
        inner: the transformation.
        mask: the leaves that it applies to: a tree of booleans, a function of the parameters, or
            a regular expression on the leaf's path.
        otherwise: what becomes of the other leaves. 'pass' leaves their updates as they are, which
            is Optax's rule and right inside a chain; 'freeze' sets them to zero, so that their
            parameters stay.
        mask_compatible_extra_args: whether an extra argument that is a tree like the parameters is masked
            too; else it is handed on whole, but for `grad`, which line searches read.

    Examples:
        >>> gradtx.masked(gradtx.add_decoupled_weight_decay(0.1), "kernel$")
        masked(inner=add_decoupled_weight_decay(weight_decay=0.1), mask='kernel$')
    """

    inner: GradientTransformation
    mask: Mask = static()
    otherwise: Annotated[Literal["pass", "freeze"], Choice("pass", "freeze")] = static(
        default="pass", kw_only=True
    )
    mask_compatible_extra_args: bool = static(default=False, kw_only=True)

    def init(self, params: PyTree) -> MaskedState:
        return MaskedState(self.inner.init(_keep(select(self.mask, params), params)))

    def update(
        self, updates: PyTree, state: MaskedState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, MaskedState]:
        mask = select(self.mask, updates if params is None else params)
        mine = None if params is None else _keep(mask, params)
        seen = _restricted(extra, mask, params, self.mask_compatible_extra_args)
        new, inner = self.inner.update(_keep(mask, updates), state.inner, mine, **seen)
        rest = tree.zeros_of(updates) if self.otherwise == "freeze" else updates
        return jax.tree.map(lambda m, n, o: n if m else o, mask, new, rest), MaskedState(inner)


class freeze(GradientTransformation, reach=ENTRY):
    """Set the updates of some leaves, or of all, to zero: their parameters stay as they are.

    Args:
        mask: the leaves to freeze; None is all of them.

    Examples:
        >>> gradtx.chain(gradtx.adam(1e-3), gradtx.freeze("^embedding/"))
        chain(adam(learning_rate=0.001), freeze(mask='^embedding/'))
    """

    mask: Mask | None = static(default=None)

    def update(self, updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, Any]:
        if self.mask is None:
            return tree.zeros_of(updates), state
        frozen = select(self.mask, updates if params is None else params)
        return jax.tree.map(lambda f, u, z: z if f else u, frozen, updates, tree.zeros_of(updates)), state


def _word(label: Any) -> str:
    return label if isinstance(label, str) else shown(label)


class PartitionState(NamedTuple):
    groups: dict[Any, Any]  # the state of each label's transformation, for its leaves


class partition(GradientTransformation, reach=ENTRY):
    """Each leaf goes to the transformation of its label.

    Args:
        transforms: label -> transformation. `freeze()` keeps a group as it is. Labels are texts, or what
            else has a hash and an order among its like.
        labels: the leaf's label: a tree of labels, a function of the parameters, or `by_path`
            rules. Every leaf has one.
        mask_compatible_extra_args: as for `masked`.

    Raises:
        ValueError: a leaf's label has no transformation.

    Examples:
        >>> groups = {"decayed": gradtx.trace(0.9), "rest": gradtx.freeze()}
        >>> tx = gradtx.partition(groups, gradtx.by_path(("kernel$", "decayed"), (".*", "rest")))
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> tx.update(params, tx.init(params))[0]["bias"]
        Array([0., 0.], dtype=float32)
    """

    transforms: Mapping[Any, GradientTransformation]
    labels: Labels = static()
    mask_compatible_extra_args: bool = static(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.transforms, Mapping) or not self.transforms:
            raise TypeError(
                f"partition: transforms must map labels to transformations, not {shown(self.transforms)}."
            )
        try:
            labels = sorted(self.transforms)  # as jax sorts the keys of the state
        except TypeError as error:
            raise TypeError(f"partition: the labels of transforms have no order: {error}.") from None
        checked = {k: part_of("partition", f"transforms[{k!r}]", self.transforms[k]) for k in labels}
        object.__setattr__(self, "transforms", checked)

    def _groups(self, params: PyTree) -> dict[Any, PyTree]:
        """label -> a tree of booleans: the leaves that are its."""
        labels = select(self.labels, params, labels=True)
        flat, structure = jax.tree.flatten(labels)
        for name, label in zip(tree.leaf_names(params), flat, strict=True):
            if label not in self.transforms:
                known, own = list(map(_word, self.transforms)), _word(label)
                raise MismatchError(
                    f"the leaf at {tree.quoted(name)} has the label {shown(label)}, which no transformation "
                    f"has.{nearest(own, known)} Labels: {', '.join(known)}."
                )
        return {k: jax.tree.unflatten(structure, [label == k for label in flat]) for k in self.transforms}

    def init(self, params: PyTree) -> PartitionState:
        if not jax.tree.leaves(params):
            return PartitionState({k: tx.init(params) for k, tx in self.transforms.items()})
        groups = self._groups(params)
        return PartitionState({k: tx.init(_keep(groups[k], params)) for k, tx in self.transforms.items()})

    def update(
        self, updates: PyTree, state: PartitionState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, PartitionState]:
        check_names(state.groups, list(self.transforms))
        groups = self._groups(updates if params is None else params) if jax.tree.leaves(updates) else {}
        out, after = updates, {}
        for k, tx in self.transforms.items():
            mask = groups.get(k, updates)
            mine = None if params is None else _keep(mask, params)
            seen = _restricted(extra, mask, params, self.mask_compatible_extra_args)
            new, after[k] = tx.update(_keep(mask, updates), state.groups[k], mine, **seen)
            out = jax.tree.map(lambda m, n, o: n if m else o, mask, new, out)
        return out, PartitionState(after)
