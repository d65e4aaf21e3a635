"""Does reinforcement learning with a verifiable reward move few parameters, and is SGD enough for it?

A small network that answers right with a chance of about 0.7 is trained further by policy gradients: 16
answers for each of 64 questions, a reward of 1 for the right one, and the mean of the question's rewards as
the baseline. All learning rates of an optimizer are one compiled program. Prints, for parameters in float32
and in bfloat16, the chance of a right answer after 200 steps, and the share of parameters that moved by
more than 1e-5.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import gradtx

INPUTS, HIDDEN, ANSWERS, STEPS, QUESTIONS, TRIES = 32, 128, 8, 200, 64, 16
OPTIMIZERS = {
    "SGD": (gradtx.sgd(0.1), (0.01, 0.1, 1.0, 10.0)),
    "AdamW": (gradtx.adamw(1e-3), (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
}


def draw(key):
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (INPUTS, HIDDEN)) / INPUTS**0.5,
        "w2": jax.random.normal(second, (HIDDEN, ANSWERS)) / HIDDEN**0.5,
    }


TEACHER = draw(jax.random.key(0))


def log_chances(params, x):
    x = x.astype(params["w1"].dtype)
    return jax.nn.log_softmax((jnp.tanh(x @ params["w1"]) @ params["w2"]).astype(jnp.float32))


def of_right_answer(params, x):
    right = jnp.argmax(log_chances(TEACHER, x), -1)
    return jnp.take_along_axis(log_chances(params, x), right[:, None], 1), right


def supervised(params, x, key):
    return -of_right_answer(params, x)[0].mean()


def reinforced(params, x, key):
    log_chance, right = log_chances(params, x), of_right_answer(TEACHER, x)[1]
    answers = jax.random.categorical(key, log_chance[None], shape=(TRIES, QUESTIONS))
    reward = (answers == right[None]).astype(jnp.float32)
    advantage = reward - reward.mean(0, keepdims=True)
    said = jnp.take_along_axis(log_chance, answers.T, 1).T
    return -(advantage * said).mean()


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(loss, tx, params, rates, questions, keys):
    tx = gradtx.tunable(tx, "learning_rate")

    def step(carry, given):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params, *given), state, params)
        return (gradtx.apply_updates(params, updates), state), None

    def at(rate):
        state = gradtx.with_hyperparams(tx.init(params), learning_rate=rate)
        return jax.lax.scan(step, (params, state), (questions, keys))[0][0]

    return jax.vmap(at)(rates)


@jax.jit
def measured(before, trained, x):
    """For each of the trained networks, the chance of a right answer and the share of parameters moved."""

    def one(after):
        return jnp.exp(of_right_answer(after, x)[0]).mean(), gradtx.share_moved(before, after, 1e-5)

    return jax.vmap(one)(trained)


if __name__ == "__main__":
    questions = jax.random.normal(jax.random.key(1), (STEPS, QUESTIONS, INPUTS))
    test = jax.random.normal(jax.random.key(2), (2000, INPUTS))
    keys = jax.random.split(jax.random.key(3), STEPS)
    start = draw(jax.random.key(4))
    base = train(supervised, gradtx.adam(1e-3), start, jnp.array([3e-3]), questions, keys)
    print(f"before: {measured(start, base, test)[0][0]:.3f}")
    for dtype in ("float32", "bfloat16"):
        before = jax.tree.map(lambda w, dtype=dtype: w[0].astype(dtype), base)
        for name, (tx, rates) in OPTIMIZERS.items():
            trained = train(reinforced, tx, before, jnp.array(rates), questions, keys)
            for rate, chance, share in zip(
                rates, *map(np.asarray, measured(before, trained, test)), strict=True
            ):
                print(f"{dtype:9}{name:6} λ = {rate:<7g} right {chance:.3f}  moved {100 * share:7.3f}%")
