"""Uses of a state: map over it, evaluate by it, go on with it under another transformation."""

from gradtx.states.maps import tree_map_params
from gradtx.states.resuming import resume

__all__ = ["resume", "tree_map_params"]
