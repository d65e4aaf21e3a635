"""Which states Optax's optimizers have, in their order."""

from __future__ import annotations

from typing import Any

import gradtx
from gradtx.contract.transformation import GradientTransformation
from gradtx.interop.optax.states.classes import (
    MASKED_NOTHING,
    NOTHING,
    WEIGHT_DECAY_SCHEDULE,
)
from gradtx.interop.optax.states.codec import known
from gradtx.interop.optax.states.line import Extra, Line
from gradtx.interop.optax.states.rates import Rate
from gradtx.optimizers.fromage import turn_by_learning_rate
from gradtx.values.value import is_off

__all__ = ["decayed", "rate"]


def rate(tx: Any) -> GradientTransformation:
    """The learning rate of an optimizer, with its sign."""
    return gradtx.scale_by_learning_rate(tx.learning_rate)


def decayed(weight_decay: Any, mask: Any) -> Any:
    """What decays; without a decay, Optax's state of it."""
    if is_off(weight_decay):
        return NOTHING if mask is None else MASKED_NOTHING
    return gradtx.add_decoupled_weight_decay(weight_decay, mask)


def _direction(make: Any) -> Line:
    """A direction and the rate."""
    return Line(lambda tx: [make.of(tx), rate(tx)])


def _decoupled(make: Any, mask: str = "mask") -> Line:
    """A direction, the decay, the rate."""

    def parts(tx: Any) -> list[Any]:
        decay, step = decayed(tx.weight_decay, getattr(tx, mask)), rate(tx)
        late = getattr(tx, "independent_decay", False)
        return [make.of(tx), step, decay] if late else [make.of(tx), decay, step]

    return Line(parts)


def _penalised(make: Any) -> Line:
    """The decay, a direction, the rate."""
    return Line(lambda tx: [decayed(tx.weight_decay, tx.mask), make.of(tx), rate(tx)])


def _velocity(tx: Any) -> Any:
    return gradtx.trace(tx.momentum, tx.nesterov, tx.accumulator_dtype)


def _sgd(tx: Any) -> list[Any]:
    if tx.momentum is None:
        return [None, rate(tx)]
    return [rate(tx), _velocity(tx)] if tx.rate_inside else [_velocity(tx), rate(tx)]


def _rmsprop(tx: Any) -> list[Any]:
    make = gradtx.scale_by_stddev if tx.centered else gradtx.scale_by_rms
    rest = [None] if tx.momentum is None else [gradtx.trace(tx.momentum, tx.nesterov)]
    return [make.of(tx), rate(tx), *rest]


def _adafactor(tx: Any) -> list[Any]:
    parts: list[Any] = [
        gradtx.scale_by_factored_rms(
            tx.factored, tx.decay_rate, tx.decay_offset, tx.min_dim_size_to_factor, tx.eps
        )
    ]
    if tx.clipping_threshold is not None:
        parts.append(NOTHING)
    if tx.learning_rate is not None:
        parts.append(rate(tx))
    if tx.multiply_by_parameter_scale:
        parts.append(NOTHING)
    if tx.momentum is not None:
        parts.append(gradtx.ema(tx.momentum, accumulator_dtype=tx.dtype_momentum))
    if tx.weight_decay_rate is not None:
        parts.append(decayed(tx.weight_decay_rate, tx.weight_decay_mask))
    return [*parts, NOTHING]


def _not_in_optaxs_adafactor(tx: Any) -> list[int]:
    last = 1 + (tx.learning_rate is not None) + tx.multiply_by_parameter_scale + (tx.momentum is not None) + 1
    without_clip = [1] if tx.clipping_threshold is None else []
    return without_clip + ([last] if tx.weight_decay_rate is None else [])


def _lars(tx: Any) -> list[Any]:
    """Both masks of Optax's are in the one direction of gradtx's."""
    masked = NOTHING if tx.weight_decay_mask is None else MASKED_NOTHING
    return [masked, Extra(MASKED_NOTHING), rate(tx), gradtx.trace(tx.momentum, tx.nesterov)]


def _cocob(tx: Any) -> list[Any]:
    return [decayed(tx.weight_decay, tx.mask), rate(tx), gradtx.scale_by_cocob.of(tx)]


def _fromage(tx: Any) -> list[Any]:
    shrink = Extra(Rate("learning_rate", WEIGHT_DECAY_SCHEDULE))
    return [NOTHING, turn_by_learning_rate(tx.learning_rate), shrink]


def _lbfgs(tx: Any) -> list[Any]:
    step = NOTHING if tx.learning_rate is None else rate(tx)
    return [gradtx.scale_by_lbfgs.of(tx), step, Extra(()) if tx.linesearch is None else tx.linesearch]


