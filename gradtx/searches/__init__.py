"""Learning rates that are searched for, with further calls of the objective."""

from gradtx.searches.backtracking import scale_by_backtracking_linesearch
from gradtx.searches.reuse import value_and_grad_from_state
from gradtx.searches.zoom import scale_by_zoom_linesearch

__all__ = [
    "scale_by_backtracking_linesearch",
    "scale_by_zoom_linesearch",
    "value_and_grad_from_state",
]
