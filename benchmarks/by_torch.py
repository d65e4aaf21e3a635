"""torch's optimizers as peers, where torch is installed and jax runs on the CPU, as torch does here."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

KINDS = ("fused", "foreach")  # one kernel for all that is done to a leaf; one operation for all leaves


def missing() -> str | None:
    """Why there are no rows of torch, or None where there are."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "torch is not installed: its rows are left out (pip install 'gradtx[benchmarks]')"
    if jax.default_backend() != "cpu":
        return f"jax runs on {jax.default_backend()}, and torch would on the CPU: its rows are left out"
    return None


class Settings(NamedTuple):
    """An optimizer as torch names it."""

    name: str  # in torch.optim
    options: dict[str, Any]
    max_norm: float | None = None  # for clip_grad_norm_, which comes before it

    def over(self, params: Any, kind: str) -> Any:
        """The optimizer of these parameters."""
        import torch

        return getattr(torch.optim, self.name)(params, **self.options, **{kind: True})


class ByTorch:
    """Runs an optimizer of torch, over parameters that hold their gradients."""

    def __init__(self, settings: Settings, kind: str, problem: Any) -> None:
        self.built: dict[str, float] = {}
        self._params, self._max_norm = with_gradients(problem.arrays(0), problem.arrays(1)), settings.max_norm
        self._optimizer = settings.over(self._params, kind)

    def counted(self) -> dict[str, float]:
        return {}

    def step(self) -> None:
        import torch

        if self._max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._params, self._max_norm, foreach=True)
        self._optimizer.step()

    def parameters(self) -> list[np.ndarray]:
        return [p.detach().numpy() for p in self._params]


def with_gradients(params: list[np.ndarray], grads: list[np.ndarray]) -> list[Any]:
    """Parameters of torch, each with its gradient."""
    import torch

    made = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    for param, grad in zip(made, grads, strict=True):
        param.grad = torch.tensor(grad)
    return made
