"""What a value tells of itself: its composition, formulas, sources, memory, and what its program moves."""
