"""How sensitive is an optimizer to its learning rate? A sweep for SGD, momentum and Adam.

Each optimizer trains a small network on handwritten digits with many learning rates at once: the rate is a
number in the state, and `jax.vmap` maps over it, so that all of them are one compiled program. Prints for
each the width of the range of good learning rates in decades, and saves out/sweep.png.
"""

import pathlib

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradtx

matplotlib.use("agg")
from matplotlib import pyplot

pixels, digits = load_digits(return_X_y=True)  # 1797 scans of 8 x 8 pixels, from 0 to 16
x, x_test, y, y_test = map(jnp.asarray, train_test_split(np.float32(pixels / 16), digits, random_state=0))
STEPS, BATCH = 300, 128
RATES = np.logspace(-5, 1, 49)  # eight to a decade
GOOD = 2.0  # a rate is good if its loss is at most this many times the best
OPTIMIZERS = {"SGD": gradtx.sgd(0.1), "momentum": gradtx.sgd(0.1, momentum=0.9), "Adam": gradtx.adam(0.1)}


def loss(params, x, y):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return -jnp.take_along_axis(
        jax.nn.log_softmax(hidden @ params["w2"] + params["b2"]), y[:, None], 1
    ).mean()


def initial(key):
    first, second = jax.random.split(key)
    w1, w2 = jax.random.normal(first, (64, 32)) / 8, jax.random.normal(second, (32, 10)) / 32**0.5
    return {"w1": w1, "b1": jnp.zeros(32), "w2": w2, "b2": jnp.zeros(10)}


@jax.jit
def batches(key):
    """Each step's examples, the same for all learning rates."""
    return jax.vmap(lambda key: jax.random.randint(key, (BATCH,), 0, len(y)))(jax.random.split(key, STEPS))


START, BATCHES = jax.jit(initial)(jax.random.key(0)), batches(jax.random.key(1))


def train(tx, rate):
    """The loss over digits that it has not seen, after training with one learning rate."""
    state = gradtx.with_hyperparams(tx.init(START), learning_rate=rate)

    def step(carry, rows):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params, x[rows], y[rows]), state, params)
        return (gradtx.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (START, state), BATCHES)
    return loss(params, x_test, y_test)


def sweep(optimizer):
    """The final loss for each of RATES, all trained together."""
    tx = gradtx.tunable(optimizer, "learning_rate")
    return np.asarray(jax.jit(jax.vmap(lambda rate: train(tx, rate)))(jnp.asarray(RATES, jnp.float32)))


def width(losses):
    """How many decades of learning rates are good."""
    good = losses <= GOOD * np.nanmin(losses)
    return good.sum() * np.log10(RATES[1] / RATES[0])


if __name__ == "__main__":
    axes = pyplot.subplots(layout="constrained", figsize=(7, 4))[1]
    print(f"{'':10}{'best loss':>10}{'at rate':>10}{'good range':>14}")
    for (name, optimizer), line in zip(OPTIMIZERS.items(), ("o-", "s--", "^:"), strict=True):
        losses = sweep(optimizer)
        best = np.nanargmin(losses)
        print(f"{name:10}{losses[best]:10.4f}{RATES[best]:10.2g}{width(losses):6.2f} decades")
        axes.loglog(RATES, losses, line, markersize=4, label=f"{name}: {width(losses):.1f} decades")
    axes.set(xlabel="learning rate", ylabel=f"test loss after {STEPS} steps", ylim=(None, 4))
    axes.legend(title=f"loss within {GOOD:g} times the best", loc="lower left")
    pathlib.Path("out").mkdir(exist_ok=True)
    axes.figure.savefig("out/sweep.png", dpi=120)
