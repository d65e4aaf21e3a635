"""Transformations that see a leaf as a matrix: orthogonal factors, subspaces, factored averages; roots."""

from gradtx.matrices.apart import for_matrices
from gradtx.matrices.axes import matrix_axes
from gradtx.matrices.factored import scale_by_factored_rms
from gradtx.matrices.orthogonal import newton_schulz, orthogonalize, scale_by_shape
from gradtx.matrices.roots import matrix_inverse_pth_root, power_iteration
from gradtx.matrices.subspace import in_subspace

__all__ = [
    "for_matrices",
    "in_subspace",
    "matrix_axes",
    "matrix_inverse_pth_root",
    "newton_schulz",
    "orthogonalize",
    "power_iteration",
    "scale_by_factored_rms",
    "scale_by_shape",
]
