"""XLA, told to be quick, for tests that compile much and ask for no bits."""

from __future__ import annotations

import functools

import jax


@functools.cache
def quick() -> dict[str, bool]:
    """Options of `jax.jit` for compiling in a third of the time; none where XLA does not know them.

    The newer emitters of kernels for CPU set up a compiler for each kernel. Without them a result may be
    rounded apart in its last digits.
    """
    options = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
