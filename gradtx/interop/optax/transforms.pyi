"""Written by `python -m tests.interop.optax_stub`."""

from optax.transforms import (
    AddNoiseState,
    ApplyIfFiniteState,
    ConditionallyMaskState,
    ConditionallyTransformState,
    ConditionFn,
    EmaState,
    MaskedState,
    MonitorState,
    MultiStepsState,
    NonNegativeParamsState,
    PartitionState,
    ShouldSkipUpdateFunction,
    SnapshotState,
    TraceState,
    ZeroNansState,
)

from gradtx import adaptive_grad_clip as _adaptive_grad_clip
from gradtx import apply_if_finite as _apply_if_finite
from gradtx import conditionally_mask as _conditionally_mask
from gradtx import conditionally_transform as _conditionally_transform
from gradtx import flatten as _flatten
from gradtx import freeze as _freeze
from gradtx import keep_params_nonnegative as _keep_params_nonnegative
from gradtx import (
    measure_with_ema,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
    skip_large_updates,
    skip_not_finite,
    unitwise_norm,
)
from gradtx import monitor as _monitor
from gradtx import named_chain as _named_chain
from gradtx import snapshot as _snapshot
from gradtx import trace as _trace
from gradtx import zero_nans as _zero_nans
from gradtx.interop.optax.adapters import MaskedNode, MultiSteps, unitwise_clip
from gradtx.interop.optax.adapters import add_decayed_weights as _add_decayed_weights
from gradtx.interop.optax.adapters import add_noise as _add_noise
from gradtx.interop.optax.adapters import chain as _chain
from gradtx.interop.optax.adapters import clip as _clip
from gradtx.interop.optax.adapters import clip_by_block_rms as _clip_by_block_rms
from gradtx.interop.optax.adapters import clip_by_global_norm as _clip_by_global_norm
from gradtx.interop.optax.adapters import ema as _ema
from gradtx.interop.optax.adapters import masked as _masked
from gradtx.interop.optax.adapters import partition as _partition
from gradtx.interop.optax.adapters import selective_transform as _selective_transform
from gradtx.interop.optax.transformation import makes

__all__ = [
    "AddNoiseState",
    "ApplyIfFiniteState",
    "ConditionFn",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "EmaState",
    "MaskedNode",
    "MaskedState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "NonNegativeParamsState",
    "PartitionState",
    "ShouldSkipUpdateFunction",
    "SnapshotState",
    "TraceState",
    "ZeroNansState",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "apply_if_finite",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "conditionally_mask",
    "conditionally_transform",
    "ema",
    "flatten",
    "freeze",
    "keep_params_nonnegative",
    "masked",
    "measure_with_ema",
    "monitor",
    "named_chain",
    "partition",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "selective_transform",
    "skip_large_updates",
    "skip_not_finite",
    "snapshot",
    "trace",
    "unitwise_clip",
    "unitwise_norm",
    "zero_nans",
]

adaptive_grad_clip = makes(_adaptive_grad_clip)
apply_if_finite = makes(_apply_if_finite)
conditionally_mask = makes(_conditionally_mask)
conditionally_transform = makes(_conditionally_transform)
flatten = makes(_flatten)
freeze = makes(_freeze)
keep_params_nonnegative = makes(_keep_params_nonnegative)
monitor = makes(_monitor)
named_chain = makes(_named_chain)
snapshot = makes(_snapshot)
trace = makes(_trace)
zero_nans = makes(_zero_nans)
add_decayed_weights = makes(_add_decayed_weights)
add_noise = makes(_add_noise)
chain = makes(_chain)
clip = makes(_clip)
clip_by_block_rms = makes(_clip_by_block_rms)
clip_by_global_norm = makes(_clip_by_global_norm)
ema = makes(_ema)
masked = makes(_masked)
partition = makes(_partition)
selective_transform = makes(_selective_transform)
