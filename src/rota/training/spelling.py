"""Schedules from text: what `repr` writes, and what a user would type."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from rota.core.errors import InputError, UnknownName
from rota.training.schedule import Schedule
from rota.training.shapes import FAMILY

METHODS = ("floor", "clip", "between", "lasting", "sample", "stretch")
EXPECTED = "e.g. 'warmup(0.05) >> rex()'"


def schedule(text: str) -> Schedule:
    """The schedule that a text spells, e.g. `warmup(0.05) >> (0.5 * cosine()).floor(0.1)`. Brackets of a bare name may be left out.

    Nothing is evaluated but the family's names, the algebra and literals.

    Raises:
        InputError, UnknownName: the text spells no schedule.
    """
    try:
        found = _read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise InputError("schedule", repr(text), EXPECTED) from None
    except TypeError as error:
        raise InputError("schedule", repr(text), f"{EXPECTED} ({error})") from None
    if not isinstance(found, Schedule):
        raise InputError("schedule", repr(text), EXPECTED)
    return found


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift | ast.Mult):
        left, right = _read(node.left), _read(node.right)
        if not isinstance(left, Schedule) and not isinstance(right, Schedule):
            raise ValueError("no schedule on either side")
        return left >> right if isinstance(node.op, ast.RShift) else left * right
    if isinstance(node, ast.Name):
        return _member(node.id)()
    if isinstance(node, ast.Call):
        return _call(node)
    return ast.literal_eval(node)


def _call(node: ast.Call) -> Any:
    words = {str(keyword.arg): _read(keyword.value) for keyword in node.keywords}
    return _made(node.func)(*(_read(argument) for argument in node.args), **words)


def _made(node: ast.expr) -> Callable[..., Any]:
    """What a call calls: a member of the family, or a method of a schedule."""
    if isinstance(node, ast.Name):
        return _member(node.id)
    if not isinstance(node, ast.Attribute):
        raise ValueError("neither a name nor a method")
    if node.attr not in METHODS:
        raise UnknownName("schedule: method", node.attr, METHODS)
    owner = _read(node.value)
    if not isinstance(owner, Schedule):
        raise ValueError("a method of something else")
    return getattr(owner, node.attr)


def _member(name: str) -> Callable[..., Schedule]:
    if name not in FAMILY:
        raise UnknownName("schedule", name, FAMILY)
    return FAMILY[name]
