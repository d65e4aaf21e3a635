"""Adafactor: Adam's denominator in the memory of a row and a column, with steps relative to the parameters.

    uₜ = gₜ / sqrt(vₜ)                          vₜ ≈ rₜ cₜᵀ / mean(rₜ), of averages rₜ and cₜ of g²
    ûₜ = uₜ / max(1, rms(uₜ) / d)
    θₜ = θₜ₋₁ - λ max(ε₂, rms(θₜ₋₁)) ûₜ         ε₂ = 1e-3

Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, algorithms 4
and 5. https://arxiv.org/abs/1804.04235

Its authors' code (tensor2tensor) factors what has two axes, however short; here, as in Optax, the two largest
axes of any leaf are factored where both are long enough.

ε₁ is the paper's: added to the squares before they are averaged, by default 1e-30. PyTorch's `eps[0]` is
another number: nothing is added, mean(rₜ) is taken to be at least ε₁, and so is sqrt(vₜ), by default the
precision of the dtype, 1.2e-7 in float32. Where gradients are well above both, the quotients agree. λ is the
step as it is given, where PyTorch takes min(λ, 1 / sqrt(t)), and PyTorch decays the weights by λ w.
"""

from __future__ import annotations

from typing import Annotated

from gradtx.atoms.clipping import clip_by_block_rms
from gradtx.atoms.decay import add_decoupled_weight_decay
from gradtx.atoms.moments import ema
from gradtx.atoms.norms import scale_by_param_block_rms
from gradtx.atoms.pointwise import scale, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Positive, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.matrices import scale_by_factored_rms
from gradtx.rules.masks import Mask
from gradtx.values.kinds import Integer
from gradtx.values.value import optional, static

__all__ = ["adafactor"]


class adafactor(Composite):
    """Adafactor: `scale_by_factored_rms`, then the clip, the learning rate, and the parameters' scale.

    For large matrices where memory is short: of an (n, m) matrix it keeps n + m numbers. The learning
    rate is relative to the size of a parameter: 1e-2 is a large one. The paper's, min(1e-6 t, 1 / sqrt(t)),
    is `inverse_square_root_schedule(1e-2, 10_000)`.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the entry stands still, or its matrix where that is factored.

    Args:
        learning_rate: λ, a number or a schedule; None is 1, which is Optax's default, and too large for most.
        min_dim_size_to_factor: leaves whose second largest axis is smaller are not factored.
        decay_rate: β₂ₜ = 1 - t^(-decay_rate).
        decay_offset: how many updates count as made before t goes on counting from 1.
        multiply_by_parameter_scale: multiply by max(ε₂, rms(θ)); False makes λ absolute.
        clipping_threshold: d, above 0; None does not clip.
        momentum: β₁ of an average of the steps, in [0, 1); None keeps none, and saves its memory.
        dtype_momentum: of that average; None is the parameters', at least float32.
        weight_decay_rate: w; a step takes w θ off a parameter, whatever λ is. None leaves the decay out.
        eps: ε₁, which is added to the squares as in the paper, at least 0; PyTorch's `eps[0]` is a bound.
        factored: False keeps an average for each entry.
        weight_decay_mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters while it needs them.
    """

    learning_rate: Rate | None = None
    min_dim_size_to_factor: Annotated[int, Integer(0)] = static(default=128)
    decay_rate: NonNegative = 0.8
    decay_offset: int = static(default=0)
    multiply_by_parameter_scale: bool = static(default=True)
    clipping_threshold: Positive | None = 1.0
    momentum: Decay | None = None
    dtype_momentum: DtypeName | None = static(default="float32")
    weight_decay_rate: Number | None = optional(default=None)
    eps: NonNegative = 1e-30
    factored: bool = static(default=True)
    weight_decay_mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        parts: list[GradientTransformation] = [
            scale_by_factored_rms(
                self.factored, self.decay_rate, self.decay_offset, self.min_dim_size_to_factor, self.eps
            ),
            unless_off(self.clipping_threshold, clip_by_block_rms),
        ]
        if self.learning_rate is not None:
            parts.append(scale_by_learning_rate(self.learning_rate, flip_sign=False))
        if self.multiply_by_parameter_scale:
            parts.append(scale_by_param_block_rms())
        if self.momentum is not None:
            parts.append(ema(self.momentum, accumulator_dtype=self.dtype_momentum))
        decay = unless_off(self.weight_decay_rate, add_decoupled_weight_decay, self.weight_decay_mask)
        return chain(*parts, decay, scale(-1.0))
