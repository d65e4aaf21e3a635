"""Ivgi, Hinder & Carmon, "DoG is SGD's Best Friend", 2023: L-DoG, which is DoG leaf by leaf."""

from __future__ import annotations

import gradtx
from tests.reference.case import Case, bind
from tests.reference.dog import GROWS, dog


def layerwise(theta, gradient, steps, **numbers):
    """Each leaf goes its way alone: its gradient does not depend on the others."""

    def alone(i):
        def own(leaf, t):
            return [gradient([*theta[:i], *leaf, *theta[i + 1 :]], t)[i]]

        return dog([theta[i]], own, steps, **numbers)

    paths = [alone(i) for i in range(len(theta))]
    return [[leaf for (leaf,) in step] for step in zip(*paths, strict=True)]


CASES = [
    Case(
        "scale_by_distance_over_gradients",
        gradtx.scale_by_distance_over_gradients(global_scale=-1.0),
        bind(layerwise),
        **GROWS,
        not_optax="Optax divides by a norm of shape (1,), which makes a vector of a scalar leaf",
    ),
    Case(
        "scale_by_distance_over_gradients-numbers",
        gradtx.scale_by_distance_over_gradients(1e-3, 1e-4, "float32", -0.5),
        bind(layerwise, number=1e-3, eps=1e-4, learning_rate=0.5),
        **GROWS,
        not_optax="as above",
    ),
]
