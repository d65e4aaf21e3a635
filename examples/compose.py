"""Write an optimizer that gradtx does not have, check it against the contract, train with it."""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import gradtx as gx
from gradtx.contract import Decay, NonNegative, Rate


class layerwise_laprop(gx.Composite):
    """LaProp, each layer's step as long as its weights: u = momentum(g / rms(g)); θ -= λ u ‖θ‖ / ‖u‖."""

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.99
    eps: NonNegative = 1e-8

    def expand(self):
        direction = gx.chain(gx.ratio(gx.identity(), gx.rms(self.b2), self.eps), gx.momentum(self.b1))
        rate = gx.scale_by_learning_rate(self.learning_rate)
        return gx.chain(direction, gx.scale_by_trust_ratio(), rate)


if __name__ == "__main__":
    tx = layerwise_laprop(gx.cosine_decay_schedule(0.03, 200))
    print(tx.expand())
    print(gx.check_transformation(tx))

    x, digit = load_digits(return_X_y=True)  # 1797 scans of 8 x 8 pixels, from 0 to 16
    x, target = jnp.asarray(x / 16, jnp.float32), jax.nn.one_hot(digit, 10)

    def loss(params):
        hidden = jnp.tanh(x @ params["hidden"])
        return -(target * jax.nn.log_softmax(hidden @ params["logits"])).sum(1).mean()

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, value

    first, second = jax.random.split(jax.random.key(0))
    params = {
        "hidden": 0.1 * jax.random.normal(first, (64, 32)),
        "logits": 0.1 * jax.random.normal(second, (32, 10)),
    }
    state = tx.init(params)
    for i in range(201):
        params, state, value = step(params, state)
        if i % 50 == 0:
            print(f"step {i:3}: loss {value:.3f}")
    if value > 0.1:
        raise SystemExit("the loss did not fall below 0.1")
