"""The public face: which names there are, which of them TAB shows, and what a name of Optax's is told."""

from __future__ import annotations

import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest

import gradtx
from gradtx.interop.optax import names as optax_names

NAMES = (pathlib.Path(__file__).parent / "recorded" / "public_names.txt").read_text().split()
WINGS = {m.name for m in pkgutil.iter_modules(gradtx.__path__) if m.ispkg}

OWN_ROOMS = {
    "atoms": ["absolute", "at_least", "decayed_max", "offset", "rare_ema", "running_sum", "tanh", "ema"],
    "layouts": ["layerwise", "packed", "packing", "unpacked"],
    "matrices": ["for_matrices", "in_subspace", "matrix_axes", "newton_schulz", "orthogonalize"],
    "reports": ["Explanation", "MemoryReport", "NeedlessCopies", "Traffic", "needless_copies", "traffic"],
    "telemetry": ["print_win_rate", "share_moved"],
    "training": ["look_ahead", "make_step"],
}
"""Names of gradtx's own that are found in a wing."""


def in_a_new_process(code: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_every_name_that_was_public_is() -> None:
    assert len(NAMES) == len(set(NAMES)) == 288
    assert [name for name in NAMES if not hasattr(gradtx, name)] == []
    assert set(NAMES) <= set(gradtx.__all__)
    assert len(gradtx.__all__) == len(set(gradtx.__all__))
    scope: dict = {}
    exec("from gradtx import *", scope)
    assert set(gradtx.__all__) <= set(scope)


def test_nothing_else_is() -> None:
    """In a new process: in this one other tests have imported modules, which Python makes attributes."""
    found = in_a_new_process("import gradtx; print(*(n for n in vars(gradtx) if n[0] != '_'))")
    later = {"check_transformation", "gallery", "interop", "laws", "plot"}
    assert set(found) == set(gradtx.__all__) - later
    assert in_a_new_process("import gradtx; gradtx.plot; gradtx.laws; print('plot' in vars(gradtx))") == [
        "True"
    ]


def test_tab_shows_a_part_of_them() -> None:
    shown = dir(gradtx)
    assert 115 <= len(shown) <= 125
    assert set(shown) <= set(gradtx.__all__)
    assert set(shown) >= WINGS, "a wing has the names that TAB leaves out"
    optimizers = {
        n
        for n, cls in inspect.getmembers(gradtx, inspect.isclass)
        if cls.__module__.startswith("gradtx.optimizers.") and "learning_rate" in cls.__dataclass_fields__
    }
    composing = {n for n in optimizers if n.startswith(("scale_by", "turn_by"))}  # found by their prefix
    assert len(optimizers - composing) > 40
    assert optimizers - composing <= set(shown)
    shown.clear()
    assert dir(gradtx), "a list of its own for everyone who asks"


@pytest.mark.parametrize("wing", sorted(OWN_ROOMS))
def test_a_wing_has_the_names_of_its_modules(wing: str) -> None:
    module = getattr(gradtx, wing)
    assert set(OWN_ROOMS[wing]) <= set(module.__all__)
    made_there = {n for n in NAMES if getattr(gradtx, n).__module__.startswith(f"gradtx.{wing}.")}
    assert made_there <= set(module.__all__)
    assert all(getattr(module, n) is getattr(gradtx, n) for n in made_there)


def test_a_package_that_has_names_exports_them() -> None:
    """Without `__all__` a type checker takes what a package imports for its private business."""
    for info in pkgutil.walk_packages(gradtx.__path__, "gradtx."):
        if not info.ispkg or info.name in ("gradtx.interop.optax", "gradtx.laws"):  # with code of their own
            continue
        module = importlib.import_module(info.name)
        here = {
            n
            for n, x in vars(module).items()
            if n[0] != "_"
            and (inspect.isclass(x) or inspect.isfunction(x))
            and x.__module__.startswith("gradtx.")
        }
        assert here <= set(getattr(module, "__all__", ())), info.name


def optaxs_words() -> list[str]:
    """The names of what gradtx has at Optax's root under another name."""
    own = [n for n in optax_names.every() if "." not in n and not hasattr(gradtx, n)]
    return [
        n for n in own if not n.endswith("State") and optax_names.find(n)[0] is not optax_names.find(n)[1]
    ]


def test_a_name_of_optaxs_is_told_gradtxs_word() -> None:
    words = optaxs_words()
    assert {"MultiSteps", "add_decayed_weights", "inject_hyperparams", "multi_transform"} <= set(words)
    for name in [*words, "contrib", "transforms"]:
        with pytest.raises(AttributeError, match=f"no attribute '{name}'") as error:
            getattr(gradtx, name)
        words_here = re.findall(r"\bgradtx\.((?:tree\.)?\w+)", str(error.value).replace("gradtx.interop", ""))
        assert words_here, error.value
        for word in words_here:
            found = gradtx
            for part in word.split("."):
                found = getattr(found, part)
        assert f"optax.{name}" in str(error.value)


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'adamm'\. Did you mean 'adam"):
        _ = gradtx.adamm
    with pytest.raises(AttributeError, match=r"no attribute 'qqq'\.$"):
        _ = gradtx.qqq
    assert not hasattr(gradtx, "__wrapped__")
