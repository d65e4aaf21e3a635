"""Clips: what bounds a step, and what it has to know before the step can be taken.

    clip_by_global_norm, zclip          the norm of *this* step, of all leaves: no gradient can be used
                                        before the last one is there
    clip_by_lagged_norm                 the norm of the step before, and the leaf's own
    clip_by_block_rms, leafwise_zclip,  the leaf alone
    adaptive_grad_clip

In a step that is compiled as a whole, backpropagation makes one layer's gradient after the other. If
the first can be used while the next is made, few exist at a time; a clip that waits for the norm of
all keeps all of them, 4 bytes of memory for every parameter. `python -m benchmarks.whole_step`
prints what each needs. (Layers that are stacked and scanned over are one leaf, and come together.)
"""

from gradtx.atoms.clipping.adaptive import adaptive_grad_clip, unitwise_clip, unitwise_norm
from gradtx.atoms.clipping.fixed import clip_by_block_rms, clip_by_global_norm
from gradtx.atoms.clipping.lagged import LaggedNormState, clip_by_lagged_norm
from gradtx.atoms.clipping.spikes import LeafwiseZClipState, ZClipState, leafwise_zclip, zclip

__all__ = [
    "LaggedNormState",
    "LeafwiseZClipState",
    "ZClipState",
    "adaptive_grad_clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_lagged_norm",
    "leafwise_zclip",
    "unitwise_clip",
    "unitwise_norm",
    "zclip",
]
