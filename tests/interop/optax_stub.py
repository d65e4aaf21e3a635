"""Write the stubs of the drop-in: what type checkers and editors know of `from gradtx.interop import optax`.

python -m tests.interop.optax_stub

The drop-in looks its names up while a program runs, where no checker can follow. A stub for each module of
Optax imports every name from where it is: gradtx's, with their fields and types, or Optax's own.
"""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import gradtx
from gradtx.interop import optax
from gradtx.interop.optax import names

FOLDER = pathlib.Path(optax.__file__).parent
HEAD = '"""Written by `python -m tests.interop.optax_stub`."""\n\n'


def modules() -> list[str]:
    """The ways to Optax's modules; the package itself is ''."""
    return ["", *names.MODULES]


def file(at: str) -> pathlib.Path:
    """Where the stub of a module is."""
    folder = FOLDER.joinpath(*at.split(".")) if at else FOLDER
    inside = any(other.startswith(f"{at}.") for other in names.MODULES)
    return folder / "__init__.pyi" if inside or not at else folder.with_suffix(".pyi")


def _imports(at: str) -> Iterator[tuple[str, str, str]]:
    """(module, name there, name here) of all that a module has; what makes a pair has an underscore here."""
    for name in names.listed(at):
        theirs, here = names.find(f"{at}.{name}".lstrip("."))
        made = getattr(here, "__gradtx__", None)
        if inspect.isclass(made) and issubclass(made, gradtx.Schedule):  # it takes what Optax's takes
            yield f"optax.{at}".rstrip("."), name, name
        elif made is not None:
            where = "gradtx" if getattr(gradtx, made.__name__, None) is made else made.__module__
            yield where, made.__name__, f"_{name}"
        elif here is theirs:
            yield f"optax.{at}".rstrip("."), name, name
        elif getattr(gradtx, here.__name__, None) is here:
            yield "gradtx", here.__name__, name
        else:
            yield here.__module__, here.__name__, name
    for other in names.MODULES:
        above, _, last = other.rpartition(".")
        if above == at:
            yield f"gradtx.interop.optax.{at}".rstrip("."), last, last
    if not at:
        yield "gradtx.interop.bridge", "as_optax", "as_optax"
        yield "gradtx.interop.bridge", "from_optax", "from_optax"


def text(at: str) -> str:
    """The stub of a module, as ruff formats it."""
    found = sorted(_imports(at))
    lines = [
        f"from {module} import {there}" + (f" as {here}" if here != there else "")
        for module, there, here in found
    ]
    own = [] if at else ["whose"]
    makers = [here.removeprefix("_") for *_, here in found if here.startswith("_")]
    exported = [f"    {name!r}," for name in sorted([*own, *(here.removeprefix("_") for *_, here in found)])]
    defined = "\n".join(f"{name} = makes(_{name})" for name in makers) + "\n"
    defined += "\ndef whose(name: str) -> str: ...\n" if own else ""
    if makers:
        lines.append("from gradtx.interop.optax.transformation import makes")
    code = HEAD + "\n".join(lines) + "\n\n__all__ = [\n" + "\n".join(exported) + "\n]\n\n" + defined
    for command in (["check", "--fix", "-q", "--select", "I"], ["format"]):
        code = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(file(at)), "-"],
            input=code,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return code


if __name__ == "__main__":
    for at in modules():
        file(at).parent.mkdir(exist_ok=True)
        file(at).write_text(text(at))
        print(file(at))
