"""What the figures depend on."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import re
from typing import Any

import jax

PACKAGES = ("gradtx", "jax", "jaxlib", "optax", "torch")


def machine() -> dict[str, Any]:
    """Processor, device and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def load() -> float | None:
    """Processes that wanted to run, on average over the last minute; this one counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    about = pathlib.Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", about.read_text()) if about.exists() else []
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
