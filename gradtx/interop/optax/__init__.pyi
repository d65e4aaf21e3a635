"""Written by `python -m tests.interop.optax_stub`."""

from optax import (
    AdaptiveGradClipState,
    AddDecayedWeightsState,
    AddNoiseState,
    ApplyEvery,
    ApplyIfFiniteState,
    ClipByGlobalNormState,
    ClipState,
    ConditionallyMaskState,
    ConditionallyTransformState,
    DifferentiallyPrivateAggregateState,
    EmaState,
    EmptyState,
    FactoredState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    InjectHyperparamsState,
    InjectStatefulHyperparamsState,
    LookaheadState,
    MaskedState,
    MaskOrFn,
    MonitorState,
    MultiStepsState,
    MultiTransformState,
    NonNegativeParamsState,
    OptState,
    Params,
    PartitionState,
    ScalarOrSchedule,
    ScaleByAdaDeltaState,
    ScaleByAdamState,
    ScaleByAdanState,
    ScaleByAmsgradState,
    ScaleByBacktrackingLinesearchState,
    ScaleByBeliefState,
    ScaleByLBFGSState,
    ScaleByLionState,
    ScaleByNovogradState,
    ScaleByRmsState,
    ScaleByRpropState,
    ScaleByRssState,
    ScaleByRStdDevState,
    ScaleByScheduleState,
    ScaleBySM3State,
    ScaleByTrustRatioState,
    ScaleByZoomLinesearchState,
    ScaleState,
    Schedule,
    ShouldSkipUpdateFunction,
    SnapshotState,
    TraceState,
    TransformInitFn,
    TransformUpdateExtraArgsFn,
    TransformUpdateFn,
    Updates,
    WrappedSchedule,
    ZeroNansState,
    ZoomLinesearchInfo,
    constant_schedule,
    convex_kl_divergence,
    cosine_decay_schedule,
    cosine_distance,
    cosine_onecycle_schedule,
    cosine_similarity,
    ctc_loss,
    ctc_loss_with_forward_probs,
    exponential_decay,
    generalized_kl_divergence,
    hinge_loss,
    huber_loss,
    init_empty_state,
    join_schedules,
    kl_divergence,
    l2_loss,
    linear_onecycle_schedule,
    linear_schedule,
    log_cosh,
    multi_normal,
    nnls,
    ntxent,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    polynomial_schedule,
    safe_softmax_cross_entropy,
    scale_gradient,
    sgdr_schedule,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    smooth_labels,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
    value_and_grad_from_state,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
)

