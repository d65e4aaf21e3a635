"""A page for each optimizer, of its docstrings, its value, Optax as installed, and what was recorded."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import pathlib
import re
import sys
import tomllib
from typing import Any

import formulas
import jax
import jax.numpy as jnp
import optax
import problems

import gradtx
from gradtx.reports.explaining import one_line

ROOT = pathlib.Path(__file__).parents[2]
PYTORCH = tomllib.loads(pathlib.Path(__file__).with_name("pytorch.toml").read_text())
BUDGETS = tomllib.loads((ROOT / "tests" / "aot" / "budgets.toml").read_text())
MACHINES = {"tpu-v5e": "TPU v5e", "h100": "H100"}
# Arguments without a default, where they are not a learning rate.
NEEDED = {"clipping_threshold": 1.0, "l2_norm_clip": 1.0, "noise_multiplier": 1.1, "key": 0, "seed": 0}
WIDTH = 1024  # of the square matrix whose state is measured


@functools.cache
def exported() -> dict[str, type]:
    """The optimizers among the public names."""
    return {
        name: thing
        for name, thing in sorted(vars(gradtx).items())
        if inspect.isclass(thing)
        and thing.__module__.startswith("gradtx.optimizers.")
        and thing.is_composite
        and not name.startswith("scale_by_")
        and any("learning_rate" in field for field in thing.__dataclass_fields__)
    }


def example(cls: type) -> tuple[str, Any]:
    """A call that makes one, and what it makes."""
    needed = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    given = ["1e-3" if name == "learning_rate" else repr(NEEDED[name]) for name in needed]
    call = f"gradtx.{cls.__name__}({', '.join(given)})"
    return call, eval(call, {"gradtx": gradtx})


def index() -> str:
    """The table of them all."""
    rows = []
    for name, cls in exported().items():
        said = _escaped(_linked(_first(_module(cls) if _alone(cls) else _parts(cls)[0]), name))
        rows.append(f"| [`{name}`]({name}.md) | {said} | {_state(cls, jnp.float32):g} |")
    head = (
        "# Optimizers\n\nEach is a composition of pieces, held to its paper's algorithm in float64 "
        "([how](../proof.md)). State is in bytes for each float32 parameter of a large square matrix.\n\n"
    )
    return head + "| optimizer | | state |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def page(name: str) -> str:
    """The page of one."""
    cls = exported()[name]
    call, tx = example(cls)
    module = _module(cls)
    of_class, arguments, errors = _parts(cls)
    title, rest = _split(module)
    summary, advice = _split(of_class)
    parts = [
        f"# {name}",
        _linked(title, name),
        "" if _alone(cls) else _linked(summary, name),
        "## Formula",
        _linked(formulas.docstring(rest), name),
        _cited(tx),
        "## Composition",
        f"`print({call}.expand())` shows what it is made of, and what it runs:",
        f"```python\n{tx.expand()}\n```",
        *(["## Advice", _linked(advice, name)] if advice else []),
        "## Arguments",
        f'<div class="arguments" markdown>\n\n{_arguments(cls, arguments)}\n\n</div>',
        _errors(errors),
        "## Costs",
        _costs(cls),
        "## Proof",
        _proof(cls),
        _picture(name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# ---------------------------------------------------------------- docstrings


def _alone(cls: type) -> bool:
    """Whether its module's docstring is about it alone."""
    return sum(other.__module__ == cls.__module__ for other in exported().values()) == 1


def _module(cls: type) -> str:
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")


def _first(text: str) -> str:
    return _split(text)[0]


def _split(text: str) -> tuple[str, str]:
    first, _, rest = text.partition("\n\n")
    return " ".join(first.split()), rest


def _parts(cls: type) -> tuple[str, dict[str, str], str]:
    """Of a class's docstring: the text, the arguments' meanings, and the errors."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text, _, errors = text.partition("\n\nRaises:\n")
    text, _, listed = text.partition("\n\nArgs:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", listed, re.MULTILINE)
    return text, {name: " ".join(meaning.split()) for name, meaning in found}, errors


def _linked(text: str, here: str) -> str:
    """Names in code, as links: to the optimizer's page, or to the reference."""

    own = exported()[here].__dataclass_fields__  # an argument is no piece of the same name

    def link(match: re.Match[str]) -> str:
        name = match.group(1)
        if name == here or name in own or not hasattr(gradtx, name):
            return match.group()
        return f"[`{name}`]({name}.md)" if name in exported() else f"[`{name}`][gradtx.{name}]"

    return re.sub(r"(?<!\[)`(\w+)`", link, text)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("*", "\\*")


def _cited(tx: Any) -> str:
    """BibTeX for it and all that is in it, folded."""
    entries = "\n".join(f"    {line}".rstrip() for line in f"```bibtex\n{gradtx.cite(tx)}\n```".splitlines())
    return f'??? quote "BibTeX, with its parts"\n\n{entries}'


