"""Muon: momentum whose every matrix is replaced by a nearly orthogonal one; AdamW for all other leaves.

    Mₜ = β Mₜ₋₁ + (1 - β) Gₜ
    Oₜ = orthogonalize(β Mₜ + (1 - β) Gₜ)                          or of Mₜ, without Nesterov's look-ahead
    Wₜ = Wₜ₋₁ - λ (sqrt(max(1, columns / rows)) Oₜ + w Wₜ₋₁)       where a column is an output

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
(https://kellerjordan.github.io/posts/muon), as in the authors' code
(https://github.com/KellerJordan/Muon, commit 00ba60d), which computes the products in
bfloat16, with ε = 1e-7.

Optax divides M and G by the weights 1 - βᵗ⁺¹ and 1 - βᵗ that they have gathered, as NAdam does, which tilts
the first steps towards M: `bias_correction=True`.
"""

from __future__ import annotations

import dataclasses

from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments import ema, momentum, nesterov_momentum
from gradtx.atoms.pointwise import scale
from gradtx.combine import add, chain
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate, complement
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.matrices import for_matrices, orthogonalize, scale_by_shape
from gradtx.matrices.axes import Axes
from gradtx.matrices.orthogonal import STANDARD, Coefficients, NewtonSchulzSteps, Preconditioning
from gradtx.optimizers.adamw import adamw
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["muon", "scale_by_muon"]


class scale_by_muon(Composite):
    """Muon's direction: momentum, then `orthogonalize`, for leaves that are all matrices.

    Vectors and scalars keep their momentum as it is; Optax refuses them. Put `muon`, `for_matrices` or
    `partition` around it.

    Args:
        ns_coeffs: (a, b, c) of the Newton-Schulz steps, or such a triple for each step, or a preset's name.
        ns_steps: how many steps, at least 0; with a triple for each step, there are as many as triples.
        beta: β, in [0, 1).
        eps: ε, at least 0, beside the norm that a matrix is divided by.
        mu_dtype: of the momentum's state; None is the parameters', at least float32.
        nesterov: look one step ahead.
        adaptive: multiply by the dual norm, as in `orthogonalize`.
        preconditioning: 'frobenius', 'spectral', 'aol' or 'schatten', as in `orthogonalize`.
        weight_dimension_numbers: the axes of the matrices: see `matrix_axes`. None is the last two.
        bias_correction: divide the moments by the weight they have gathered, as Optax does.
        compute_in: the dtype of the matrix products; None is the updates', at least float32.
    """

    ns_coeffs: Coefficients = static(default=STANDARD)
    ns_steps: NewtonSchulzSteps = static(default=5)
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=True, kw_only=True)
    adaptive: bool = static(default=False, kw_only=True)
    preconditioning: Preconditioning = static(default="frobenius", kw_only=True)
    weight_dimension_numbers: Axes | None = static(default=None, kw_only=True)
    bias_correction: bool = static(default=False, kw_only=True)
    compute_in: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        if self.bias_correction:
            look = nesterov_momentum if self.nesterov else momentum
            return chain(look(self.beta, self.mu_dtype), orthogonalize.of(self))
        average: GradientTransformation = ema(self.beta, accumulator_dtype=self.mu_dtype)
        if self.nesterov:
            average = add(chain(average, scale(self.beta)), scale(complement(self.beta)))
        return chain(average, orthogonalize.of(self))


class muon(Composite):
    """Muon for the matrices, AdamW for all other leaves.

    For the hidden matrices of a network; give its embedding and its last layer to AdamW, by
    `muon_weight_dimension_numbers=by_path(("embed|head", None), (".*", matrix_axes()))` where all others are
    matrices, or a tree of the kind. λ is 0.02 or so, an update's spectral norm; with consistent_rms=0.2 it is
    AdamW's. Stacked layers: `per_layer`, or a rule such as "^blocks/.*kernel$", whose leaves are batches of
    matrices in their last two axes.

    Args:
        learning_rate: λ, a number or a schedule.
        ns_coeffs: (a, b, c) of the Newton-Schulz steps, or such a triple for each step; 'standard' is Muon's,
            'dion' five steps that end nearer to 1.
        ns_steps: how many steps, at least 0; with a triple for each step, there are as many as triples.
        beta: β, in [0, 1).
        eps: ε, at least 0, beside the norm that a matrix is divided by; and AdamW's.
        weight_decay: w for the matrices; what a step takes off a parameter is λ w θ.
        weight_decay_mask: the matrices that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        mu_dtype: of the state of momentum and of AdamW's first moment; None is the parameters', at least
            float32.
        nesterov: look one step ahead, in AdamW too.
        adaptive: multiply a matrix by its dual norm, as in `orthogonalize`.
        preconditioning: 'frobenius', 'spectral', 'aol' or 'schatten', as in `orthogonalize`.
        adam_b1: β₁ of AdamW, in [0, 1).
        adam_b2: β₂ of AdamW, in [0, 1).
        adam_eps_root: inside AdamW's root, at least 0.
        adam_weight_decay: w of AdamW.
        adam_learning_rate: λ of AdamW; None is `learning_rate`.
        muon_weight_dimension_numbers: which leaves are matrices, by which axes: see `matrix_axes`. None is
            those with two axes.
        consistent_rms: c, at least 0: scale matrices to a root mean square of c, not by their shape.
        bias_correction: divide Muon's moments by the weight they have gathered, as Optax does.
        compute_in: the dtype of the matrix products, such as 'bfloat16'; None is the updates', at least
            float32.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    ns_coeffs: Coefficients = static(default=STANDARD)
    ns_steps: NewtonSchulzSteps = static(default=5)
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Number = optional(default=0.0)
    weight_decay_mask: Mask | None = static(default=None)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=True, kw_only=True)
    adaptive: bool = static(default=False, kw_only=True)
    preconditioning: Preconditioning = static(default="frobenius", kw_only=True)
    adam_b1: Decay = dataclasses.field(default=0.9, kw_only=True)
    adam_b2: Decay = dataclasses.field(default=0.999, kw_only=True)
    adam_eps_root: NonNegative = optional(default=0.0, kw_only=True)
    adam_weight_decay: Number = optional(default=0.0, kw_only=True)
    adam_learning_rate: Rate | None = dataclasses.field(default=None, kw_only=True)
    muon_weight_dimension_numbers: Axes | None = static(default=None, kw_only=True)
    consistent_rms: NonNegative | None = dataclasses.field(default=None, kw_only=True)
    bias_correction: bool = static(default=False, kw_only=True)
    compute_in: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        axes = self.muon_weight_dimension_numbers
        direction = scale_by_muon.of(self, weight_dimension_numbers=axes).expand()
        matrices = decoupled(
            chain(direction, scale_by_shape(axes, self.consistent_rms)),
            self.learning_rate,
            self.weight_decay,
            self.weight_decay_mask,
        )
        others = adamw(
            self.learning_rate if self.adam_learning_rate is None else self.adam_learning_rate,
            self.adam_b1,
            self.adam_b2,
            self.eps,
            self.adam_eps_root,
            self.mu_dtype,
            self.adam_weight_decay,
            nesterov=self.nesterov,
        )
        return for_matrices(matrices.expand(), others.expand(), axes)
