"""What a value is: a frozen dataclass and pytree that compares, prints, hashes and serialises."""

from gradtx.values.serial import from_json, to_json
from gradtx.values.value import Value, optional, static

__all__ = ["Value", "from_json", "optional", "static", "to_json"]