# ---------------------------------------------------------------- arguments


def _arguments(cls: type, meanings: dict[str, str]) -> str:
    name = cls.__name__
    theirs, place = _optax(name)
    torch = dict(PYTORCH.get(name, {}))
    torch_class = torch.pop("class", None)
    columns = ["argument", "gradtx"] + [place] * bool(theirs) + [f"`{torch_class}`"] * bool(torch_class)
    rows = []
    for field in dataclasses.fields(cls):
        cells = [f"`{field.name}`", _default(field.default)]
        if theirs:
            cells.append(_default(theirs[field.name]) if field.name in theirs else "–")
        if torch_class:
            cells.append("`{}={}`".format(*torch[field.name]) if field.name in torch else "–")
        rows.append([*cells, meanings.get(field.name, "")])
    lines = [[*columns, "meaning"], ["---"] * (len(columns) + 1), *rows]
    table = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    notes = ["A number may be a schedule."]
    if not theirs:
        notes.append(f"Optax {optax.__version__} has none of that name.")
    return f"{table}\n\n{' '.join(notes)}"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", "\\|", text)


def _default(value: Any) -> str:
    if value in (dataclasses.MISSING, inspect.Parameter.empty):
        return "*required*"
    if isinstance(value, tuple) and any(map(callable, value)):
        return "*its own*"  # a pair of functions
    shown = getattr(value, "__name__", None) if inspect.isfunction(value) or inspect.isclass(value) else None
    text = shown or one_line(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def _optax(name: str) -> tuple[dict[str, Any], str]:
    for place, module in (("optax", optax), ("optax.contrib", optax.contrib)):
        if callable(made := getattr(module, name, None)):
            given = inspect.signature(made).parameters.values()
            return {p.name: p.default for p in given}, f"`{place}.{name}`"
    return {}, ""


def _errors(text: str) -> str:
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return "\n".join(f"- `{error}`: {' '.join(why.split())}" for error, why in found)


# ---------------------------------------------------------------- costs, proof, picture


@functools.cache
def _kept(cls: type, dtype: Any) -> list[tuple[str, float]]:
    """The arrays in its state: name, bytes per parameter."""
    params = {"kernel": jax.ShapeDtypeStruct((WIDTH, WIDTH), dtype)}
    state = jax.eval_shape(example(cls)[1].init, params)
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        named = [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)]
        if leaf.size > 1:
            size = leaf.size * jnp.dtype(leaf.dtype).itemsize if hasattr(leaf.dtype, "itemsize") else 0
            found.append((named[-1] if named else "state", size / WIDTH**2))
    return found


def _state(cls: type, dtype: Any) -> float:
    return round(sum(size for _, size in _kept(cls, dtype)), 2)


def _costs(cls: type) -> str:
    of32, of16 = (_state(cls, dtype) for dtype in (jnp.float32, jnp.bfloat16))
    listed = ", ".join(f"`{name}` {size:.3g}" for name, size in _kept(cls, jnp.float32) if size > 1e-4)
    said = [
        f"Its state takes **{of32:g} bytes** for each float32 parameter of a {WIDTH} × {WIDTH} matrix"
        + (f" ({listed})" if listed else "")
        + f", and {of16:g} for a bfloat16 one."
    ]
    moved = {target: rows[cls.__name__] for target, rows in BUDGETS.items() if cls.__name__ in rows}
    if moved:
        each = ", ".join(f"{row['bytes']:g} on {MACHINES.get(t, t)}" for t, row in moved.items())
        said.append(
            f"One compiled step moves, in bytes per parameter, {each} ([how that is known](../proof.md))."
        )
    return " ".join(said)


def _proof(cls: type) -> str:
    module = cls.__module__.rpartition(".")[2]
    loops = [n for n in (cls.__name__, module) if (ROOT / "tests" / "reference" / f"{n}.py").is_file()]
    if loops:
        return (
            f"The paper's algorithm as a loop in NumPy, to which it is held: `tests/reference/{loops[0]}.py`."
        )
    tests = [
        f
        for f in sorted((ROOT / "tests").rglob("test_*.py"))
        if f.stem not in ("test_gallery", "test_laws", "test_site")
        and f"gradtx.{cls.__name__}(" in f.read_text()
    ]
    return "Tested in " + ", ".join(f"`tests/{f.name}`" for f in tests) + "." if tests else ""


def _picture(name: str) -> str:
    at = f"static/optimizers/{name}.png"
    if not (ROOT / "docs" / at).is_file():
        return ""
    on = problems.of(example(exported()[name])[1]).said
    said = (
        f"On {on}, with the best of eleven learning rates beside gradient descent with the best of its own "
        "(`docs/generator/pictures.py`). It shows how a method moves, not how it trains a network."
    )
    return (
        f"## Convergence\n\n{said}\n\n![The height above the minimum at each step, {name} and sgd](../{at})"
    )
