"""The algebra: `chain`, `ratio` and `add`, and which leaves a transformation sees.

    chain(f, g)      g reads what f returns; associative as a value
    ratio(n, d)      both read the same updates; n / (d + ε)
    add(f, g)        both read the same updates; f + g

A chain alone cannot express Adam, whose denominator must see the raw gradient while its numerator
sees momentum. Each of these is a transformation again, so they nest without limit.
"""

from gradtx.combine.chains import chain, named_chain
from gradtx.combine.leaves import MaskedState, PartitionState, freeze, masked, partition
from gradtx.combine.sums import RatioState, add, divided, ratio
from gradtx.tree.standins import MaskedNode

__all__ = [
    "MaskedNode",
    "MaskedState",
    "PartitionState",
    "RatioState",
    "add",
    "chain",
    "divided",
    "freeze",
    "masked",
    "named_chain",
    "partition",
    "ratio",
]
