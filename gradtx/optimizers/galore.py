"""GaLore: Adam whose state lives in the leading singular vectors of each gradient.

    P = U[:, :r] where Gₜ = U S Vᵀ              every T steps; of V where there are more rows than columns
    Rₜ = Pᵀ Gₜ
    θₜ = θₜ₋₁ - λ (α P N(Rₜ) + w θₜ₋₁)           N: Adam's direction, say, with a state of the size of R

Zhao et al., "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection", 2024, algorithm 2.
https://arxiv.org/abs/2403.03507

The paper, and its authors' default, have the basis on a matrix's smaller side. Optax has it on the larger
one, which keeps the smaller R: `proj_type="reverse_std"`.
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.contract.hyperparameters import Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.matrices import in_subspace
from gradtx.matrices.axes import Axes
from gradtx.matrices.subspace import Side
from gradtx.optimizers.adam import scale_by_adam
from gradtx.rules.masks import Mask
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import optional, static

__all__ = ["galore", "scale_by_galore"]


class scale_by_galore(Composite):
    """GaLore's direction, α P N(Pᵀ G), without the learning rate and the decay.

    Args:
        rank: r, at least 1; at most a matrix's smaller side is used.
        update_proj_gap: T, how many steps a basis serves, at least 1.
        scale: α, any number; the authors use 0.25.
        base_optimizer: N, a transformation that needs no parameters; None is `scale_by_adam()`.
        weight_dimension_numbers: which leaves are matrices: see `matrix_axes`. None is those with two axes;
            others go to N as they are.
        proj_type: 'std' has the basis on a matrix's smaller side, 'reverse_std' on the larger one.
    """

    rank: AtLeastOne = static(default=128)
    update_proj_gap: AtLeastOne = static(default=200)
    scale: Number = 1.0
    base_optimizer: GradientTransformation | None = None
    weight_dimension_numbers: Axes | None = static(default=None)
    proj_type: Side = static(default="std", kw_only=True)

    def expand(self) -> GradientTransformation:
        inner = scale_by_adam() if self.base_optimizer is None else self.base_optimizer
        return in_subspace.of(self, inner=inner)


class galore(Composite):
    """GaLore: `scale_by_galore`, then the weight decay and the learning rate.

    For matrices so large that Adam's two moments do not fit: with a rank of a quarter of the smaller side
    they take about a quarter. Every T-th step pays a singular value decomposition of each matrix.

    Args:
        learning_rate: λ, a number or a schedule.
        rank: r, at least 1; at most a matrix's smaller side is used.
        update_proj_gap: T, how many steps a basis serves, at least 1.
        scale: α, any number; the authors use 0.25.
        base_optimizer: N, a transformation that needs no parameters; None is `scale_by_adam()`.
        weight_decay: w, in the full space; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        weight_dimension_numbers: which leaves are matrices: see `matrix_axes`. None is those with two axes.
        proj_type: 'std' has the basis on a matrix's smaller side, 'reverse_std' on the larger one.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    rank: AtLeastOne = static(default=128)
    update_proj_gap: AtLeastOne = static(default=200)
    scale: Number = 1.0
    base_optimizer: GradientTransformation | None = None
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)
    weight_dimension_numbers: Axes | None = static(default=None)
    proj_type: Side = static(default="std", kw_only=True)

    def expand(self) -> GradientTransformation:
        return decoupled.of(self, direction=scale_by_galore.of(self).expand()).expand()
