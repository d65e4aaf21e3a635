"""What surrounds an optimizer in a training loop: compiled steps, micro-batches, slow copies."""