from gradtx import adabelief as _adabelief
from gradtx import adadelta as _adadelta
from gradtx import adafactor as _adafactor
from gradtx import adagrad as _adagrad
from gradtx import adam as _adam
from gradtx import adamax as _adamax
from gradtx import adamaxw as _adamaxw
from gradtx import adamw as _adamw
from gradtx import adan as _adan
from gradtx import adaptive_grad_clip as _adaptive_grad_clip
from gradtx import amsgrad as _amsgrad
from gradtx import apply_every as _apply_every
from gradtx import apply_if_finite as _apply_if_finite
from gradtx import (
    apply_updates,
    incremental_update,
    matrix_inverse_pth_root,
    measure_with_ema,
    microbatch,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
    periodic_update,
    power_iteration,
    safe_increment,
    safe_norm,
    safe_root_mean_squares,
    skip_large_updates,
    skip_not_finite,
    tree_map_params,
)
from gradtx import centralize as _centralize
from gradtx import conditionally_mask as _conditionally_mask
from gradtx import conditionally_transform as _conditionally_transform
from gradtx import dpsgd as _dpsgd
from gradtx import flatten as _flatten
from gradtx import freeze as _freeze
from gradtx import fromage as _fromage
from gradtx import identity as _identity
from gradtx import keep_params_nonnegative as _keep_params_nonnegative
from gradtx import lamb as _lamb
from gradtx import lars as _lars
from gradtx import lbfgs as _lbfgs
from gradtx import lion as _lion
from gradtx import monitor as _monitor
from gradtx import nadam as _nadam
from gradtx import nadamw as _nadamw
from gradtx import named_chain as _named_chain
from gradtx import normalize_by_update_norm as _normalize_by_update_norm
from gradtx import novograd as _novograd
from gradtx import optimistic_adam_v2 as _optimistic_adam_v2
from gradtx import optimistic_gradient_descent as _optimistic_gradient_descent
from gradtx import polyak_sgd as _polyak_sgd
from gradtx import radam as _radam
from gradtx import rmsprop as _rmsprop
from gradtx import rprop as _rprop
from gradtx import safe_increment as safe_int32_increment
from gradtx import scale as _scale
from gradtx import scale_by_adadelta as _scale_by_adadelta
from gradtx import scale_by_adam as _scale_by_adam
from gradtx import scale_by_adamax as _scale_by_adamax
from gradtx import scale_by_adan as _scale_by_adan
from gradtx import scale_by_amsgrad as _scale_by_amsgrad
from gradtx import scale_by_backtracking_linesearch as _scale_by_backtracking_linesearch
from gradtx import scale_by_belief as _scale_by_belief
from gradtx import scale_by_distance_over_gradients as _scale_by_distance_over_gradients
from gradtx import scale_by_factored_rms as _scale_by_factored_rms
from gradtx import scale_by_lbfgs as _scale_by_lbfgs
from gradtx import scale_by_lion as _scale_by_lion
from gradtx import scale_by_novograd as _scale_by_novograd
from gradtx import scale_by_optimistic_gradient as _scale_by_optimistic_gradient
from gradtx import scale_by_param_block_norm as _scale_by_param_block_norm
from gradtx import scale_by_param_block_rms as _scale_by_param_block_rms
from gradtx import scale_by_polyak as _scale_by_polyak
from gradtx import scale_by_radam as _scale_by_radam
from gradtx import scale_by_rms as _scale_by_rms
from gradtx import scale_by_rprop as _scale_by_rprop
from gradtx import scale_by_rss as _scale_by_rss
from gradtx import scale_by_schedule as _scale_by_schedule
from gradtx import scale_by_sign as _scale_by_sign
from gradtx import scale_by_sm3 as _scale_by_sm3
from gradtx import scale_by_stddev as _scale_by_stddev
from gradtx import scale_by_trust_ratio as _scale_by_trust_ratio
from gradtx import scale_by_yogi as _scale_by_yogi
from gradtx import scale_by_zoom_linesearch as _scale_by_zoom_linesearch
from gradtx import set_to_zero as _set_to_zero
from gradtx import sgd as _sgd
from gradtx import sign_sgd as _sign_sgd
from gradtx import signum as _signum
from gradtx import sm3 as _sm3
from gradtx import snapshot as _snapshot
from gradtx import stateless as _stateless
from gradtx import stateless_with_tree_map as _stateless_with_tree_map
from gradtx import trace as _trace
from gradtx import with_extra_args_support as _with_extra_args_support
from gradtx import yogi as _yogi
from gradtx import zero_nans as _zero_nans
from gradtx.interop.bridge import as_optax, from_optax
from gradtx.interop.optax import (
    assignment,
    contrib,
    experimental,
    losses,
    microbatching,
    perturbations,
    projections,
    schedules,
    second_order,
    transforms,
    tree,
    tree_utils,
)
from gradtx.interop.optax.adapters import MaskedNode, MultiSteps, global_norm
from gradtx.interop.optax.adapters import add_decayed_weights as _add_decayed_weights
from gradtx.interop.optax.adapters import add_noise as _add_noise
from gradtx.interop.optax.adapters import chain as _chain
from gradtx.interop.optax.adapters import clip as _clip
from gradtx.interop.optax.adapters import clip_by_block_rms as _clip_by_block_rms
from gradtx.interop.optax.adapters import clip_by_global_norm as _clip_by_global_norm
from gradtx.interop.optax.adapters import (
    differentially_private_aggregate as _differentially_private_aggregate,
)
from gradtx.interop.optax.adapters import ema as _ema
from gradtx.interop.optax.adapters import masked as _masked
from gradtx.interop.optax.adapters import noisy_sgd as _noisy_sgd
from gradtx.interop.optax.adapters import optimistic_adam as _optimistic_adam
from gradtx.interop.optax.adapters import partition as _multi_transform
from gradtx.interop.optax.adapters import partition as _partition
from gradtx.interop.optax.adapters import scale_by_learning_rate as _scale_by_learning_rate
from gradtx.interop.optax.adapters import selective_transform as _selective_transform
from gradtx.interop.optax.fast_and_slow import LookaheadParams, lookahead
from gradtx.interop.optax.injection import inject_hyperparams, inject_stateful_hyperparams
from gradtx.interop.optax.moments import (
    bias_correction,
    update_infinity_moment,
    update_moment,
    update_moment_per_elem_norm,
)
from gradtx.interop.optax.transformation import makes

