"""`adamw(1e-3)` as text, made into the value without running it: for command lines and configuration files.

The text may hold calls of what gradtx exports, numbers, strings, tuples, lists and dictionaries of them, and
signs in front of numbers. Anything else is refused; nothing is ever evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from gradtx.values import registry
from gradtx.values.value import Value
from gradtx.values.wording import nearest

__all__ = ["read_value"]

_LONGEST = 100_000


def read_value(text: str) -> Value:
    """The value of an expression such as `chain(clip_by_global_norm(1.0), adamw(1e-3))`.

    Args:
        text: the call, as `repr` writes it; `gradtx.` in front of a name does no harm.

    Raises:
        ValueError: it is not such an expression, or a name is not gradtx's: the message has the nearest.
        TypeError: arguments are missing or wrong.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} characters")
        tree = ast.parse(text.strip(), mode="eval").body
        value = _value(tree)
    except OverflowError as error:
        raise ValueError(f"a number is too large: {error}: {text[:200]}") from None
    except (SyntaxError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise ValueError(f"this is not an expression: {reason}: {text[:200]}") from None
    if not isinstance(value, Value):
        raise ValueError(f"expected a call such as adamw(1e-3), not {text.strip()[:200]!r}.")
    return value


def _classes() -> dict[str, Callable[..., Value]]:
    return registry.public(Value)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=func, args=args, keywords=keywords):
            if any(isinstance(a, ast.Starred) for a in args) or any(k.arg is None for k in keywords):
                raise ValueError("* and ** are not understood here: write the arguments out.")
            if twice := _twice([k.arg for k in keywords]):
                raise ValueError(f"the argument {twice} is there twice.")
            return _class(func)(*map(_value, args), **{str(k.arg): _value(k.value) for k in keywords})
        case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
            return value
        case ast.UnaryOp(
            op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as number)
        ):
            return -number if isinstance(sign, ast.USub) else number
        case ast.Tuple(elts=elements):
            return tuple(map(_value, elements))
        case ast.List(elts=elements):
            return list(map(_value, elements))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            found = [_value(k) for k in keys if k is not None]
            if twice := _twice(found):
                raise ValueError(f"the key {twice} is there twice.")
            return dict(zip(found, map(_value, values), strict=True))
        case ast.Name(id=name):
            call = f" Call it: {name}(...)." if name in _classes() else nearest(name, _classes())
            raise ValueError(f"{name!r} stands alone: expected a call or a literal.{call}")
    raise ValueError(
        f"{ast.unparse(node)[:200]!r} is not understood: only calls of gradtx's names, and literals."
    )


def _twice(names: list[Any]) -> Any:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _class(func: ast.expr) -> Callable[..., Value]:
    match func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="gradtx"), attr=name):
            known = _classes()
            if name in known:
                return known[name]
            raise ValueError(f"gradtx has no {name!r}.{nearest(name, known)} `gradtx list` shows all.")
    raise ValueError(f"{ast.unparse(func)[:200]!r} is not a name in gradtx.")
