"""What a value tells of itself: its composition, formulas, sources, memory, and what its program moves."""

from gradtx.reports.citing import cite
from gradtx.reports.explaining import Explanation, explain
from gradtx.reports.memory import MemoryReport, memory_report
from gradtx.reports.programs.copies import NeedlessCopies, needless_copies
from gradtx.reports.programs.traffic import Traffic, traffic

__all__ = [
    "Explanation",
    "MemoryReport",
    "NeedlessCopies",
    "Traffic",
    "cite",
    "explain",
    "memory_report",
    "needless_copies",
    "traffic",
]