__all__ = [
    "AdaptiveGradClipState",
    "AddDecayedWeightsState",
    "AddNoiseState",
    "ApplyEvery",
    "ApplyIfFiniteState",
    "ClipByGlobalNormState",
    "ClipState",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "DifferentiallyPrivateAggregateState",
    "EmaState",
    "EmptyState",
    "FactoredState",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "InjectHyperparamsState",
    "InjectStatefulHyperparamsState",
    "LookaheadParams",
    "LookaheadState",
    "MaskOrFn",
    "MaskedNode",
    "MaskedState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "MultiTransformState",
    "NonNegativeParamsState",
    "OptState",
    "Params",
    "PartitionState",
    "ScalarOrSchedule",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAdanState",
    "ScaleByAmsgradState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByBeliefState",
    "ScaleByLBFGSState",
    "ScaleByLionState",
    "ScaleByNovogradState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleBySM3State",
    "ScaleByScheduleState",
    "ScaleByTrustRatioState",
    "ScaleByZoomLinesearchState",
    "ScaleState",
    "Schedule",
    "ShouldSkipUpdateFunction",
    "SnapshotState",
    "TraceState",
    "TransformInitFn",
    "TransformUpdateExtraArgsFn",
    "TransformUpdateFn",
    "Updates",
    "WrappedSchedule",
    "ZeroNansState",
    "ZoomLinesearchInfo",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "amsgrad",
    "apply_every",
    "apply_if_finite",
    "apply_updates",
    "as_optax",
    "assignment",
    "bias_correction",
    "centralize",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "conditionally_mask",
    "conditionally_transform",
    "constant_schedule",
    "contrib",
    "convex_kl_divergence",
    "cosine_decay_schedule",
    "cosine_distance",
    "cosine_onecycle_schedule",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "differentially_private_aggregate",
    "dpsgd",
    "ema",
    "experimental",
    "exponential_decay",
    "flatten",
    "freeze",
    "from_optax",
    "fromage",
    "generalized_kl_divergence",
    "global_norm",
    "hinge_loss",
    "huber_loss",
    "identity",
    "incremental_update",
    "init_empty_state",
    "inject_hyperparams",
    "inject_stateful_hyperparams",
    "join_schedules",
    "keep_params_nonnegative",
    "kl_divergence",
    "l2_loss",
    "lamb",
    "lars",
    "lbfgs",
    "linear_onecycle_schedule",
    "linear_schedule",
    "lion",
    "log_cosh",
    "lookahead",
    "losses",
    "masked",
    "matrix_inverse_pth_root",
    "measure_with_ema",
    "microbatch",
    "microbatching",
    "monitor",
    "multi_normal",
    "multi_transform",
    "nadam",
    "nadamw",
    "named_chain",
    "nnls",
    "noisy_sgd",
    "normalize_by_update_norm",
    "novograd",
    "ntxent",
    "optimistic_adam",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "partition",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "periodic_update",
    "perturbations",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polyak_sgd",
    "polynomial_schedule",
    "power_iteration",
    "projections",
    "radam",
    "rmsprop",
    "rprop",
    "safe_increment",
    "safe_int32_increment",
    "safe_norm",
    "safe_root_mean_squares",
    "safe_softmax_cross_entropy",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_amsgrad",
    "scale_by_backtracking_linesearch",
    "scale_by_belief",
    "scale_by_distance_over_gradients",
    "scale_by_factored_rms",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_novograd",
    "scale_by_optimistic_gradient",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_polyak",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_sign",
    "scale_by_sm3",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "scale_by_yogi",
    "scale_by_zoom_linesearch",
    "scale_gradient",
    "schedules",
    "second_order",
    "selective_transform",
    "set_to_zero",
    "sgd",
    "sgdr_schedule",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "sign_sgd",
    "signum",
    "skip_large_updates",
    "skip_not_finite",
    "sm3",
    "smooth_labels",
    "snapshot",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
    "stateless",
    "stateless_with_tree_map",
    "trace",
    "transforms",
    "tree",
    "tree_map_params",
    "tree_utils",
    "update_infinity_moment",
    "update_moment",
    "update_moment_per_elem_norm",
    "value_and_grad_from_state",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "whose",
    "with_extra_args_support",
    "yogi",
    "zero_nans",
]

