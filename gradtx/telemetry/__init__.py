"""Views of a run: measures in the state, printed numbers, how far parameters have moved."""

from gradtx.telemetry.measures import measure_with_ema, monitor, snapshot
from gradtx.telemetry.movement import share_moved
from gradtx.telemetry.prints import print_win_rate

__all__ = [
    "measure_with_ema",
    "monitor",
    "print_win_rate",
    "share_moved",
    "snapshot",
]
