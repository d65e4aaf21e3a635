"""A program that uses gradtx, as its type checker sees it. Never run: `tests/test_types.py` gives it to mypy
and pyright, both strict, away from the sources, so that gradtx is an installed package for them.

Each line that must be flagged ends in mypy's code for it and pyright's rule; all other lines must pass.
"""

import jax
import jax.numpy as jnp

import gradtx
from gradtx import adamw, chain, cosine_decay_schedule
from gradtx.atoms import absolute, offset
from gradtx.contract import Composite, Rate
from gradtx.layouts import layerwise
from gradtx.matrices import newton_schulz
from gradtx.reports import MemoryReport
from gradtx.schedules import linear_schedule
from gradtx.telemetry import share_moved
from gradtx.training import look_ahead

schedule = cosine_decay_schedule(1e-3, 100)
tx = chain(gradtx.clip_by_global_norm(1.0), adamw(schedule, weight_decay=0.1, mask="kernel$"))
params = {"kernel": jax.random.normal(jax.random.key(0), (2, 3))}
state = tx.init(params)
updates, state = tx.update(params, state, params)
params = gradtx.apply_updates(params, updates)
ahead = look_ahead(tx, state, params)


def loss(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.sum(params["kernel"] * x)


class halved(Composite):
    """A composite of one's own."""

    learning_rate: Rate

    def expand(self) -> gradtx.GradientTransformation:
        return chain(gradtx.scale(0.5), gradtx.scale_by_learning_rate(self.learning_rate))


step = gradtx.make_step(halved(schedule))
train_step = gradtx.make_train_step(loss, gradtx.adam(1e-3))
report: MemoryReport = gradtx.memory_report(tx, params)
print(report, gradtx.explain(tx), gradtx.cite(tx), gradtx.to_json(tx), layerwise, newton_schulz, share_moved)
again = gradtx.adam(1e-3).replace(b1=0.8).b1
small = gradtx.chain(gradtx.atoms.absolute(), absolute(), offset(1.0))
moved = gradtx.tree.global_norm(params) + gradtx.schedules.linear_schedule(1.0, 0.0, 10)(3)
rate = linear_schedule(1e-3, 0.0, 100)
print(gradtx.plot.schedules, gradtx.laws.LAWS, gradtx.gallery.CLASSICS, gradtx.check_transformation(tx))

gradtx.adamm(1e-3)  # error: attr-defined reportAttributeAccessIssue
gradtx.MultiSteps(tx, 2)  # error: attr-defined reportAttributeAccessIssue
gradtx.matrices.newton(params)  # error: attr-defined reportAttributeAccessIssue
print(gradtx.registry)  # error: attr-defined reportAttributeAccessIssue
adamw(1e-3, beta1=0.9)  # error: call-arg reportCallIssue
adamw("fast")  # error: arg-type reportArgumentType
chain(tx, 3)  # error: arg-type reportArgumentType
linear_schedule(1.0)  # error: call-arg reportCallIssue
print(report.nothing)  # error: attr-defined reportAttributeAccessIssue
halved()  # error: call-arg reportCallIssue
