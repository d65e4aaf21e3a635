"""Private learning: gradients of single examples, each clipped, and their sum with noise.

    ḡ = (Σᵢ gᵢ min(1, C / ‖gᵢ‖) + N(0, σ² C² I)) / B        over B examples

Abadi et al., "Deep Learning with Differential Privacy", 2016, algorithm 1. https://arxiv.org/abs/1607.00133

What is given here has a leading axis of examples in every leaf, `jax.vmap(jax.grad(loss), (None, 0))`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.noise import with_noise
from gradtx.contract.hyperparameters import NonNegative
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.keys import Key, first_key
from gradtx.values.value import static

__all__ = ["differentially_private_aggregate", "per_example_global_norm_clip", "per_example_layer_norm_clip"]


def per_example_global_norm_clip(grads: PyTree, l2_norm_clip: Any) -> tuple[PyTree, jax.Array]:
    """The sum of the examples' gradients, each scaled so that its norm is at most C; how many were above.

    Summed in at least float32, and rounded once to the gradients' dtypes. A NaN stays one; what is
    infinite becomes one.

    Abadi et al., "Deep Learning with Differential Privacy", 2016, algorithm 1. https://arxiv.org/abs/1607.00133

    Args:
        grads: a tree whose leaves have a leading axis of examples.
        l2_norm_clip: C, at least 0; infinity clips nothing.

    Raises:
        ValueError: a leaf has no such axis, or not as many examples as the others; with its path.
    """
    tree.one_example(grads)
    wide = jax.tree.map(lambda g: numerics.cast(g, numerics.wide_dtype(_inexact(g))), grads)
    norms = jax.vmap(tree.global_norm)(wide) if jax.tree.leaves(wide) else jnp.zeros(0)
    limit = jnp.asarray(l2_norm_clip, norms.dtype)
    above = norms > limit
    factors = jnp.where(above, limit / jnp.where(above, norms, jnp.ones_like(norms)), jnp.ones_like(norms))

    def total(g: jax.Array, like: jax.Array) -> jax.Array:
        # A sum, not a product of matrices, whose precision an accelerator cuts.
        weights = factors.reshape(-1, *(1,) * (g.ndim - 1))
        return numerics.cast(jnp.sum(numerics.times(g, weights), axis=0), _inexact(like))

    return jax.tree.map(total, wide, grads), jnp.sum(above, dtype=jnp.int32)


def _inexact(x: Any) -> Any:
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.dtype(jnp.float32)


def per_example_layer_norm_clip(
    grads: PyTree, global_l2_norm_clip: Any, uniform: bool = True
) -> tuple[PyTree, PyTree]:
    """The same leaf by leaf: each has a share of C, whose squares sum to C².

    McMahan et al., "Learning Differentially Private Recurrent Language Models", 2018.
    https://arxiv.org/abs/1710.06963

    Args:
        grads: a tree whose leaves have a leading axis of examples.
        global_l2_norm_clip: C, at least 0.
        uniform: C / √K for each of K leaves; False gives a leaf C √(its share of all entries).

    Returns:
        The sums, and for each leaf how many examples were above its share.

    Raises:
        ValueError: a leaf has no axis of examples, or not as many as the others; with its path.
    """
    leaves = jax.tree.leaves(grads)
    structure: Any = jax.tree.structure(grads)  # jax has no types for treedefs
    sizes = [x.size for x in jax.tree.leaves(tree.one_example(grads))]
    shares = [1 / len(leaves) if uniform else size / max(sum(sizes), 1) for size in sizes]
    clipped = [
        per_example_global_norm_clip(g, global_l2_norm_clip * share**0.5)
        for g, share in zip(leaves, shares, strict=True)
    ]
    return structure.unflatten([g for g, _ in clipped]), structure.unflatten([n for _, n in clipped])


class DifferentiallyPrivateAggregateState(NamedTuple):
    key: jax.Array  # uint32: the key of the next noise, as in `add_noise`


class differentially_private_aggregate(GradientTransformation, reach=TREE, per_example=True):
    """The mean of the examples' gradients, each clipped to C, with noise of deviation σ C / B.

    Stands first: it takes gradients of single examples, whose leaves have a leading axis that its
    updates have lost. What adds up or averages gradients before it would undo its promise, so only chains,
    composites and `tunable` hand such gradients on; elsewhere their shapes are refused.

    Abadi et al., "Deep Learning with Differential Privacy", 2016, algorithm 1. https://arxiv.org/abs/1607.00133

    Args:
        l2_norm_clip: C, at least 0: the norm to which each example's gradient is clipped.
        noise_multiplier: σ, at least 0; what it is worth in ε and δ an accountant says.
        key: a whole number or a key of jax.random. The same key gives the same noise.
    """

    l2_norm_clip: NonNegative
    noise_multiplier: NonNegative
    key: Key = static()

    def init(self, params: PyTree) -> DifferentiallyPrivateAggregateState:
        return DifferentiallyPrivateAggregateState(first_key(self.key))

    def update(
        self, updates: PyTree, state: DifferentiallyPrivateAggregateState, params: PyTree | None = None
    ) -> tuple[PyTree, DifferentiallyPrivateAggregateState]:
        total, _ = per_example_global_norm_clip(updates, self.l2_norm_clip)
        clip, multiplier = (jnp.asarray(x, float) for x in (self.l2_norm_clip, self.noise_multiplier))
        leaves, structure = jax.tree.flatten(total)
        # The keys are Optax's, and so is the noise.
        after, *keys = jax.random.split(jax.random.wrap_key_data(state.key), len(leaves) + 1)
        sums = jax.tree.unflatten(structure, with_noise(leaves, clip * multiplier, keys))
        examples = max([x.shape[0] for x in jax.tree.leaves(updates)], default=1)
        mean = jax.tree.map(lambda s: s / max(examples, 1), sums)
        return mean, DifferentiallyPrivateAggregateState(jax.random.key_data(after))
