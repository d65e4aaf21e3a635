"""A program that uses the drop-in, as its type checker sees it. Never run: see `program.py`."""

import jax

from gradtx.interop import optax
from gradtx.interop.optax import contrib, transforms
from gradtx.interop.optax.schedules import cosine_decay_schedule

params = {"w": jax.random.normal(jax.random.key(0), (2, 3))}
tx = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(cosine_decay_schedule(1e-3, 100), weight_decay=0.1)
)
state = tx.init(params)
updates, state = tx.update(params, state, params)
params = optax.apply_updates(params, updates)
optax.adamw(1e-3).replace(b1=0.8)
optax.multi_transform({"w": optax.sgd(1e-3)}, {"w": "w"})
print(contrib.adopt(1e-3), optax.contrib.muon(1e-3), transforms.trace(0.9), optax.schedules.linear_schedule)
print(optax.whose("adam"), optax.as_optax(tx), optax.MultiSteps(tx, 2).init(params))

optax.adamm(1e-3)  # error: attr-defined reportAttributeAccessIssue
optax.adamw()  # error: call-arg reportCallIssue
optax.adam(1e-3, beta1=0.9)  # error: call-arg reportCallIssue
optax.adam("fast")  # error: arg-type reportArgumentType
optax.contrib.adopted(1e-3)  # error: attr-defined reportAttributeAccessIssue
contrib.adopt()  # error: call-arg reportCallIssue
transforms.trace("slow")  # error: arg-type reportArgumentType
optax.ema()  # error: call-arg reportCallIssue
