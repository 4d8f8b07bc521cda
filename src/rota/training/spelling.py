"""Schedules from text: what `repr` writes, and what a user would type."""

from __future__ import annotations

import ast
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
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise InputError("schedule", repr(text), EXPECTED) from None
    found = _read(tree, text)
    if not isinstance(found, Schedule):
        raise InputError("schedule", repr(text), EXPECTED)
    return found


def _read(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift | ast.Mult):
        left, right = _read(node.left, text), _read(node.right, text)
        try:
            return left >> right if isinstance(node.op, ast.RShift) else left * right
        except TypeError:
            raise InputError("schedule", repr(text), EXPECTED) from None
    if isinstance(node, ast.Name):
        return _member(node.id)()
    if isinstance(node, ast.Call):
        return _call(node, text)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise InputError("schedule", repr(text), EXPECTED) from None


def _call(node: ast.Call, text: str) -> Any:
    if isinstance(node.func, ast.Name):
        made = _member(node.func.id)
    elif isinstance(node.func, ast.Attribute):
        if node.func.attr not in METHODS:
            raise UnknownName("schedule: method", node.func.attr, METHODS)
        made = getattr(_read(node.func.value, text), node.func.attr, None)
    else:
        made = None
    if made is None or any(k.arg is None for k in node.keywords):
        raise InputError("schedule", repr(text), EXPECTED)
    try:
        return made(*(_read(a, text) for a in node.args), **{str(k.arg): _read(k.value, text) for k in node.keywords})
    except TypeError as error:
        raise InputError("schedule", repr(text), f"{EXPECTED} ({error})") from None


def _member(name: str) -> Any:
    if name not in FAMILY:
        raise UnknownName("schedule", name, FAMILY)
    return FAMILY[name]
