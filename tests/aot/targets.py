"""The accelerators: a TPU v5e, which libtpu knows by name, and an H100, from NVIDIA's data sheet."""

from __future__ import annotations

import functools
import os
import pathlib
from importlib import metadata
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

NEEDS = {
    "tpu-v5e": ("libtpu",),
    "h100": ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12"),
}
# libtpu guards a real TPU against a second process; here there is none, and tests run in parallel.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

H100 = pathlib.Path(__file__).with_name("h100.txtpb")


def missing(target: str) -> str | None:
    """Why a target's compiler cannot be used, or None."""
    for package in NEEDS[target]:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"{package} is not installed: pip install 'gradtx[aot]'"
        if package.startswith("jax-") and version != jax.__version__:
            return f"{package} {version} is for another jax than {jax.__version__}"
    return None


@functools.cache
def device(target: str) -> Any:
    """A device that can be compiled for, and nothing else."""
    if target == "tpu-v5e":
        return topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[0]
    described = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", topology="1x1x1", target_config=H100.read_text()
    )
    return described.devices[0]


def compile_for(target: str, step: Any, *args: Any, **extra: Any) -> Any:
    """A jitted step compiled for a target; the arguments are trees of shapes and dtypes."""
    where = SingleDeviceSharding(device(target))
    placed, named = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), (args, extra)
    )
    return step.lower(*placed, **named).compile()