adabelief = makes(_adabelief)
adadelta = makes(_adadelta)
adafactor = makes(_adafactor)
adagrad = makes(_adagrad)
adam = makes(_adam)
adamax = makes(_adamax)
adamaxw = makes(_adamaxw)
adamw = makes(_adamw)
adan = makes(_adan)
adaptive_grad_clip = makes(_adaptive_grad_clip)
amsgrad = makes(_amsgrad)
apply_every = makes(_apply_every)
apply_if_finite = makes(_apply_if_finite)
centralize = makes(_centralize)
conditionally_mask = makes(_conditionally_mask)
conditionally_transform = makes(_conditionally_transform)
dpsgd = makes(_dpsgd)
flatten = makes(_flatten)
freeze = makes(_freeze)
fromage = makes(_fromage)
identity = makes(_identity)
keep_params_nonnegative = makes(_keep_params_nonnegative)
lamb = makes(_lamb)
lars = makes(_lars)
lbfgs = makes(_lbfgs)
lion = makes(_lion)
monitor = makes(_monitor)
nadam = makes(_nadam)
nadamw = makes(_nadamw)
named_chain = makes(_named_chain)
normalize_by_update_norm = makes(_normalize_by_update_norm)
novograd = makes(_novograd)
optimistic_adam_v2 = makes(_optimistic_adam_v2)
optimistic_gradient_descent = makes(_optimistic_gradient_descent)
polyak_sgd = makes(_polyak_sgd)
radam = makes(_radam)
rmsprop = makes(_rmsprop)
rprop = makes(_rprop)
scale = makes(_scale)
scale_by_adadelta = makes(_scale_by_adadelta)
scale_by_adam = makes(_scale_by_adam)
scale_by_adamax = makes(_scale_by_adamax)
scale_by_adan = makes(_scale_by_adan)
scale_by_amsgrad = makes(_scale_by_amsgrad)
scale_by_backtracking_linesearch = makes(_scale_by_backtracking_linesearch)
scale_by_belief = makes(_scale_by_belief)
scale_by_distance_over_gradients = makes(_scale_by_distance_over_gradients)
scale_by_factored_rms = makes(_scale_by_factored_rms)
scale_by_lbfgs = makes(_scale_by_lbfgs)
scale_by_lion = makes(_scale_by_lion)
scale_by_novograd = makes(_scale_by_novograd)
scale_by_optimistic_gradient = makes(_scale_by_optimistic_gradient)
scale_by_param_block_norm = makes(_scale_by_param_block_norm)
scale_by_param_block_rms = makes(_scale_by_param_block_rms)
scale_by_polyak = makes(_scale_by_polyak)
scale_by_radam = makes(_scale_by_radam)
scale_by_rms = makes(_scale_by_rms)
scale_by_rprop = makes(_scale_by_rprop)
scale_by_rss = makes(_scale_by_rss)
scale_by_schedule = makes(_scale_by_schedule)
scale_by_sign = makes(_scale_by_sign)
scale_by_sm3 = makes(_scale_by_sm3)
scale_by_stddev = makes(_scale_by_stddev)
scale_by_trust_ratio = makes(_scale_by_trust_ratio)
scale_by_yogi = makes(_scale_by_yogi)
scale_by_zoom_linesearch = makes(_scale_by_zoom_linesearch)
set_to_zero = makes(_set_to_zero)
sgd = makes(_sgd)
sign_sgd = makes(_sign_sgd)
signum = makes(_signum)
sm3 = makes(_sm3)
snapshot = makes(_snapshot)
stateless = makes(_stateless)
stateless_with_tree_map = makes(_stateless_with_tree_map)
trace = makes(_trace)
with_extra_args_support = makes(_with_extra_args_support)
yogi = makes(_yogi)
zero_nans = makes(_zero_nans)
add_decayed_weights = makes(_add_decayed_weights)
add_noise = makes(_add_noise)
chain = makes(_chain)
clip = makes(_clip)
clip_by_block_rms = makes(_clip_by_block_rms)
clip_by_global_norm = makes(_clip_by_global_norm)
differentially_private_aggregate = makes(_differentially_private_aggregate)
ema = makes(_ema)
masked = makes(_masked)
noisy_sgd = makes(_noisy_sgd)
optimistic_adam = makes(_optimistic_adam)
multi_transform = makes(_multi_transform)
partition = makes(_partition)
scale_by_learning_rate = makes(_scale_by_learning_rate)
selective_transform = makes(_selective_transform)

def whose(name: str) -> str: ...
