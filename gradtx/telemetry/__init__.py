"""What can be seen of a run: measures in the state, printed numbers, how far parameters have moved."""
