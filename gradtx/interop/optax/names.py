"""Which of Optax's names are gradtx's, in all of its public modules.

A name is known by the object behind it, so that `optax.ema`, `optax.transforms.ema` and whatever other
way leads to it are one: `OURS` maps Optax's object to gradtx's. It is found by itself, where a name of
gradtx's means the same, or is one of the adapters.
"""

from __future__ import annotations

import inspect
import types
import typing
import warnings
from collections.abc import Iterator
from typing import Any

import optax

import gradtx
from gradtx.interop.optax import adapters
from gradtx.interop.optax.steps import with_any_steps
from gradtx.interop.optax.transformation import makes

__all__ = ["MODULES", "Names", "every", "find", "listed", "public", "resolve"]

_SAME_WORDS = ("", "contrib", "microbatching", "schedules", "transforms")
"""The modules in which a name that gradtx has too means the same; in `optax.tree`, `scale` does not."""

_OTHER_CONCEPT = {
    "GradientTransformation",  # the pair of functions; gradtx takes it anywhere
    "Schedule",  # the type of a function of the step
    "bias_correction",  # a function of a moment
    "lookahead",  # of parameters that hold both weights
    "schedule_free_eval_params",  # reads a state, which is Optax's here
    "value_and_grad_from_state",  # the same
}


def public(library: Any) -> list[str]:
    """The public names of a module that are not modules: those it lists, and those it has."""
    names = {n for n in dir(library) if not n.startswith("_")} | set(getattr(library, "__all__", ()))
    return sorted(n for n in names if not inspect.ismodule(_quietly(library, n)) and not hasattr(typing, n))


def _quietly(library: Any, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a deprecated name warns as soon as it is looked at
        return getattr(library, name, None)


def _modules(library: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    yield at, library
    for name in sorted(n for n in dir(library) if not n.startswith("_")):
        found = getattr(library, name)
        if inspect.ismodule(found) and found.__name__.startswith(f"{library.__name__}."):
            yield from _modules(found, f"{at}.{name}".lstrip("."))


_LIBRARIES: dict[str, Any] = dict(_modules(optax))


def _ours() -> dict[int, Any]:
    """id of Optax's object -> gradtx's."""
    found: dict[int, Any] = {}
    for at in _SAME_WORDS:
        library = _LIBRARIES.get(at)
        for name in public(library):
            ours = getattr(gradtx, name, None)
            state = hasattr(ours, "_fields")  # the drop-in's states are Optax's
            if ours is not None and name not in _OTHER_CONCEPT and not state:
                theirs = _quietly(library, name)
                found[id(theirs)] = _here(ours, theirs)
    for at, mapping in adapters.ADAPTERS.items():
        for name, ours in mapping.items():
            theirs = _quietly(_LIBRARIES.get(at), name)
            if theirs is not None:  # of another version, this name may be missing
                found[id(theirs)] = _here(ours, theirs)
    return found


def _here(ours: Any, theirs: Any) -> Any:
    """What makes a transformation makes it in Optax's form here; schedules take what Optax's take."""
    if inspect.isclass(ours):
        if issubclass(ours, gradtx.Schedule):
            return with_any_steps(ours, theirs)
        return makes(ours) if issubclass(ours, gradtx.GradientTransformation) else ours
    hints = getattr(ours, "__annotations__", {})
    return makes(ours) if str(hints.get("return")) == "GradientTransformation" else ours


_OURS = _ours()


def resolve(theirs: Any) -> Any:
    """gradtx's object for one of Optax's, which is itself where gradtx has none; modules too."""
    if inspect.ismodule(theirs):
        return next((m for at, m in MODULES.items() if _LIBRARIES[at] is theirs), theirs)
    return _OURS.get(id(theirs), theirs)


class Names(types.ModuleType):
    """One of Optax's modules, with gradtx's objects in the place of Optax's."""

    def __init__(self, name: str, library: Any) -> None:
        super().__init__(name, library.__doc__)
        self.__path__: list[str] = []  # `import` looks for modules only in what has one
        self._library = library

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return resolve(getattr(self._library, name))

    def __dir__(self) -> list[str]:
        return sorted({*public(self._library), *self._modules()})

    def _modules(self) -> list[str]:
        return [n for n in dir(self._library) if not n.startswith("_") and inspect.ismodule(getattr(self, n))]


MODULES: dict[str, Names] = {
    at: Names(f"gradtx.interop.optax.{at}", library) for at, library in _LIBRARIES.items() if at
}
"""The public modules of Optax by the way to them, as `contrib`."""


def find(name: str) -> tuple[Any, Any]:
    """(Optax's object, the one here) for a public name, `adam` or `contrib.adopt`.

    Raises:
        AttributeError: Optax has no such public name.
    """
    at, _, last = name.rpartition(".")
    if at not in _LIBRARIES or last not in public(_LIBRARIES[at]):
        raise AttributeError(f"Optax {optax.__version__} has no public name {name!r}.")
    theirs = _quietly(_LIBRARIES[at], last)
    return theirs, resolve(theirs)


def listed(at: str) -> list[str]:
    """The public names of one of Optax's modules by the way to it, as 'contrib'; '' is Optax itself."""
    return public(_LIBRARIES[at])


def every() -> Iterator[str]:
    """Every public name of Optax, those of its modules by the way to them."""
    for at in _LIBRARIES:
        for name in listed(at):
            yield f"{at}.{name}".lstrip(".")
