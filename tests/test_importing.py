"""What an import loads and leaves as it is, each seen in a new process: in this one all is loaded already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

IMPORTS = (
    "import gradtx",
    "from gradtx.interop import optax",
    "import gradtx; gradtx.laws, gradtx.plot, gradtx.gallery",
)


def in_a_new_process(code: str) -> Any:
    """What the code prints as JSON, run without the settings of these tests."""
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=clean | {"JAX_PLATFORMS": "cpu"},
    )
    return json.loads(run.stdout)


def test_what_not_every_program_needs_is_loaded_when_asked_for() -> None:
    loaded = in_a_new_process("import sys, json, gradtx; print(json.dumps(sorted(sys.modules)))")
    later = ("gradtx.gallery", "gradtx.interop", "gradtx.laws", "gradtx.reports.plot", "gradtx.command")
    others = ("optax", "flax", "chex", "equinox", "matplotlib", "click", "PIL")
    assert "gradtx.optimizers.adam" in loaded
    assert [m for m in loaded if m in (*later, *others)] == []


@pytest.mark.parametrize("imports", IMPORTS)
def test_an_import_does_not_start_jaxs_backend(imports: str) -> None:
    """Or `jax.distributed.initialize()`, and a number of devices that is set afterwards, would fail."""
    code = f"""
import json, jax
{imports}
jax.config.update("jax_num_cpu_devices", 3)  # raises, once a backend has been started
print(json.dumps(jax.device_count()))
"""
    assert in_a_new_process(code) == 3


@pytest.mark.parametrize("imports", IMPORTS)
def test_an_import_changes_nothing_in_the_process(imports: str) -> None:
    code = f"""
import json, locale, logging, os, random, signal, sys, warnings
import jax, numpy as np, optax as peer
def seen():
    return dict(
        settings={{n: repr(v) for n, v in jax.config.values.items()}},
        environment=dict(os.environ),
        warnings=[repr(f) for f in warnings.filters],
        hooks=[repr(x) for x in (sys.excepthook, sys.displayhook, warnings.showwarning, sys.meta_path)],
        numpy=[repr(np.geterr()), repr(np.get_printoptions())],
        random=hash(random.getstate()),
        levels=[logging.getLogger().level, len(logging.getLogger().handlers)],
        optax=sorted(vars(peer)),
        limits=[sys.getrecursionlimit(), sys.getswitchinterval()],
    )
before = seen()
loaded = set(sys.modules)
{imports}
after = seen()
named = {{m for m in sys.modules if m.startswith(("gradtx", "optax"))}} - loaded
print(json.dumps([{{k: [before[k], after[k]] for k in before if before[k] != after[k]}}, sorted(named)]))
"""
    changed, named = in_a_new_process(code)
    assert changed == {}
    assert all(name.partition(".")[0] == "gradtx" for name in named)
