"""gradtx: composable gradient transformations that are values.

tx = gradtx.adamw(1e-3, weight_decay=0.1, mask="kernel$")
state = tx.init(params)
updates, state = tx.update(grads, state, params)
params = gradtx.apply_updates(params, updates)
"""

# Helpers have private names here: every public name in this module is one of gradtx's.
import importlib as _importlib
import typing as _typing

from gradtx import (
    atoms,
    combine,
    contract,
    layouts,
    matrices,
    numerics,
    optimizers,
    reports,
    rules,
    schedules,
    searches,
    states,
    telemetry,
    training,
    tree,
    values,
    wrappers,
)
from gradtx.atoms.clipping import (
    adaptive_grad_clip,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_lagged_norm,
    leafwise_zclip,
    unitwise_clip,
    unitwise_norm,
    zclip,
)
from gradtx.atoms.constraints import keep_params_nonnegative, zero_nans
from gradtx.atoms.curvature import gauss_newton_bartlett_diag_hessian, hutchinson_estimator_diag_hessian
from gradtx.atoms.decay import (
    add_decoupled_weight_decay,
    add_l2_penalty,
    add_proximal_weight_decay,
    decoupled,
)
from gradtx.atoms.functions import stateless, stateless_with_tree_map
from gradtx.atoms.moments import (
    bias_correction,
    dampen,
    decayed_max,
    difference,
    divide_by_root,
    ema,
    momentum,
    nesterov_momentum,
    rare_ema,
    rectify,
    rms,
    running_max,
    running_sum,
    signed_ema,
    squared_deviation,
    trace,
    two_decay_ema,
)
from gradtx.atoms.noise import add_noise
from gradtx.atoms.norms import (
    centralize,
    normalize,
    normalize_by_update_norm,
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from gradtx.atoms.pointwise import (
    absolute,
    at_least,
    clip,
    identity,
    infinite_where_zero,
    offset,
    scale,
    set_to_zero,
    sign,
    sqrt,
    square,
    tanh,
)
from gradtx.atoms.privacy import (
    differentially_private_aggregate,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from gradtx.atoms.rate import reduce_on_plateau, scale_by_learning_rate, scale_by_schedule
from gradtx.combine import MaskedNode, add, chain, freeze, masked, named_chain, partition, ratio
from gradtx.contract.foreign import foreign
from gradtx.contract.reach import Reach
from gradtx.contract.runtime import HyperparamsState
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.layouts.buffers import packing
from gradtx.layouts.complex import split_real_and_imaginary
from gradtx.layouts.flat import flatten
from gradtx.layouts.layers import layerwise, per_layer
from gradtx.layouts.over_buffers import packed, unpacked
from gradtx.matrices import (
    for_matrices,
    in_subspace,
    matrix_axes,
    matrix_inverse_pth_root,
    newton_schulz,
    orthogonalize,
    power_iteration,
    scale_by_factored_rms,
    scale_by_shape,
)
from gradtx.numerics import safe_increment
from gradtx.numerics.norms import safe_norm, safe_root_mean_squares
from gradtx.optimizers.acprop import acprop, scale_by_acprop
from gradtx.optimizers.adabelief import adabelief, add_drift, belief, scale_by_belief
from gradtx.optimizers.adadelta import adadelta, scale_by_adadelta, scale_by_past_rms
from gradtx.optimizers.adafactor import adafactor
from gradtx.optimizers.adagrad import adagrad, scale_by_rss
from gradtx.optimizers.adam import adam, scale_by_adam
from gradtx.optimizers.adamax import adamax, scale_by_adamax
from gradtx.optimizers.adamaxw import adamaxw
from gradtx.optimizers.adamw import adamw
from gradtx.optimizers.adan import adan, difference_ratio, scale_by_adan
from gradtx.optimizers.ademamix import ademamix, scale_by_ademamix
from gradtx.optimizers.adopt import adopt, divide_by_past_root, scale_by_adopt
from gradtx.optimizers.amsgrad import amsgrad, scale_by_amsgrad
from gradtx.optimizers.asgd import asgd, scale_by_asgd
from gradtx.optimizers.cadamw import cadamw
from gradtx.optimizers.cocob import cocob, scale_by_cocob
from gradtx.optimizers.dadapt_adamw import dadapt_adamw, scale_by_dadapt
from gradtx.optimizers.distance_over_gradients import scale_by_distance_over_gradients
from gradtx.optimizers.dog import dog, scale_by_dog
from gradtx.optimizers.dowg import dowg, scale_by_dowg
from gradtx.optimizers.dpsgd import dpsgd
from gradtx.optimizers.fromage import fromage, turn_by_learning_rate
from gradtx.optimizers.galore import galore, scale_by_galore
from gradtx.optimizers.lamb import lamb
from gradtx.optimizers.laprop import laprop, scale_by_laprop
from gradtx.optimizers.lars import lars, scale_by_lars
from gradtx.optimizers.lbfgs import lbfgs, scale_by_lbfgs
from gradtx.optimizers.lion import lion, scale_by_lion
from gradtx.optimizers.madgrad import madgrad, scale_by_madgrad
from gradtx.optimizers.momo import momo, momo_adam, scale_by_momo
from gradtx.optimizers.muon import muon, scale_by_muon
from gradtx.optimizers.nadam import nadam, warming_momentum
from gradtx.optimizers.nadamw import nadamw
from gradtx.optimizers.noisy_sgd import noisy_sgd
from gradtx.optimizers.novograd import divide_by_leaf_norm, novograd, scale_by_novograd
from gradtx.optimizers.optimistic import (
    optimistic_adam,
    optimistic_adam_v2,
    optimistic_gradient_descent,
    scale_by_optimistic_gradient,
)
from gradtx.optimizers.polyak import polyak_sgd, scale_by_polyak
from gradtx.optimizers.prodigy import prodigy, scale_by_prodigy
from gradtx.optimizers.radam import radam, scale_by_radam
from gradtx.optimizers.rmsprop import rmsprop, scale_by_rms, scale_by_stddev
from gradtx.optimizers.rprop import rprop, scale_by_rprop
from gradtx.optimizers.schedule_free import schedule_free_adamw, schedule_free_sgd
from gradtx.optimizers.sgd import sgd
from gradtx.optimizers.sign_sgd import scale_by_sign, sign_sgd, signum
from gradtx.optimizers.simplified_ademamix import scale_by_simplified_ademamix, simplified_ademamix
from gradtx.optimizers.sm3 import divide_by_cover_root, scale_by_sm3, sm3
from gradtx.optimizers.sophia import scale_by_sophia, sophia
from gradtx.optimizers.stable_adamw import stable_adamw, steady_ratio
from gradtx.optimizers.yogi import scale_by_yogi, yogi
from gradtx.reports.citing import cite
from gradtx.reports.explaining import Explanation, explain
from gradtx.reports.memory import MemoryReport, memory_report
from gradtx.reports.programs.copies import NeedlessCopies, needless_copies
from gradtx.reports.programs.traffic import Traffic, traffic
from gradtx.rules.by_path import by_path
from gradtx.schedules import (
    add_schedules,
    constant_schedule,
    cosine_annealing_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    cosine_warm_restarts_schedule,
    cyclic_schedule,
    exponential_decay,
    inverse_square_root_schedule,
    join_schedules,
    linear_onecycle_schedule,
    linear_schedule,
    multi_step_schedule,
    multiply_schedules,
    onecycle_schedule,
    per_epoch,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    plateau_schedule,
    polynomial_schedule,
    power_schedule,
    rex_schedule,
    scale_schedule,
    sgdr_schedule,
    step_decay_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_stable_decay_schedule,
    with_warmup,
)
from gradtx.schedules.schedule import Adaptive, Schedule, affine, from_function
from gradtx.searches import (
    scale_by_backtracking_linesearch,
    scale_by_zoom_linesearch,
    value_and_grad_from_state,
)
from gradtx.states.maps import tree_map_params
from gradtx.states.resuming import resume
from gradtx.telemetry.measures import measure_with_ema, monitor, snapshot
from gradtx.telemetry.movement import share_moved
from gradtx.telemetry.prints import print_win_rate
from gradtx.training.microbatching import Accumulator, micro_grad, micro_vmap, microbatch, reshape_batch_axis
from gradtx.training.points import look_ahead
from gradtx.training.slow_copies import incremental_update, periodic_update
from gradtx.training.step import make_step, make_train_step
from gradtx.tree.updates import apply_updates
from gradtx.values import registry as _registry
from gradtx.values.serial import from_json, to_json
from gradtx.values.value import Value, optional, static
from gradtx.values.wording import nearest as _nearest
from gradtx.wrappers.accumulate import (
    accumulate,
    apply_every,
    has_updated,
    skip_large_updates,
    skip_not_finite,
)
from gradtx.wrappers.averaging import average_params, averaged_params, mean_params
from gradtx.wrappers.cautious import cautious
from gradtx.wrappers.conditional import (
    apply_if_finite,
    conditionally_mask,
    conditionally_transform,
    run_when,
)
from gradtx.wrappers.extras import with_extra_args_support
from gradtx.wrappers.lookahead import lookahead
from gradtx.wrappers.mechanic import mechanize
from gradtx.wrappers.sam import sam, sam_at_once, sam_in_turn
from gradtx.wrappers.schedule_free import schedule_free, schedule_free_eval_params
from gradtx.wrappers.tuning import hyperparams, tunable, with_hyperparams

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:  # loaded when first asked for: not every program needs them
    from gradtx import gallery, interop, laws
    from gradtx.laws import check_transformation
    from gradtx.reports import plot

_LATER = {
    "check_transformation": "gradtx.laws",
    "gallery": "gradtx.gallery",
    "interop": "gradtx.interop",
    "laws": "gradtx.laws",
    "plot": "gradtx.reports.plot",
}
"""name -> the module that it is, or is in."""

# fmt: off
__all__ = [
    "Accumulator", "Adaptive", "Composite", "EmptyState", "Explanation", "GradientTransformation",
    "HyperparamsState", "MaskedNode", "MemoryReport", "NeedlessCopies", "Reach", "Schedule", "Traffic",
    "Value", "absolute", "accumulate", "acprop", "adabelief", "adadelta", "adafactor", "adagrad",
    "adam", "adamax", "adamaxw", "adamw", "adan", "adaptive_grad_clip", "add",
    "add_decoupled_weight_decay", "add_drift", "add_l2_penalty", "add_noise",
    "add_proximal_weight_decay", "add_schedules", "ademamix", "adopt", "affine", "amsgrad",
    "apply_every", "apply_if_finite", "apply_updates", "asgd", "at_least", "atoms", "average_params",
    "averaged_params", "belief", "bias_correction", "by_path", "cadamw", "cautious", "centralize",
    "chain", "check_transformation", "cite", "clip", "clip_by_block_rms", "clip_by_global_norm",
    "clip_by_lagged_norm", "cocob", "combine", "conditionally_mask", "conditionally_transform",
    "constant_schedule", "contract", "cosine_annealing_schedule", "cosine_decay_schedule",
    "cosine_onecycle_schedule", "cosine_warm_restarts_schedule", "cyclic_schedule", "dadapt_adamw",
    "dampen", "decayed_max", "decoupled", "difference", "difference_ratio",
    "differentially_private_aggregate", "divide_by_cover_root", "divide_by_leaf_norm",
    "divide_by_past_root", "divide_by_root", "dog", "dowg", "dpsgd", "ema", "explain",
    "exponential_decay", "flatten", "for_matrices", "foreign", "freeze", "from_function", "from_json",
    "fromage", "gallery", "galore", "gauss_newton_bartlett_diag_hessian", "has_updated",
    "hutchinson_estimator_diag_hessian", "hyperparams", "identity", "in_subspace", "incremental_update",
    "infinite_where_zero", "interop", "inverse_square_root_schedule", "join_schedules",
    "keep_params_nonnegative", "lamb", "laprop", "lars", "laws", "layerwise", "layouts", "lbfgs",
    "leafwise_zclip", "linear_onecycle_schedule", "linear_schedule", "lion", "look_ahead", "lookahead",
    "madgrad", "make_step", "make_train_step", "masked", "matrices", "matrix_axes",
    "matrix_inverse_pth_root", "mean_params", "measure_with_ema", "mechanize", "memory_report",
    "micro_grad", "micro_vmap", "microbatch", "momentum", "momo", "momo_adam", "monitor",
    "multi_step_schedule", "multiply_schedules", "muon", "nadam", "nadamw", "named_chain",
    "needless_copies", "nesterov_momentum", "newton_schulz", "noisy_sgd", "normalize",
    "normalize_by_update_norm", "novograd", "numerics", "offset", "onecycle_schedule",
    "optimistic_adam", "optimistic_adam_v2", "optimistic_gradient_descent", "optimizers", "optional",
    "orthogonalize", "packed", "packing", "partition", "per_epoch", "per_example_global_norm_clip",
    "per_example_layer_norm_clip", "per_layer", "periodic_update", "piecewise_constant_schedule",
    "piecewise_interpolate_schedule", "plateau_schedule", "plot", "polyak_sgd", "polynomial_schedule",
    "power_iteration", "power_schedule", "print_win_rate", "prodigy", "radam", "rare_ema", "ratio",
    "rectify", "reduce_on_plateau", "reports", "reshape_batch_axis", "resume", "rex_schedule", "rms",
    "rmsprop", "rprop", "rules", "run_when", "running_max", "running_sum", "safe_increment",
    "safe_norm", "safe_root_mean_squares", "sam", "sam_at_once", "sam_in_turn", "scale",
    "scale_by_acprop", "scale_by_adadelta", "scale_by_adam", "scale_by_adamax", "scale_by_adan",
    "scale_by_ademamix", "scale_by_adopt", "scale_by_amsgrad", "scale_by_asgd",
    "scale_by_backtracking_linesearch", "scale_by_belief", "scale_by_cocob", "scale_by_dadapt",
    "scale_by_distance_over_gradients", "scale_by_dog", "scale_by_dowg", "scale_by_factored_rms",
    "scale_by_galore", "scale_by_laprop", "scale_by_lars", "scale_by_lbfgs", "scale_by_learning_rate",
    "scale_by_lion", "scale_by_madgrad", "scale_by_momo", "scale_by_muon", "scale_by_novograd",
    "scale_by_optimistic_gradient", "scale_by_param_block_norm", "scale_by_param_block_rms",
    "scale_by_past_rms", "scale_by_polyak", "scale_by_prodigy", "scale_by_radam", "scale_by_rms",
    "scale_by_rprop", "scale_by_rss", "scale_by_schedule", "scale_by_shape", "scale_by_sign",
    "scale_by_simplified_ademamix", "scale_by_sm3", "scale_by_sophia", "scale_by_stddev",
    "scale_by_trust_ratio", "scale_by_yogi", "scale_by_zoom_linesearch", "scale_schedule",
    "schedule_free", "schedule_free_adamw", "schedule_free_eval_params", "schedule_free_sgd",
    "schedules", "searches", "set_to_zero", "sgd", "sgdr_schedule", "share_moved", "sign", "sign_sgd",
    "signed_ema", "signum", "simplified_ademamix", "skip_large_updates", "skip_not_finite", "sm3",
    "snapshot", "sophia", "split_real_and_imaginary", "sqrt", "square", "squared_deviation",
    "stable_adamw", "stateless", "stateless_with_tree_map", "states", "static", "steady_ratio",
    "step_decay_schedule", "tanh", "telemetry", "to_json", "trace", "traffic", "training", "tree",
    "tree_map_params", "tunable", "turn_by_learning_rate", "two_decay_ema", "unitwise_clip",
    "unitwise_norm", "unpacked", "value_and_grad_from_state", "values", "warming_momentum",
    "warmup_constant_schedule", "warmup_cosine_decay_schedule", "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule", "with_extra_args_support", "with_hyperparams", "with_warmup",
    "wrappers", "yogi", "zclip", "zero_nans",
]
"""Every public name; also those that `dir` leaves out."""

_SHOWN = [
    "Composite", "GradientTransformation", "Reach", "Schedule", "Value", "accumulate", "acprop",
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan",
    "add", "add_decoupled_weight_decay", "ademamix", "adopt", "amsgrad", "apply_updates", "asgd",
    "atoms", "average_params", "bias_correction", "by_path", "cadamw", "cautious", "chain",
    "check_transformation", "cite", "clip_by_global_norm", "cocob", "combine", "constant_schedule",
    "contract", "cosine_decay_schedule", "dadapt_adamw", "dog", "dowg", "dpsgd", "ema", "explain",
    "freeze", "from_json", "fromage", "gallery", "galore", "hyperparams", "interop", "join_schedules",
    "lamb", "laprop", "lars", "laws", "layouts", "lbfgs", "linear_schedule", "lion", "lookahead",
    "madgrad", "make_step", "make_train_step", "masked", "matrices", "memory_report", "momentum",
    "momo", "momo_adam", "muon", "nadam", "nadamw", "named_chain", "noisy_sgd", "novograd", "numerics",
    "optimistic_adam", "optimistic_adam_v2", "optimistic_gradient_descent", "optimizers", "optional",
    "packed", "packing", "partition", "per_layer", "plot", "polyak_sgd", "prodigy", "radam", "ratio",
    "reports", "resume", "rms", "rmsprop", "rprop", "rules", "sam", "scale_by_learning_rate",
    "schedule_free", "schedule_free_adamw", "schedule_free_sgd", "schedules", "searches", "sgd",
    "sign_sgd", "signum", "simplified_ademamix", "sm3", "sophia", "stable_adamw", "states", "static",
    "telemetry", "to_json", "trace", "training", "tree", "tunable", "turn_by_learning_rate", "values",
    "warmup_cosine_decay_schedule", "with_hyperparams", "wrappers", "yogi",
]
# fmt: on


_OPTAX_SAYS = {
    "GradientTransformationExtraArgs": "GradientTransformation",
    "LookaheadParams": "lookahead",
    "MultiSteps": "accumulate",
    "add_decayed_weights": "add_decoupled_weight_decay",
    "init_empty_state": "EmptyState",
    "inject_hyperparams": "tunable",
    "inject_stateful_hyperparams": "tunable",
    "multi_transform": "partition",
    "safe_int32_increment": "safe_increment",
    "selective_transform": "masked",
    "global_norm": "tree.global_norm",
    "update_infinity_moment": "decayed_max",
    "update_moment": "ema",
    "update_moment_per_elem_norm": "ema",
}
"""Optax's name -> gradtx's word for it."""

_OPTAX_MODULES = {"contrib", "transforms"}
"""Modules of Optax whose names gradtx has without a module in front."""


def __dir__() -> list[str]:
    """What TAB shows: optimizers, what composes them, what runs them, and the wings, which have the rest."""
    return list(_SHOWN)


if not _typing.TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> _typing.Any:
        if name not in _LATER:
            raise AttributeError(f"module 'gradtx' has no attribute {name!r}.{_instead_of(name)}")
        module = _importlib.import_module(_LATER[name])
        found = getattr(module, name, module)
        globals()[name] = found
        return found


def _instead_of(name: str) -> str:
    """What to write where a name is missing: gradtx's word for Optax's, or the nearest name."""
    if name in _OPTAX_SAYS:
        hint = f" gradtx's word for it is gradtx.{_OPTAX_SAYS[name]}."
    elif name in _OPTAX_MODULES:
        hint = " What Optax has there is in gradtx itself: gradtx.muon, gradtx.masked."
    else:
        return _nearest(name, __all__)
    return f"{hint} `from gradtx.interop import optax` has Optax's own: optax.{name}."


_registry.publish(globals())
