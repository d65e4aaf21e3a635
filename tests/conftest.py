"""Strict settings for every test: what promotes, broadcasts or warns by accident fails."""

import gc
import os

from tests.compiling import QUICK, flags, share_contexts

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", flags(QUICK)]
)

import chex
import jax
import pytest

share_contexts()
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_finish() -> None:
    # Tests and modules stay: looking through them for garbage again and again took a twentieth of the time.
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")


@pytest.fixture(autouse=True)
def _fresh_trace_counts() -> None:
    chex.clear_trace_counter()  # chex counts by the function's source, also from one test to the next
