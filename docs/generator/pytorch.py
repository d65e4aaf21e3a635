"""Write pytorch.toml anew: the defaults of PyTorch's optimizers by the names of gradtx's arguments.

python docs/generator/pytorch.py        # where torch is installed; nothing else needs it
"""

import inspect
import pathlib

import torch

# gradtx's optimizer: PyTorch's, and gradtx's argument: PyTorch's, with an index where that is a pair.
ADAM = {"learning_rate": "lr", "b1": "betas[0]", "b2": "betas[1]", "eps": "eps"}
SAME = {
    "adadelta": (
        "Adadelta",
        {"learning_rate": "lr", "rho": "rho", "eps": "eps", "weight_decay": "weight_decay"},
    ),
    "adafactor": (
        "Adafactor",
        {
            "learning_rate": "lr",
            "decay_rate": "beta2_decay",
            "eps": "eps[0]",
            "clipping_threshold": "d",
            "weight_decay_rate": "weight_decay",
        },
    ),
    "adagrad": (
        "Adagrad",
        {"learning_rate": "lr", "initial_accumulator_value": "initial_accumulator_value", "eps": "eps"},
    ),
    "adam": ("Adam", ADAM),
    "adamax": ("Adamax", ADAM),
    "adamw": ("AdamW", ADAM | {"weight_decay": "weight_decay"}),
    "amsgrad": ("Adam", ADAM),
    "asgd": (
        "ASGD",
        {
            "learning_rate": "lr",
            "lambd": "lambd",
            "alpha": "alpha",
            "t0": "t0",
            "weight_decay": "weight_decay",
        },
    ),
    "lbfgs": ("LBFGS", {"learning_rate": "lr", "memory_size": "history_size"}),
    "muon": (
        "Muon",
        {
            "learning_rate": "lr",
            "beta": "momentum",
            "weight_decay": "weight_decay",
            "eps": "eps",
            "nesterov": "nesterov",
            "ns_steps": "ns_steps",
            "ns_coeffs": "ns_coefficients",
        },
    ),
    "nadam": ("NAdam", ADAM | {"momentum_decay": "momentum_decay"}),
    "radam": ("RAdam", ADAM),
    "rmsprop": (
        "RMSprop",
        {
            "learning_rate": "lr",
            "decay": "alpha",
            "eps": "eps",
            "centered": "centered",
            "momentum": "momentum",
        },
    ),
    "rprop": (
        "Rprop",
        {
            "learning_rate": "lr",
            "eta_minus": "etas[0]",
            "eta_plus": "etas[1]",
            "min_step_size": "step_sizes[0]",
            "max_step_size": "step_sizes[1]",
        },
    ),
    "sgd": (
        "SGD",
        {"learning_rate": "lr", "momentum": "momentum", "nesterov": "nesterov", "dampening": "dampening"},
    ),
}


def default(cls, place):
    """What a class has at `name` or `name[index]`."""
    name, _, index = place.rstrip("]").partition("[")
    held = inspect.signature(cls).parameters[name].default
    return held[int(index)] if index else held


def main():
    """Write the table."""
    lines = [f"# Written by docs/generator/pytorch.py, from torch {torch.__version__.partition('+')[0]}.\n"]
    for ours, (theirs, arguments) in SAME.items():
        if not hasattr(torch.optim, theirs):
            continue
        cls = getattr(torch.optim, theirs)
        lines.append(f'\n[{ours}]\nclass = "torch.optim.{theirs}"\n')
        lines += [f'{name} = ["{at}", "{default(cls, at)!r}"]\n' for name, at in arguments.items()]
    pathlib.Path(__file__).with_name("pytorch.toml").write_text("".join(lines))


main()
