"""Other layouts of the same parameters: flat buffers, layers by themselves, real and imaginary parts."""

from gradtx.layouts.buffers import packing
from gradtx.layouts.complex import split_real_and_imaginary
from gradtx.layouts.flat import flatten
from gradtx.layouts.layers import layerwise, per_layer
from gradtx.layouts.over_buffers import packed, unpacked

__all__ = [
    "flatten",
    "layerwise",
    "packed",
    "packing",
    "per_layer",
    "split_real_and_imaginary",
    "unpacked",
]
