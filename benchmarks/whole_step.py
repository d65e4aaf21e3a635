"""Memory that a whole training step needs beside parameters and state, with each kind of clipping.

    python -m benchmarks.whole_step                 compiled for CPU
    python -m benchmarks.whole_step h100 tpu-v5e    compiled for those; needs the extra `aot`

Nothing runs and nothing is timed: the step (loss, gradients, optimizer, new parameters) of a network
of 32 equal layers is compiled, and its temporary memory read off. The batch is small, so that it is
all gradients and what is made of them. The 4 bytes per parameter of a gradient need not all be there
at once: a layer's part can be used before the next layer's is made, unless something waits for all.
Activations are 4 · BATCH / WIDTH bytes per parameter of it, 0.125 at a width of 256.

Twice: with a leaf for each layer, and with the layers stacked in one leaf and scanned over. There
backpropagation itself returns all layers' gradients at once, and no clip can change that.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import gradtx

RATE, LAYERS, WIDTH, BATCH = 1e-3, 32, 256, 8


class Row(NamedTuple):
    """What is compiled."""

    name: str
    make: Callable[[], Any]  # the optimizer, of gradtx or Optax
    waits: bool  # whether a step needs the gradients of all leaves before the first can be used


def _behind(*clip: Any) -> Any:
    return gradtx.chain(*clip, gradtx.adamw(RATE))


ROWS = (
    Row("adamw", _behind, waits=False),
    Row("clip_by_block_rms, adamw", lambda: _behind(gradtx.clip_by_block_rms(1.0)), waits=False),
    Row("adaptive_grad_clip, adamw", lambda: _behind(gradtx.adaptive_grad_clip(0.01)), waits=False),
    Row("clip_by_lagged_norm, adamw", lambda: _behind(gradtx.clip_by_lagged_norm(1.0)), waits=False),
    Row("leafwise_zclip, adamw", lambda: _behind(gradtx.leafwise_zclip()), waits=False),
    Row("stable_adamw", lambda: gradtx.stable_adamw(RATE), waits=False),
    Row("clip_by_global_norm, adamw", lambda: _behind(gradtx.clip_by_global_norm(1.0)), waits=True),
    Row("zclip, adamw", lambda: _behind(gradtx.zclip()), waits=True),
    Row("optax: adamw", lambda: optax.adamw(RATE), waits=False),
    Row(
        "optax: clip_by_global_norm, adamw",
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE)),
        waits=True,
    ),
)


def parameters(layers: int, width: int, stacked: bool) -> dict[str, Any]:
    """Shapes: a matrix and a vector for each layer, or one of each for all."""

    def layer(*more: int) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = {"kernel": (*more, width, width), "bias": (*more, width)}
        return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}

    return layer(layers) if stacked else {f"layer{i:02}": layer() for i in range(layers)}


def _layer(x: jax.Array, params: Any) -> jax.Array:
    return jnp.tanh(x @ params["kernel"] + params["bias"][None])


def loss(params: Any, x: jax.Array) -> jax.Array:
    """The mean square of what comes out of the last layer."""
    if "kernel" in params:
        x, _ = jax.lax.scan(lambda x, layer: (_layer(x, layer), None), x, params)
    else:
        for name in sorted(params):
            x = _layer(x, params[name])
    return jnp.mean(jnp.square(x))


def temporary(
    tx: Any,
    layers: int = LAYERS,
    width: int = WIDTH,
    stacked: bool = False,
    compiled: Callable[..., Any] = lambda step, *shapes: step.lower(*shapes).compile(),
) -> float:
    """Temporary bytes per parameter of one step of `tx`, parameters and state donated."""
    params = parameters(layers, width, stacked)
    state = jax.eval_shape(tx.init, params)
    batch = jax.ShapeDtypeStruct((BATCH, width), jnp.float32)
    program = compiled(gradtx.make_train_step(loss, tx), params, state, batch)
    return gradtx.traffic(program).temporary / sum(math.prod(p.shape) for p in jax.tree.leaves(params))


def rows(target: str = "cpu", width: int = WIDTH) -> list[dict[str, Any]]:
    """The table, a dictionary for each row.

    Args:
        target: "cpu", or one for which `tests.aot` can compile.
        width: of each of the 32 layers. Small gradients stay in a TPU's own memory, and do not count.
    """
    more: dict[str, Any] = {"width": width}
    if target != "cpu":
        from tests.aot.targets import compile_for

        more["compiled"] = lambda step, *shapes: compile_for(target, step, *shapes)
    table = []
    for row in ROWS:
        tx = row.make()
        table.append(
            {
                "what": row.name,
                "target": target,
                "waits": row.waits,
                "temporary": temporary(tx, **more),
                "temporary, stacked": temporary(tx, stacked=True, **more),
            }
        )
    return table


def main(targets: list[str]) -> None:
    """Print the table for each target."""
    for target in targets or ["cpu"]:
        width = WIDTH if target == "cpu" else 2048
        print(f"\nTemporary bytes per parameter, {LAYERS} layers of {width}, compiled for {target}")
        print(f"{'':36} {'a leaf per layer':>16} {'stacked':>8}")
        for row in rows(target, width):
            print(f"{row['what']:36} {row['temporary']:16.2f} {row['temporary, stacked']:8.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
