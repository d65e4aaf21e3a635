"""Read handwritten digits with Flax nnx: the job of flax_digits.py, shorter."""

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import gradtx as gx

EPOCHS, BATCH = 12, 64
pixels, digits = load_digits(return_X_y=True)  # 1797 scans of 8 x 8 pixels, from 0 to 16
pixels, digits = (pixels.reshape(-1, 8, 8, 1) / 16).astype(np.float32), digits.astype(np.int32)
x, x_test, y, y_test = train_test_split(pixels, digits, test_size=360, random_state=0, stratify=digits)
STEPS = EPOCHS * (len(x) // BATCH)


class Reader(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 32, 64, rngs=rngs)
        self.logits = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.second(nnx.relu(self.first(x)))), (2, 2), (2, 2))
        return self.logits(nnx.relu(self.hidden(x.reshape(len(x), -1))))


@nnx.jit
def step(model, optimizer, x, y):
    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    optimizer.update(model, nnx.grad(loss)(model))


if __name__ == "__main__":
    tx = gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.ratio(gx.momentum(0.9), gx.rms(0.999), eps=1e-8),  # Adam's direction, bias-corrected
        gx.add_decoupled_weight_decay(0.1, mask="kernel$"),
        gx.scale_by_learning_rate(gx.warmup_cosine_decay_schedule(0.0, 3e-3, STEPS // 10, STEPS)),
    )
    print(tx)
    model, rng = Reader(nnx.Rngs(0)), np.random.default_rng(0)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for _ in tqdm(range(EPOCHS), unit="epoch"):
        for batch in rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            step(model, optimizer, x[batch], y[batch])
    logits = nnx.jit(lambda model: model(x_test))(model)
    accuracy = (jax.device_get(logits).argmax(-1) == y_test).mean()
    print(f"test accuracy {accuracy:.1%}")
    if accuracy < 0.97:
        raise SystemExit("the test accuracy is below 97%")
