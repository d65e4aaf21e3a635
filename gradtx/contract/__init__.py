"""The contract: what a transformation is, and what happens around each `init` and `update`.

Read `transformation` first, then `boundary`. To write a transformation of your own:

    from gradtx.contract import Decay, GradientTransformation, Rate, Reach
"""

from gradtx.contract.foreign import as_transformation
from gradtx.contract.hyperparameters import (
    Betas,
    Decay,
    DtypeName,
    Hyperparameter,
    NonNegative,
    Number,
    Positive,
    PositiveDecay,
    Rate,
)
from gradtx.contract.reach import Reach
from gradtx.contract.runtime import HyperparamsState
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation, need_params

__all__ = [
    "Betas",
    "Composite",
    "Decay",
    "DtypeName",
    "EmptyState",
    "GradientTransformation",
    "Hyperparameter",
    "HyperparamsState",
    "NonNegative",
    "Number",
    "Positive",
    "PositiveDecay",
    "Rate",
    "Reach",
    "as_transformation",
    "need_params",
]
