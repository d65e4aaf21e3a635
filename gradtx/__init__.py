"""gradtx: composable gradient transformations that are values.

tx = gradtx.adamw(1e-3, weight_decay=0.1, mask="kernel$")
state = tx.init(params)
updates, state = tx.update(grads, state, params)
params = gradtx.apply_updates(params, updates)
"""

from gradtx import gallery, laws, numerics, plot, tree
from gradtx.anatomy import Reach
from gradtx.citing import cite
from gradtx.clipping import (
    adaptive_grad_clip,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_lagged_norm,
    leafwise_zclip,
    unitwise_clip,
    unitwise_norm,
    zclip,
)
from gradtx.combine import MaskedNode, add, chain, freeze, masked, named_chain, partition, ratio
from gradtx.compiled import Traffic, traffic
from gradtx.constraints import keep_params_nonnegative, zero_nans
from gradtx.curvature import gauss_newton_bartlett_diag_hessian, hutchinson_estimator_diag_hessian
from gradtx.decay import (
    add_decoupled_weight_decay,
    add_l2_penalty,
    add_proximal_weight_decay,
    decoupled,
)
from gradtx.donation import NeedlessCopies, needless_copies
from gradtx.explaining import Explanation, explain
from gradtx.functions import stateless, stateless_with_tree_map
from gradtx.hyperparameters import Adaptive, Schedule, affine, from_function
from gradtx.laws import check_transformation
from gradtx.layers import layerwise, per_layer
from gradtx.masks import by_path
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
from gradtx.memory import MemoryReport, memory_report
from gradtx.microbatching import Accumulator, micro_grad, micro_vmap, microbatch, reshape_batch_axis
from gradtx.moments import (
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
from gradtx.movement import share_moved
from gradtx.noise import add_noise
from gradtx.norms import (
    centralize,
    normalize,
    normalize_by_update_norm,
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from gradtx.numerics import safe_increment, safe_norm, safe_root_mean_squares
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
from gradtx.optimizers.nadam import nadam
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
from gradtx.optimizers.sgd import look_ahead, sgd
from gradtx.optimizers.sign_sgd import scale_by_sign, sign_sgd, signum
from gradtx.optimizers.simplified_ademamix import scale_by_simplified_ademamix, simplified_ademamix
from gradtx.optimizers.sm3 import divide_by_cover_root, scale_by_sm3, sm3
from gradtx.optimizers.sophia import print_win_rate, scale_by_sophia, sophia
from gradtx.optimizers.stable_adamw import stable_adamw, steady_ratio
from gradtx.optimizers.yogi import scale_by_yogi, yogi
from gradtx.packed import packed, unpacked
from gradtx.packing import packing
from gradtx.pointwise import (
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
from gradtx.privacy import (
    differentially_private_aggregate,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from gradtx.rate import reduce_on_plateau, scale_by_learning_rate, scale_by_schedule
from gradtx.resume import resume
from gradtx.runtime import HyperparamsState
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
from gradtx.searches import (
    scale_by_backtracking_linesearch,
    scale_by_zoom_linesearch,
    value_and_grad_from_state,
)
from gradtx.serial import from_json, to_json
from gradtx.slow_copies import incremental_update, periodic_update
from gradtx.states import tree_map_params
from gradtx.step import make_step, make_train_step
from gradtx.transformation import (
    Composite,
    EmptyState,
    GradientTransformation,
    apply_updates,
    foreign,
)
from gradtx.tunable import hyperparams, tunable, with_hyperparams
from gradtx.value import Value, optional, static
from gradtx.wrappers.accumulate import (
    accumulate,
    apply_every,
    has_updated,
    skip_large_updates,
    skip_not_finite,
)
from gradtx.wrappers.averaging import average_params, averaged_params
from gradtx.wrappers.cautious import cautious
from gradtx.wrappers.conditional import (
    apply_if_finite,
    conditionally_mask,
    conditionally_transform,
    run_when,
)
from gradtx.wrappers.layouts import flatten, split_real_and_imaginary, with_extra_args_support
from gradtx.wrappers.lookahead import lookahead
from gradtx.wrappers.mechanic import mechanize
from gradtx.wrappers.monitoring import measure_with_ema, monitor, snapshot
from gradtx.wrappers.sam import sam, sam_at_once, sam_in_turn
from gradtx.wrappers.schedule_free import schedule_free, schedule_free_eval_params

__version__ = "0.1.0"
