"""What is compared: the same step of the same optimizer, by gradtx, by Optax and by torch.

A peer makes, of a problem, something that can `step()`. A step takes gradients that are there and
ends when the new parameters are: in jax one call of a compiled function that writes parameters and
state into their own memory, in torch the optimizer's `step`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx
from benchmarks import by_torch

RATE, MOMENTUM, DECAY, LION_DECAY, NORM = 1e-3, 0.9, 1e-4, 1e-3, 1.0

# name: gradtx's and Optax's, at the same settings, and what torch calls it
OPTIMIZERS: dict[str, tuple[Any, Any, by_torch.Settings | None]] = {
    "sgd, momentum": (
        gradtx.sgd(RATE, MOMENTUM),
        optax.sgd(RATE, MOMENTUM),
        by_torch.Settings("SGD", {"lr": RATE, "momentum": MOMENTUM}),
    ),
    "adamw": (
        gradtx.adamw(RATE, weight_decay=DECAY),
        optax.adamw(RATE, weight_decay=DECAY),
        by_torch.Settings("AdamW", {"lr": RATE, "weight_decay": DECAY}),
    ),
    "clip, adamw": (
        gradtx.chain(gradtx.clip_by_global_norm(NORM), gradtx.adamw(RATE, weight_decay=DECAY)),
        optax.chain(optax.clip_by_global_norm(NORM), optax.adamw(RATE, weight_decay=DECAY)),
        by_torch.Settings("AdamW", {"lr": RATE, "weight_decay": DECAY}, max_norm=NORM),
    ),
    "lion": (
        gradtx.lion(RATE, weight_decay=LION_DECAY),
        optax.lion(RATE, weight_decay=LION_DECAY),
        None,  # torch has none
    ),
}


class Problem(NamedTuple):
    """Leaves of three shapes in turn, that hold `parameters` numbers together."""

    leaves: int
    parameters: int  # wanted; `size` is what rows of 64 make of it

    def shapes(self) -> list[tuple[int, int]]:
        """Of each leaf."""
        rows = self.parameters // self.leaves // 64
        return [(max(1, rows + i % 3 - 1), 64) for i in range(self.leaves)]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(rows * columns for rows, columns in self.shapes())

    def arrays(self, seed: int) -> list[np.ndarray]:
        """Noise around 0 in these shapes; seed 0 is for parameters, 1 for gradients."""
        shapes = self.shapes()
        parts = np.split(
            _noise(seed, self.size), np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        )
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


@functools.lru_cache(maxsize=2)
def _noise(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).random(size, np.float32) - np.float32(0.5)


class Run(Protocol):
    """A problem that can be stepped through."""

    built: dict[str, float]  # seconds that making the step took; {} where nothing is compiled

    def counted(self) -> dict[str, float]:
        """Bytes per parameter that a step moves and needs for itself; {} where they aren't known."""

    def step(self) -> None:
        """Make one step, and wait for the new parameters."""

    def parameters(self) -> list[np.ndarray]:
        """The leaves as they are now."""


class Peer(NamedTuple):
    """One of those that are compared."""

    name: str
    make: Callable[[Problem], Run]


class ByJax:
    """Runs a transformation of gradtx or Optax.

    Args:
        tx: the transformation.
        problem: what it steps through.
        packed: whether parameters, state and gradients lie in `gradtx.packing`'s buffers, for good.
    """

    def __init__(self, tx: Any, problem: Problem, packed: bool = False) -> None:
        params, self._grads = (_tree(problem.arrays(seed)) for seed in (0, 1))
        self._layout = gradtx.packing(params) if packed else None
        if self._layout:
            params, self._grads = self._layout.pack(params), self._layout.pack(self._grads)
        self._now = params, tx.init(params)
        self._step = _step(tx)
        self._size = problem.size
        self._program, self.built = self._build()

    def _build(self) -> tuple[Any, dict[str, float]]:
        clock = [time.perf_counter()]

        def passed() -> float:
            clock.append(time.perf_counter())
            return clock[-1] - clock[-2]

        traced = self._step.trace(*self._now, self._grads)
        times = {"trace": passed()}
        lowered = traced.lower()
        times["lower"] = passed()
        compiled = lowered.compile()  # jit's calls find it
        times["compile"] = passed()
        return compiled, times

    def counted(self) -> dict[str, float]:
        cost = gradtx.traffic(self._program)
        return {"bytes": cost.moved / self._size, "temporary": cost.temporary / self._size}

    def step(self) -> None:
        self._now = self._step(*self._now, self._grads)
        jax.tree.leaves(self._now[0])[0].block_until_ready()  # one program: the others are there with it

    def parameters(self) -> list[np.ndarray]:
        params = self._layout.unpack(self._now[0]) if self._layout else self._now[0]
        return [np.asarray(x) for x in jax.tree.leaves(params)]


def forget() -> None:
    """Make the next trace and compilation first ones."""
    jax.clear_caches()


def _tree(leaves: list[np.ndarray]) -> dict[str, jax.Array]:
    return {f"leaf{i:05}": jnp.array(x) for i, x in enumerate(leaves)}


def _step(tx: Any) -> Any:
    apply = gradtx.apply_updates if isinstance(tx, gradtx.GradientTransformation) else optax.apply_updates

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return apply(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def peers(optimizer: str, packed: bool = False) -> Sequence[Peer]:
    """Those that have this optimizer; the first is gradtx, and the others are compared with it.

    Args:
        optimizer: a name of OPTIMIZERS.
        packed: also over packed parameters.
    """
    ours, optaxs, torchs = OPTIMIZERS[optimizer]
    found = [
        Peer("gradtx", lambda problem: ByJax(ours, problem)),
        Peer("optax", lambda problem: ByJax(optaxs, problem)),
    ]
    if packed:
        found += [
            Peer("gradtx, packed", lambda problem: ByJax(ours, problem, packed=True)),
            Peer("optax, packed", lambda problem: ByJax(optaxs, problem, packed=True)),
        ]
    if torchs is not None and by_torch.missing() is None:
        found += [
            Peer(f"torch, {kind}", lambda problem, kind=kind: by_torch.ByTorch(torchs, kind, problem))
            for kind in by_torch.KINDS
        ]
    return found
