"""Estimates of the Hessian's diagonal, as transformations: they return it in place of the updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.extras import arguments_of
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.keys import Key, first_key, next_key
from gradtx.values.kinds import Choice
from gradtx.values.value import static

__all__ = ["gauss_newton_bartlett_diag_hessian", "hutchinson_estimator_diag_hessian"]


class EstimatorState(NamedTuple):
    key: jax.Array  # uint32, of the shape that the default generator's keys have


class hutchinson_estimator_diag_hessian(GradientTransformation, reach=TREE, passes_on=("obj_fn",)):
    """z ⊙ H z for a random z of independent entries with variance 1: its mean is the diagonal of H.

    The Hessian is that of `obj_fn` at the parameters; with a z of signs the estimate is exact where H is
    diagonal. It costs about two gradients:

        tx.update(grads, state, params, obj_fn=lambda params: loss(params, batch))

    Arguments that `obj_fn` takes by name besides the parameters are passed on to it. Under shard_map or
    pmap each device has an estimate of its own batch: let obj_fn average over devices.

    Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
    splines", 1990. Liu et al., "Sophia", 2023, algorithm 1, draws z from a normal distribution.
    https://arxiv.org/abs/2305.14342

    Args:
        random_seed: a whole number or a key of jax.random; None is 0.
        distribution: of z: 'rademacher', signs, which have the least variance, or 'normal'.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `obj_fn` is missing.
    """

    random_seed: Key | None = static(default=None)
    distribution: Annotated[Literal["rademacher", "normal"], Choice("rademacher", "normal")] = static(
        default="rademacher", kw_only=True
    )

    def init(self, params: PyTree) -> EstimatorState:
        return EstimatorState(first_key(self.random_seed or 0))

    def update(
        self,
        updates: PyTree,
        state: EstimatorState,
        params: PyTree | None = None,
        *,
        obj_fn: Callable[..., Any],
        **extra: Any,
    ) -> tuple[PyTree, EstimatorState]:
        params = need_params(self, params)
        given = arguments_of(obj_fn, extra)
        after, key = next_key(state.key)
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, max(len(leaves), 1))
        draw = jax.random.rademacher if self.distribution == "rademacher" else jax.random.normal
        z = [draw(k, p.shape, _wide(p)).astype(p.dtype) for k, p in zip(keys, leaves, strict=False)]
        z = jax.tree.unflatten(structure, z)
        _, curved = jax.jvp(jax.grad(lambda p: obj_fn(p, **given)), (params,), (z,))
        return jax.tree.map(jnp.multiply, tree.widen(z), tree.widen(curved)), EstimatorState(after)


def _wide(param: Any) -> Any:
    return numerics.wide_dtype(jnp.result_type(param))


class gauss_newton_bartlett_diag_hessian(GradientTransformation, reach=TREE):
    """B ĝ ⊙ ĝ, where ĝ is the gradient of the mean loss of labels that the model itself draws.

    Its mean is the diagonal of the Gauss-Newton matrix, never negative. It costs one gradient:

        def sampled(params, key):  # mean over the batch
            logits = model(params, x)
            return cross_entropy(logits, jax.random.categorical(key, jax.lax.stop_gradient(logits))).mean()

        tx.update(grads, state, params, sampled_obj_fn=sampled, batch_size=len(x))

    Liu et al., "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
    2023, algorithm 2. https://arxiv.org/abs/2305.14342

    Args:
        random_seed: a whole number or a key of jax.random; None is 0.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `sampled_obj_fn` or `batch_size` is missing.
    """

    random_seed: Key | None = static(default=None)

    def init(self, params: PyTree) -> EstimatorState:
        return EstimatorState(first_key(self.random_seed or 0))

    def update(
        self,
        updates: PyTree,
        state: EstimatorState,
        params: PyTree | None = None,
        *,
        sampled_obj_fn: Callable[[PyTree, jax.Array], Any],
        batch_size: Any,
    ) -> tuple[PyTree, EstimatorState]:
        params = need_params(self, params)
        after, key = next_key(state.key)
        grad = tree.widen(jax.grad(sampled_obj_fn)(params, key))
        size = jnp.asarray(batch_size, float)
        return jax.tree.map(lambda g: numerics.times(numerics.abs_sq(g), size), grad), EstimatorState(after)
