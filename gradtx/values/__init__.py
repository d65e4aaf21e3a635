"""Values: frozen dataclasses and pytrees, each of which compares, prints, hashes and serialises."""

from gradtx.values.serial import from_json, to_json
from gradtx.values.value import Value, optional, static

__all__ = ["Value", "from_json", "optional", "static", "to_json"]
