"""What XLA is told where tests compile: to be quick, but for bits as it is told by default."""

from __future__ import annotations

import importlib.metadata
from typing import Any

__all__ = ["AS_BY_DEFAULT", "QUICK", "flags", "share_contexts"]

# The newer emitters for CPU set up a compiler for each kernel, a third of all the time that XLA takes;
# those before them may round the last digit apart. jax 0.12 has no others, and does not know the flag.
_EMITTERS = "xla_cpu_use_fusion_emitters"
_HAS_OTHERS = importlib.metadata.version("jaxlib").startswith("0.10.")

QUICK: dict[str, bool | int] = {"xla_backend_optimization_level": 0} | (
    {_EMITTERS: False} if _HAS_OTHERS else {}
)
"""Tests compile far more than they run; LLVM's quickest pipeline saves a quarter."""

AS_BY_DEFAULT: dict[str, bool | int] = {_EMITTERS: True} if _HAS_OTHERS else {}
"""`compiler_options` for programs of which bits are compared, or what float32 can hold."""


def flags(options: dict[str, bool | int]) -> str:
    """As XLA_FLAGS has them."""
    return " ".join(f"--{name}={value}".lower() for name, value in options.items())


def share_contexts() -> None:
    """Let 200 programs share what MLIR sets up for each: a third of what an operation by itself takes.

    Not for ever, because a context keeps the constants of all its programs. There is no setting for it:
    where jax has no such function any more, each program is lowered as it is for users.
    """
    from jax._src.interpreters import mlir  # after the flags

    make = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    uses, context = 0, None

    def shared() -> Any:
        nonlocal uses, context
        if uses % 200 == 0:
            context = make()
        uses += 1
        return context

    mlir.make_ir_context = shared
