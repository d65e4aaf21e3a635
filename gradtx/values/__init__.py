"""What a value is: a frozen dataclass and pytree that compares, prints, hashes and serialises."""
