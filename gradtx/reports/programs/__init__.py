"""What a compiled program moves, and what it copies."""
