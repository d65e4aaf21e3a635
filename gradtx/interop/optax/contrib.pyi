"""Written by `python -m tests.interop.optax_stub`."""

from optax.contrib import (
    COCOBState,
    DAdaptAdamWState,
    DifferentiallyPrivateAggregateState,
    DoGState,
    DoWGState,
    GaLoreDimensionNumbers,
    GaLoreState,
    HutchinsonState,
    MadgradState,
    MechanicState,
    MomoAdamState,
    MomoState,
    MuonDimensionNumbers,
    MuonState,
    NormalizeState,
    ProdigyState,
    ReduceLROnPlateauState,
    SAMState,
    ScaleByAdemamixState,
    ScaleBySimplifiedAdEMAMixState,
    ScheduleFreeState,
    SophiaState,
    SplitRealAndImaginaryState,
    schedule_free_eval_params,
)

from gradtx import acprop as _acprop
from gradtx import ademamix as _ademamix
from gradtx import adopt as _adopt
from gradtx import cocob as _cocob
from gradtx import dadapt_adamw as _dadapt_adamw
from gradtx import dog as _dog
from gradtx import dowg as _dowg
from gradtx import dpsgd as _dpsgd
from gradtx import galore as _galore
from gradtx import hutchinson_estimator_diag_hessian as _hutchinson_estimator_diag_hessian
from gradtx import madgrad as _madgrad
from gradtx import mechanize as _mechanize
from gradtx import momo as _momo
from gradtx import momo_adam as _momo_adam
from gradtx import muon as _muon
from gradtx import normalize as _normalize
from gradtx import prodigy as _prodigy
from gradtx import sam as _sam
from gradtx import scale_by_acprop as _scale_by_acprop
from gradtx import scale_by_ademamix as _scale_by_ademamix
from gradtx import scale_by_adopt as _scale_by_adopt
from gradtx import scale_by_cocob as _scale_by_cocob
from gradtx import scale_by_galore as _scale_by_galore
from gradtx import scale_by_madgrad as _scale_by_madgrad
from gradtx import scale_by_muon as _scale_by_muon
from gradtx import scale_by_simplified_ademamix as _scale_by_simplified_ademamix
from gradtx import schedule_free as _schedule_free
from gradtx import schedule_free_adamw as _schedule_free_adamw
from gradtx import schedule_free_sgd as _schedule_free_sgd
from gradtx import simplified_ademamix as _simplified_ademamix
from gradtx import sophia as _sophia
from gradtx import split_real_and_imaginary as _split_real_and_imaginary
from gradtx.interop.optax.adapters import (
    differentially_private_aggregate as _differentially_private_aggregate,
)
from gradtx.interop.optax.adapters import reduce_on_plateau as _reduce_on_plateau
from gradtx.interop.optax.transformation import makes

__all__ = [
    "COCOBState",
    "DAdaptAdamWState",
    "DifferentiallyPrivateAggregateState",
    "DoGState",
    "DoWGState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "MadgradState",
    "MechanicState",
    "MomoAdamState",
    "MomoState",
    "MuonDimensionNumbers",
    "MuonState",
    "NormalizeState",
    "ProdigyState",
    "ReduceLROnPlateauState",
    "SAMState",
    "ScaleByAdemamixState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScheduleFreeState",
    "SophiaState",
    "SplitRealAndImaginaryState",
    "acprop",
    "ademamix",
    "adopt",
    "cocob",
    "dadapt_adamw",
    "differentially_private_aggregate",
    "dog",
    "dowg",
    "dpsgd",
    "galore",
    "hutchinson_estimator_diag_hessian",
    "madgrad",
    "mechanize",
    "momo",
    "momo_adam",
    "muon",
    "normalize",
    "prodigy",
    "reduce_on_plateau",
    "sam",
    "scale_by_acprop",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_cocob",
    "scale_by_galore",
    "scale_by_madgrad",
    "scale_by_muon",
    "scale_by_simplified_ademamix",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "simplified_ademamix",
    "sophia",
    "split_real_and_imaginary",
]

acprop = makes(_acprop)
ademamix = makes(_ademamix)
adopt = makes(_adopt)
cocob = makes(_cocob)
dadapt_adamw = makes(_dadapt_adamw)
dog = makes(_dog)
dowg = makes(_dowg)
dpsgd = makes(_dpsgd)
galore = makes(_galore)
hutchinson_estimator_diag_hessian = makes(_hutchinson_estimator_diag_hessian)
madgrad = makes(_madgrad)
mechanize = makes(_mechanize)
momo = makes(_momo)
momo_adam = makes(_momo_adam)
muon = makes(_muon)
normalize = makes(_normalize)
prodigy = makes(_prodigy)
sam = makes(_sam)
scale_by_acprop = makes(_scale_by_acprop)
scale_by_ademamix = makes(_scale_by_ademamix)
scale_by_adopt = makes(_scale_by_adopt)
scale_by_cocob = makes(_scale_by_cocob)
scale_by_galore = makes(_scale_by_galore)
scale_by_madgrad = makes(_scale_by_madgrad)
scale_by_muon = makes(_scale_by_muon)
scale_by_simplified_ademamix = makes(_scale_by_simplified_ademamix)
schedule_free = makes(_schedule_free)
schedule_free_adamw = makes(_schedule_free_adamw)
schedule_free_sgd = makes(_schedule_free_sgd)
simplified_ademamix = makes(_simplified_ademamix)
sophia = makes(_sophia)
split_real_and_imaginary = makes(_split_real_and_imaginary)
differentially_private_aggregate = makes(_differentially_private_aggregate)
reduce_on_plateau = makes(_reduce_on_plateau)
