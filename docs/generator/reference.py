"""Which page of the reference each public name stands on: by the module that defines it."""

from __future__ import annotations

import importlib
import inspect
import types

import gradtx

# Page, title, wings. What no page names stands among the helpers.
PAGES = {
    "contract": ("The contract and the algebra", {"combine", "contract", "laws", "values"}),
    "pieces": ("Pieces", {"atoms", "matrices", "optimizers"}),
    "schedules": ("Schedules", {"schedules"}),
    "wrappers": ("Wrappers", {"layouts", "searches", "telemetry", "training", "wrappers"}),
    "helpers": ("Helpers", set()),
}
del gradtx.__dir__  # mkdocstrings finds names by dir(), which would leave most of them out
MODULES = {"numerics", "plot", "tree"}  # that are public as modules


def home(module: str) -> str:
    """The page of a module of gradtx."""
    top = module.split(".")[1] if "." in module else module
    return next((page for page, (_, modules) in PAGES.items() if top in modules), "helpers")


def names(skip: set[str]) -> dict[str, dict[str, list[str]]]:
    """page -> module -> public names."""
    found: dict[str, dict[str, list[str]]] = {page: {} for page in PAGES}
    for name in sorted(gradtx.__all__):
        thing = getattr(gradtx, name)
        module = getattr(thing, "__module__", None)
        if name.startswith("_") or name in skip or isinstance(thing, types.ModuleType):
            continue
        if not (inspect.isclass(thing) or callable(thing)) or not str(module).startswith("gradtx"):
            continue
        found[home(module)].setdefault(module, []).append(name)
    for name in sorted(MODULES):
        module = getattr(gradtx, name)
        if hasattr(module, "__all__"):
            inside = module.__name__  # or below it: a wing lists what its modules define
            own = [n for n in module.__all__ if str(getattr(module, n).__module__).startswith(inside)]
            listed = found["helpers"].setdefault(module.__name__, [])
            listed += [f"{name}.{n}" for n in own if n not in listed]
    return found


def page(name: str, modules: dict[str, list[str]]) -> str:
    """A page's Markdown, for mkdocstrings to fill in."""
    parts = [f"# {PAGES[name][0]}"]
    for module, listed in sorted(modules.items()):
        doc = inspect.cleandoc(importlib.import_module(module).__doc__ or "")
        sentence = " ".join(doc.partition("\n\n")[0].split()).rstrip(":.")
        parts += [f"## {sentence}", *(f"::: gradtx.{n}" for n in listed)]
    return "\n\n".join(parts) + "\n"
