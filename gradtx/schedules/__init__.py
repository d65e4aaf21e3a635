"""Schedules: numbers that depend on the step, as values that print, compare, hash and serialise.

Each is a pure function of the step, which counts updates from 0, so that a resumed run is exact. Before
step 0 each stays at its first level; a fraction of a step is refused; the largest step is 2³¹ - 1.
Levels are data: leaves of the pytree, which may be traced, mapped over and differentiated. Counts
of steps are static. Names and arguments are Optax's where Optax has the schedule.

What PyTorch's torch.optim.lr_scheduler has, for an optimizer whose learning rate is `lr`:

| PyTorch | gradtx |
|---|---|
| `StepLR(step_size, gamma)` | `step_decay_schedule(lr, step_size, gamma)` |
| `MultiStepLR(milestones, gamma)` | `multi_step_schedule(lr, milestones, gamma)` |
| `ExponentialLR(gamma)` | `exponential_decay(lr, 1, gamma)` |
| `CosineAnnealingLR(T_max, eta_min)` | `cosine_annealing_schedule(lr, T_max, eta_min)` |
| `CosineAnnealingWarmRestarts(T_0, T_mult)` | `cosine_warm_restarts_schedule(lr, T_0, T_mult)` |
| `LinearLR(start, end, total_iters)` | `linear_schedule(lr * start, lr * end, total_iters)` |
| `ConstantLR(factor, n)` | `piecewise_constant_schedule(lr * factor, {n: 1 / factor})` |
| `PolynomialLR(total_iters, power)` | `polynomial_schedule(lr, 0.0, power, total_iters)` |
| `CyclicLR(base_lr, max_lr, up, down, mode, gamma)` | `cyclic_schedule`, with the same arguments |
| `OneCycleLR(max_lr, total_steps, ...)` | `onecycle_schedule(total_steps, max_lr, ...)` |
| `SequentialLR(schedulers, milestones)` | `join_schedules(schedules, milestones)` |
| `ChainedScheduler([first, *others])` | `multiply_schedules(first, *others)`, with 1 for lr in the others |
| `LambdaLR(function)` | `scale_schedule(function, lr)` |
| `ReduceLROnPlateau(mode, factor, patience, ...)` | `plateau_schedule(lr, factor, patience, ...)` |
| `scheduler.step() after each epoch` | `per_epoch(schedule, steps_per_epoch)` |

`cosine_annealing_schedule` has `periodic=False` to stay at the end instead of coming back; CyclicLR's
and OneCycleLR's momentum is a schedule for the optimizer's momentum. `plateau_schedule` is not a function
of the step: it follows the metric that each update is given.
"""

from gradtx.schedules.algebra import (
    add_schedules,
    join_schedules,
    multiply_schedules,
    per_epoch,
    scale_schedule,
)
from gradtx.schedules.cosine import (
    cosine_annealing_schedule,
    cosine_decay_schedule,
    cosine_warm_restarts_schedule,
)
from gradtx.schedules.cyclic import cyclic_schedule
from gradtx.schedules.exponential import exponential_decay, multi_step_schedule, step_decay_schedule
from gradtx.schedules.levels import constant_schedule, linear_schedule, polynomial_schedule
from gradtx.schedules.onecycle import cosine_onecycle_schedule, linear_onecycle_schedule, onecycle_schedule
from gradtx.schedules.piecewise import piecewise_constant_schedule, piecewise_interpolate_schedule
from gradtx.schedules.plateau import PlateauState, plateau_schedule
from gradtx.schedules.restarts import sgdr_schedule
from gradtx.schedules.rex import rex_schedule
from gradtx.schedules.root import inverse_square_root_schedule, power_schedule
from gradtx.schedules.warmup import (
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_stable_decay_schedule,
    with_warmup,
)

__all__ = [
    "PlateauState",
    "add_schedules",
    "constant_schedule",
    "cosine_annealing_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_warm_restarts_schedule",
    "cyclic_schedule",
    "exponential_decay",
    "inverse_square_root_schedule",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "multi_step_schedule",
    "multiply_schedules",
    "onecycle_schedule",
    "per_epoch",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "plateau_schedule",
    "polynomial_schedule",
    "power_schedule",
    "rex_schedule",
    "scale_schedule",
    "sgdr_schedule",
    "step_decay_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule",
    "with_warmup",
]
