"""Read handwritten digits with a small Flax network and an optimizer chained from its pieces.

Prints the optimizer, trains with it and with two AdamWs to compare, and saves out/flax_digits.png.
"""

import functools
import pathlib

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import gradtx as gx

EPOCHS, BATCH = 12, 64
pixels, digits = load_digits(return_X_y=True)  # 1797 scans of 8 x 8 pixels, from 0 to 16
pixels, digits = (pixels.reshape(-1, 8, 8, 1) / 16).astype(np.float32), digits.astype(np.int32)
x, x_test, y, y_test = train_test_split(pixels, digits, test_size=360, random_state=0, stratify=digits)
STEPS = EPOCHS * (len(x) // BATCH)
RATE = gx.warmup_cosine_decay_schedule(0.0, 3e-3, warmup_steps=STEPS // 10, decay_steps=STEPS)


def from_pieces():
    return gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.ratio(gx.momentum(0.9), gx.rms(0.999), eps=1e-8),  # Adam's direction, bias-corrected
        gx.add_decoupled_weight_decay(0.1, mask="kernel$"),
        gx.scale_by_learning_rate(RATE),
    )


def optax_adamw():
    kernels = functools.partial(jax.tree_util.tree_map_with_path, lambda path, _: path[-1].key == "kernel")
    return optax.adamw(RATE, weight_decay=0.1, mask=kernels)


class Reader(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (16, 32):
            x = nn.relu(nn.Conv(features, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
        return nn.Dense(10)(nn.relu(nn.Dense(64)(x)))


@jax.jit
def initial():
    return Reader().init(jax.random.key(0), x[:1])["params"]


@jax.jit
def loss_and_accuracy(params, x, y):
    logits = Reader().apply({"params": params}, x)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    return loss, (logits.argmax(-1) == y).mean()


def train(name, build):
    """Per epoch: the training loss, the test loss, the test accuracy; then state bytes and traces."""
    traces, history, rng = [], [], np.random.default_rng(0)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, y):
        traces.append(name)  # runs only while jit traces: once per compilation
        (loss, _), grads = jax.value_and_grad(loss_and_accuracy, has_aux=True)(state.params, x, y)
        return state.apply_gradients(grads=grads), loss

    state = TrainState.create(apply_fn=None, params=initial(), tx=build())
    for epoch in (bar := tqdm(range(EPOCHS), desc=f"{name:12}", unit="epoch")):
        if epoch == EPOCHS // 2:
            state = state.replace(tx=build())  # built again, as by a job that was resumed
        losses = []
        for batch in rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            state, loss = step(state, x[batch], y[batch])
            losses.append(loss)
        history.append([np.mean(losses), *loss_and_accuracy(state.params, x_test, y_test)])
        bar.set_postfix(accuracy=f"{history[-1][-1]:.1%}")
    return np.array(history).T, sum(s.nbytes for s in jax.tree.leaves(state.opt_state)), len(traces)


def draw(runs, path):
    figure, (loss, accuracy, rate) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    looks = [("#0072B2", "-", 2.0), ("#E69F00", "-", 4.5), ("black", ":", 2.0)]  # Okabe & Ito's colours
    epochs = np.arange(1, EPOCHS + 1)
    for (name, ((train_loss, _, right), *_)), (color, line, width) in zip(runs.items(), looks, strict=True):
        loss.semilogy(epochs, train_loss, line, color=color, lw=width, label=name)
        accuracy.plot(epochs, 100 * right, line, color=color, lw=width, label=name)
    rate.plot(np.arange(STEPS) * EPOCHS / STEPS, 1000 * jax.vmap(RATE)(np.arange(STEPS)), color="black")
    accuracy.set(title="Test accuracy", ylabel="test scans read right, %", ylim=(90, 100))
    loss.set(title="Training loss", ylabel="cross-entropy, mean of the epoch")
    rate.set(title="Learning rate of all three", ylabel="thousandths")
    for axes in (loss, accuracy, rate):
        axes.set(xlabel="epoch", xlim=(0, EPOCHS), xticks=range(0, EPOCHS + 1, 4))
        axes.grid(alpha=0.3)
    loss.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    plt.switch_backend("Agg")
    print(from_pieces())
    assert eval(repr(from_pieces()), vars(gx)) == from_pieces()  # it prints as its own source
    gradtx_adamw = functools.partial(gx.adamw, RATE, weight_decay=0.1, mask="kernel$")
    builds = {"from pieces": from_pieces, "gradtx.adamw": gradtx_adamw, "optax.adamw": optax_adamw}
    runs = {name: train(name, build) for name, build in builds.items()}
    draw(runs, pathlib.Path("out/flax_digits.png"))
    print(f"{'':12}  accuracy    loss  state bytes  traces")
    for name, (history, state_bytes, traces) in runs.items():
        _, loss, accuracy = history[:, -1]
        print(f"{name:12}  {accuracy:8.1%}  {loss:.4f}  {state_bytes:11,}  {traces:6}")
    if runs["from pieces"][0][2, -1] < 0.97:
        raise SystemExit("from pieces: the test accuracy is below 97%")
