"""Record the steps of PyTorch's optimizers: `optimizers.npz` beside this.

    pip install torch==2.14.1 numpy && python tests/recorded/record_optimizers.py

Which ones, and how they are called, is read from the table in docs/from-pytorch.md. The test reads the
gradients and the parameters after each step, in float64, and needs no PyTorch.
"""

from __future__ import annotations

import pathlib
import re

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "from-pytorch.md").read_text()
STEPS, SHAPE = 30, (5, 4)


def main() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=SHAPE)
    gradients = rng.normal(size=(STEPS, *SHAPE)) + 0.5 * rng.normal(size=SHAPE)
    found = {"torch": np.asarray(torch.__version__), "start": start, "gradients": gradients}
    for call in re.findall(r"^\| `(\w+\(lr.*?\))` \| `[^`]+` \|$", PAGE, re.MULTILINE):
        theta = torch.tensor(start, requires_grad=True)
        made = re.sub(r"^(\w+)\(lr", r"torch.optim.\1([theta], lr=lr", call)
        optimizer = eval(made, {"torch": torch, "theta": theta, "lr": 0.01, "w": 0.1})
        path = []
        for gradient in gradients:
            theta.grad = torch.tensor(gradient)
            optimizer.step()
            path.append(theta.detach().numpy().copy())
        found[call] = np.stack(path)
    np.savez_compressed(HERE / "optimizers.npz", **found)
    print(*found)


main()