known |= {
    gradtx.adabelief: _direction(gradtx.scale_by_belief),
    gradtx.adadelta: Line(
        lambda tx: [
            decayed(tx.weight_decay, tx.weight_decay_mask),
            gradtx.scale_by_adadelta.of(tx),
            NOTHING if tx.learning_rate is None else rate(tx),
        ]
    ),
    gradtx.adafactor: Line(_adafactor, _not_in_optaxs_adafactor),
    gradtx.adagrad: _direction(gradtx.scale_by_rss),
    gradtx.adam: _direction(gradtx.scale_by_adam),
    gradtx.adamax: _direction(gradtx.scale_by_adamax),
    gradtx.adamaxw: _decoupled(gradtx.scale_by_adamax),
    gradtx.adamw: _decoupled(gradtx.scale_by_adam),
    gradtx.adan: _decoupled(gradtx.scale_by_adan),
    gradtx.ademamix: _decoupled(gradtx.scale_by_ademamix),
    gradtx.adopt: _direction(gradtx.scale_by_adopt),
    gradtx.acprop: _decoupled(gradtx.scale_by_acprop),
    gradtx.amsgrad: _direction(gradtx.scale_by_amsgrad),
    gradtx.cocob: Line(_cocob),
    gradtx.dog: _penalised(gradtx.scale_by_dog),
    gradtx.dowg: _penalised(gradtx.scale_by_dowg),
    gradtx.fromage: Line(_fromage),
    gradtx.galore: _decoupled(gradtx.scale_by_galore),
    gradtx.lamb: Line(
        lambda tx: [gradtx.scale_by_adam.of(tx), decayed(tx.weight_decay, tx.mask), NOTHING, rate(tx)]
    ),
    gradtx.lars: Line(_lars),
    gradtx.lbfgs: Line(_lbfgs),
    gradtx.lion: _decoupled(gradtx.scale_by_lion),
    gradtx.madgrad: Line(lambda tx: [decayed(tx.weight_decay, None), gradtx.scale_by_madgrad.of(tx)]),
    gradtx.nadam: Line(lambda tx: [gradtx.scale_by_adam.of(gradtx.adam.of(tx)), rate(tx)]),
    gradtx.nadamw: Line(
        lambda tx: [gradtx.scale_by_adam.of(gradtx.adamw.of(tx)), decayed(tx.weight_decay, tx.mask), rate(tx)]
    ),
    gradtx.noisy_sgd: Line(lambda tx: [gradtx.add_noise(tx.eta, tx.gamma, tx.key), rate(tx)]),
    gradtx.novograd: _direction(gradtx.scale_by_novograd),
    gradtx.optimistic_adam: Line(
        lambda tx: [
            gradtx.scale_by_adam.of(tx),
            gradtx.scale_by_optimistic_gradient(
                tx.learning_rate, tx.learning_rate if tx.optimism is None else tx.optimism
            ),
            NOTHING,
        ]
    ),
    gradtx.optimistic_adam_v2: Line(
        lambda tx: [gradtx.scale_by_adam.of(tx), gradtx.scale_by_optimistic_gradient.of(tx), rate(tx)]
    ),
    gradtx.optimistic_gradient_descent: _direction(gradtx.scale_by_optimistic_gradient),
    gradtx.polyak_sgd: Line(lambda tx: [(NOTHING, NOTHING), gradtx.scale_by_learning_rate(tx.scaling)]),
    gradtx.radam: _direction(gradtx.scale_by_radam),
    gradtx.rmsprop: Line(_rmsprop),
    gradtx.rprop: Line(lambda tx: [gradtx.scale_by_rprop.of(tx), NOTHING]),
    gradtx.sgd: Line(_sgd),
    gradtx.sign_sgd: Line(lambda tx: [NOTHING, rate(tx)]),
    gradtx.signum: Line(
        lambda tx: [gradtx.ema(tx.beta, accumulator_dtype=tx.accumulator_dtype), NOTHING, rate(tx)]
    ),
    gradtx.simplified_ademamix: _decoupled(gradtx.scale_by_simplified_ademamix),
    gradtx.sm3: Line(lambda tx: [gradtx.scale_by_sm3(tx.momentum), rate(tx)]),
    gradtx.sophia: _decoupled(gradtx.scale_by_sophia, "weight_decay_mask"),
    gradtx.yogi: _direction(gradtx.scale_by_yogi),
    gradtx.dpsgd: Line(
        lambda tx: [
            gradtx.differentially_private_aggregate(tx.l2_norm_clip, tx.noise_multiplier, tx.seed),
            gradtx.sgd(tx.learning_rate, tx.momentum, tx.nesterov),
        ]
    ),
}
