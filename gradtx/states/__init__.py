"""What can be done with a state: map over it, evaluate by it, go on with it under another transformation."""
