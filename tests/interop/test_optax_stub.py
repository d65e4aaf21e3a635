"""The stubs of the drop-in have every name that is there, and are those of the installed Optax."""

from __future__ import annotations

import ast

import optax as peer
import pytest

from gradtx.interop.optax import names
from tests.interop.optax_stub import FOLDER, file, modules, text


@pytest.mark.parametrize("at", modules())
def test_a_stub_is_what_would_be_written(at: str) -> None:
    if peer.__version__ != "0.2.8":
        pytest.skip(f"the stubs are of Optax 0.2.8, not {peer.__version__}")
    assert file(at).read_text() == text(at), "python -m tests.interop.optax_stub"


@pytest.mark.parametrize("at", modules())
def test_a_stub_exports_what_the_module_has(at: str) -> None:
    written = [node for node in ast.parse(file(at).read_text()).body if isinstance(node, ast.Assign)]
    (exported,) = (node.value for node in written if ast.unparse(node.targets[0]) == "__all__")
    assert {*names.listed(at)} <= set(ast.literal_eval(exported))


def test_no_stub_is_left_over() -> None:
    assert set(FOLDER.rglob("*.pyi")) == {file(at) for at in modules()}
